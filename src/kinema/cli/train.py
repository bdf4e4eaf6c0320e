"""`kinema train`: a recipe becomes a model folder; the same command again goes on where it stopped."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from kinema.cli import flags
from kinema.cli.progress import RunProgress
from kinema.config import from_dict, load_json, to_dict, unknown
from kinema.errors import SpecError

if TYPE_CHECKING:
    from kinema.train.config import CausalRecipe, Recipe
    from kinema.train.staged import StagedRun


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model by a recipe: corpus, tokenizer, grounding, vae, latents, flow, reward, export.

    A stage whose result is there is skipped, and one that was interrupted goes on where it stopped, bit for bit.
    """

    recipe: Annotated[str | None, tyro.conf.Positional, flags.text("RECIPE"), flags.hint()] = None
    """Name of the recipe: mini, mini-gpu, mini-causal, mini-few-steps, or tiny (a minute, to see every stage work)."""
    out: Annotated[Path | None, flags.path("FOLDER"), flags.hint("runs/RECIPE")] = None
    """Where the run keeps everything; the model ends up in FOLDER/model."""
    stages: Annotated[str | None, flags.text("A,B"), flags.hint("all")] = None
    """Which stages to run, with commas between them."""
    init: Annotated[str | None, flags.text("NAME|FOLDER"), flags.hint("random weights")] = None
    """A model whose weights and tokenizer to go on from, such as mini."""
    device: Annotated[str | None, flags.text("D"), flags.hint("a GPU if there is one, else cpu")] = None
    """Where to train: cpu or cuda."""
    data: Annotated[Path | None, flags.path("FOLDER"), flags.hint("the demo world")] = None
    """A data set that `kinema data` made, to learn from its clips; --init is the model that encoded it."""
    from_: Annotated[Path | None, flags.path("FILE"), flags.hint(name="from")] = None
    """Replay the config.json of another run instead of naming a recipe."""
    change: Annotated[
        tuple[Annotated[str, flags.text("KEY=VALUE")], ...], tyro.conf.UseAppendAction, flags.hint(name="set")
    ] = ()
    """Change one value of the recipe, such as --set flow.clips=300000; may be repeated."""
    dry_run: Annotated[bool, flags.hint()] = False
    """Print the resolved recipe and stop."""


def run(argv: Sequence[str]) -> int:
    """Run the command with the arguments that follow its name; returns the exit code."""
    options = flags.parse(Train, argv, "train")
    if (options.recipe is None) == (options.from_ is None):
        raise SpecError("name one recipe, such as `kinema train mini`, or replay one with --from RUN/config.json")

    from kinema.train.config import CausalRecipe, Recipe
    from kinema.train.recipes import CAUSAL_RECIPES, RECIPES
    from kinema.train.stages import CAUSAL_STAGES, STAGES, check_stages

    if options.from_ is not None:
        data = to_dict(_load_recipe(options.from_))
    elif (named := {**RECIPES, **CAUSAL_RECIPES}.get(str(options.recipe))) is not None:
        data = to_dict(named)
    else:
        raise SpecError(unknown("recipe", str(options.recipe), [*RECIPES, *CAUSAL_RECIPES]))
    is_causal = "causal" in data
    changed = _changed(data, options.change)
    recipe = from_dict(CausalRecipe, changed) if is_causal else from_dict(Recipe, changed)
    known = CAUSAL_STAGES if is_causal else STAGES
    stages = tuple(options.stages.split(",")) if options.stages else known
    check_stages(stages, known)
    if options.dry_run:
        print(json.dumps(to_dict(recipe), indent=2))
        return 0

    if options.data is not None and is_causal:
        raise SpecError("--data is for recipes of whole models, such as mini, not for streaming ones")

    from kinema.evaluate.adherence import reward
    from kinema.evaluate.samples import draw_samples, score_samples
    from kinema.generate.device import choose_device
    from kinema.train.causal_run import CausalRun
    from kinema.train.run import Run

    folder = options.out or Path("runs") / (options.recipe or "replay")
    device = choose_device(options.device)
    job: StagedRun
    assert isinstance(recipe, Recipe | CausalRecipe)
    if isinstance(recipe, CausalRecipe):
        job = CausalRun(recipe, folder, score_samples, options.init, device)
    elif options.data is not None:
        from kinema.train.footage import FootageRun

        job = FootageRun(options.data, recipe, folder, draw_samples, options.init, device)
    else:
        judge = partial(reward, fps=recipe.corpus.fps)
        job = Run(recipe, folder, score_samples, options.init, device, judge)
    try:
        with RunProgress() as watch:
            model = job.run(stages, watch)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(str(stop) or "stopped; the same command goes on from the last checkpoint") from None
    if "export" in stages:
        print(
            f"The model is in {model}. Try: kinema generate 'a red ball rolls to the right' --model {model}",
            file=sys.stderr,
        )
    return 0


def _load_recipe(path: Path) -> "Recipe | CausalRecipe":
    """Read the recipe of another run, of either kind."""
    from kinema.train.config import CausalRecipe, Recipe

    if path.is_file() and '"causal"' in path.read_text(encoding="utf-8", errors="replace"):
        return load_json(CausalRecipe, path)
    return load_json(Recipe, path)


def _changed(data: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Apply `--set a.b=value`; values are JSON, and what is not JSON is text."""
    for change in changes:
        path, sign, text = change.partition("=")
        *parents, name = path.split(".")
        place: Any = data
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not sign or not isinstance(place, dict) or name not in place:
            raise SpecError(f"--set {change!r} names no value of the recipe; see --dry-run, and write KEY=VALUE")
        try:
            place[name] = json.loads(text)
        except ValueError:
            place[name] = text
    return data
