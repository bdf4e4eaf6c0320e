"""From a folder of footage to a model that knows it: curate, encode, train, generate.

    python examples/footage_to_model.py FOOTAGE OUT --prompt "a robot arm picks up a cup"

Captions come from the files beside the videos (docs/data.md). Everything lands below OUT; run it again after a stop,
and it goes on where it was.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from kinema.cli.main import main as kinema
from kinema.train.recipes import RECIPES

_SHEET_EVERY = 10_000
"""Clips between two sheets of samples, at least: one may take as long as a thousand clips. The end has one always."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the four commands one after the other; the first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--prompt", required=True, help="what the trained model is asked for")
    parser.add_argument("--init", default="mini", help="the model that encodes the clips and is trained further")
    parser.add_argument("--recipe", default="mini", help="the recipe of `kinema train`, of the same sizes")
    parser.add_argument("--clips", type=int, default=20_000, help="clips to train on, counting repeats")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    shape = RECIPES[options.recipe].corpus
    clips, model, recipe = options.out / "clips", options.out / "run", options.out / "recipe.toml"
    recipe.write_text(f"""\
out = {json.dumps(str(clips))}

[[sources]]
path = {json.dumps(str(options.footage))}

[split]
min_s = {max(0.5, (shape.frames - 1) / shape.fps)}

[encode]
model = {json.dumps(options.init)}
buckets = [{{ width = {shape.width}, height = {shape.height}, frames = {shape.frames}, fps = {shape.fps} }}]
""")
    every = max(1, options.clips // 4)
    settings = [f"flow.clips={options.clips}", "flow.phases=[]", "flow.optim.warmup_clips=1"]
    settings += [f"flow.{name}_every={every}" for name in ("validate", "checkpoint")]
    settings += [f"flow.sample_every={max(every, _SHEET_EVERY)}"]
    commands = [
        ["data", "run", str(recipe), "--workers", str(options.workers)],
        ["train", options.recipe, "--data", str(clips), "--init", options.init, "--out", str(model)]
        + [word for setting in settings for word in ("--set", setting)],
        [
            "generate",
            options.prompt,
            "--model",
            str(model / "model"),
            "--out",
            str(options.out / "video.mp4"),
            "--force",
        ],
    ]
    for command in commands:
        print("kinema", *command, flush=True)
        if code := kinema(command):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(run())
