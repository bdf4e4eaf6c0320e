"""What each process of `test_parallel` runs: the same video, shared, compared with what one process makes."""

import sys

import torch
import torch.distributed as dist

from kinema.errors import SpecError
from kinema.generate.parallel import make_mesh, share
from kinema.generate.pipeline import Pipeline
from kinema.spec import VideoSpec


def main() -> None:
    """Arguments: model folder, guidance."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    folder, guidance = sys.argv[1], float(sys.argv[2])
    alone, shared = (Pipeline.load(folder, "cpu", "float32") for _ in range(2))
    spec = alone.resolve(VideoSpec(prompt="a red ball rolls", frames=9, steps=3, guidance=guidance, seed=3))
    expected = alone.latents(spec)
    mesh = make_mesh("cpu", is_guided=guidance != 1, num_tokens=4)
    share(shared.model.dit, mesh)
    error = (shared.latents(spec) - expected).abs().max().item()
    try:
        shared.latents(shared.resolve(VideoSpec(prompt="a red ball rolls", width=16, height=16)))
        refused = "not refused"
    except SpecError as problem:
        refused = str(problem)
    sizes = "x".join(str(mesh[name].size()) for name in ("guidance", "sequence"))
    line = f"rank {dist.get_rank()} mesh {sizes} error {error:.2e} scale {expected.std():.2f} {refused}"
    sys.stdout.write(line + "\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
