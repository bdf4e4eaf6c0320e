"""What `test_parallel` runs: the same videos, each shared by several processes, compared with what one makes."""

import dataclasses
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from kinema.errors import SpecError
from kinema.generate.parallel import make_mesh, share
from kinema.generate.pipeline import Pipeline
from kinema.spec import VideoSpec


def main() -> None:
    """Arguments: model folder, a new folder, and PROCESSESxGUIDANCE for each video."""
    torch.set_num_threads(1)
    folder, meeting = sys.argv[1], Path(sys.argv[2])
    pipe = Pipeline.load(folder, "cpu", "float32")
    spec = VideoSpec(prompt="a red ball rolls", frames=9, steps=3, seed=3)
    made: dict[str, Tensor] = {}
    for case in sys.argv[3:]:
        processes, guidance = case.split("x")
        shared = pipe.resolve(dataclasses.replace(spec, guidance=float(guidance)))
        if guidance not in made:
            made[guidance] = pipe.latents(shared)
        ranks = []
        for rank in range(int(processes)):  # they begin as copies of this one, which has imported and loaded all
            if (child := os.fork()) == 0:
                dist.init_process_group(
                    "gloo", init_method=f"file://{meeting / case}", rank=rank, world_size=int(processes)
                )
                _work(case, pipe, shared, made[guidance])
                os._exit(0)
            ranks.append(child)
        if any(os.waitpid(child, 0)[1] for child in ranks):
            sys.exit(f"{case}: a process failed")


def _work(case: str, pipe: Pipeline, spec: VideoSpec, expected: Tensor) -> None:
    mesh = make_mesh("cpu", is_guided=spec.guidance != 1, num_tokens=4)
    share(pipe.model.dit, mesh)
    error = (pipe.latents(spec) - expected).abs().max().item()
    try:
        pipe.latents(pipe.resolve(VideoSpec(prompt="a red ball rolls", width=16, height=16)))
        refused = "not refused"
    except SpecError as problem:
        refused = str(problem)
    sizes = "x".join(str(mesh[name].size()) for name in ("guidance", "sequence"))
    line = f"{case} mesh {sizes} error {error:.2e} scale {expected.std():.2f} {refused}\n"
    os.write(1, line.encode())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
