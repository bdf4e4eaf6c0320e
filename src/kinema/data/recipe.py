"""What a curation run does, as a TOML file: where footage comes from, what each stage is told, where it ends up."""

import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from kinema.config import from_dict, unknown
from kinema.data.buckets import EncodeConfig
from kinema.data.caption import CaptionConfig
from kinema.data.dedup import DedupConfig
from kinema.data.filter import FilterConfig, KeepConfig
from kinema.data.ingest import Source
from kinema.data.pool import Limits
from kinema.data.rating import AestheticConfig, RatingConfig
from kinema.data.split import SplitConfig
from kinema.errors import SpecError

STAGES = ("ingest", "split", "filter", "dedup", "caption", "encode", "publish")
"""All stages, in order."""


@dataclass(frozen=True, kw_only=True)
class DataRecipe:
    """A recipe: only `sources` is required."""

    sources: tuple[Source, ...]
    """Folders, files, buckets and URLs."""
    out: Path = Path("data")
    """The folder of the data set."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """How files become clips."""
    filter: FilterConfig = field(default_factory=FilterConfig)
    """How clips are scored."""
    aesthetic: AestheticConfig = field(default_factory=AestheticConfig)
    """Which model says how beautiful clips are; none by default."""
    nsfw: RatingConfig = field(default_factory=RatingConfig)
    """Which model says whether clips are not safe for work; none by default."""
    keep: KeepConfig = field(default_factory=KeepConfig)
    """Which clips are kept: thresholds over the scores."""
    dedup: DedupConfig = field(default_factory=DedupConfig)
    """When two clips count as the same."""
    caption: CaptionConfig = field(default_factory=CaptionConfig)
    """Who writes captions where no sidecar file has one."""
    encode: EncodeConfig = field(default_factory=EncodeConfig)
    """What the clips are encoded with."""
    engine: Literal["local", "ray"] = "local"
    """Where the stages that decode run: in processes of this machine, or on the Ray cluster of RAY_ADDRESS."""
    limits: Limits = field(default_factory=Limits)
    """Child processes, and what each may use."""
    max_failures: float = 0.5
    """Share of the items of a stage that may fail before the run ends with an error; what is done stays done."""

    def __post_init__(self) -> None:
        if not self.sources:
            raise SpecError("a recipe needs [[sources]] with a path, such as path = 'footage'")
        if not 0 <= self.max_failures <= 1:
            raise SpecError(f"max_failures={self.max_failures:g} does not fit; it is a share, from 0 to 1")
        for name, limit, rated in (
            ("min_aesthetic", self.keep.min_aesthetic, self.aesthetic),
            ("max_nsfw", self.keep.max_nsfw, self.nsfw),
        ):
            if limit is not None and not rated.model:
                rating = name.split("_")[1]
                raise SpecError(f"keep.{name}={limit:g} needs a model: set {rating}.model, or leave keep.{name} out")
        if self.filter.per_second * self.split.min_s < 1:
            raise SpecError(
                f"filter.per_second={self.filter.per_second:g} misses clips of split.min_s={self.split.min_s:g} s; "
                f"it is at least {1 / self.split.min_s:g} then"
            )


def load_recipe(path: str | Path) -> DataRecipe:
    """Read a recipe; raises SpecError naming the file, the place, and the nearest key for one that does not exist.

    A path that begins with ~/ lies in the home folder, as in a shell.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is not valid TOML: {error}") from error
    try:
        recipe = from_dict(DataRecipe, data)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    sources = tuple(replace(each, path=_from_home(each.path)) for each in recipe.sources)
    return replace(recipe, out=Path(_from_home(str(recipe.out))), sources=sources)


def _from_home(path: str) -> str:
    return str(Path(path).expanduser()) if path.startswith("~/") else path


def check_stages(stages: tuple[str, ...]) -> None:
    """Raise SpecError for a stage that does not exist."""
    for stage in stages:
        if stage not in STAGES:
            raise SpecError(unknown("stage", stage, STAGES))
