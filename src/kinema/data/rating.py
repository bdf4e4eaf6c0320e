"""Part of stage 3, where a recipe asks for it: image models say how beautiful a clip is, and whether it is NSFW."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, TypeAlias

import pyarrow as pa

from kinema.data.caption import clip_pictures
from kinema.data.engine import Job
from kinema.data.lineage import fingerprint
from kinema.data.scores import Crop
from kinema.data.store import Row, Store
from kinema.errors import SpecError
from kinema.media import Frame

VERSION = 1
"""Raised when the same pictures would be rated differently."""

Rating: TypeAlias = Literal["aesthetic", "nsfw"]
RATINGS: tuple[Rating, ...] = ("aesthetic", "nsfw")
"""The columns, each filled by a model of its own."""

_BARS = ("crop_left", "crop_top", "crop_right", "crop_bottom")


@dataclass(frozen=True, kw_only=True)
class RatingConfig:
    """Which model rates the clips, and how; without a model, none does."""

    model: str = ""
    """Folder or hub id of an image classifier that transformers loads."""
    labels: tuple[str, ...] = ()
    """Labels of the classifier that count, their probabilities added; empty takes the one that says so by its name."""
    pictures: int = 4
    """Pictures of the clip that the model sees, evenly spread."""
    batch: int = 8
    """Clips at a time."""
    device: str = "cpu"
    """Where it runs."""

    def __post_init__(self) -> None:
        if min(self.pictures, self.batch) < 1:
            raise SpecError("a rating takes one picture and one clip at a time, or more of each")


@dataclass(frozen=True, kw_only=True)
class AestheticConfig(RatingConfig):
    """The same, where the model may also be a CLIP with a head that was trained on people's ratings."""

    head: str = ""
    """File of linear layers over the picture's embedding, as LAION's aesthetic predictors are; `model` is the CLIP that
    it was trained for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.head and not self.model:
            raise SpecError("aesthetic.head needs aesthetic.model, the CLIP that it was trained for")
        if self.head and self.labels:
            raise SpecError("aesthetic.labels are those of a classifier; leave them out beside aesthetic.head")


def columns(rating: Rating) -> pa.Schema:
    """The column of a rating."""
    return pa.schema([pa.field(rating, pa.float32())])


def lineage_of(rating: Rating, clip: Row, config: RatingConfig, stamp: str) -> str:
    """What the rating of a clip depends on; `stamp` stands for the weights."""
    bars = [clip[name] for name in _BARS]
    return fingerprint(rating, VERSION, clip["clip_id"], bars, stamp, config.labels, config.pictures)


class Rater:
    """Rates clips of a data set. Raises DataError when the model cannot be loaded."""

    READS = _BARS

    def __init__(self, store: Store, rating: Rating, config: RatingConfig) -> None:
        from kinema.data.rating_model import RatingModel

        self._store, self._rating, self._count = store, rating, config.pictures
        self._model = RatingModel(rating, config)

    def __call__(self, clip: Row) -> Row:
        """The rating of one clip: the mean of its pictures' beauty, the largest of their probabilities to be NSFW."""
        return self._rate([clip])[0]

    def rate_jobs(self, jobs: Sequence[Job]) -> list[Row]:
        """The same for several clips, whose pictures go through the model together."""
        return self._rate([job.item for job in jobs])

    def _rate(self, clips: Sequence[Row]) -> list[Row]:
        found = self._model.rate([self._pictures(clip) for clip in clips])
        return [{self._rating: fmean(each) if self._rating == "aesthetic" else max(each)} for each in found]

    def _pictures(self, clip: Row) -> list[Frame]:
        crop = Crop(*(clip[name] for name in _BARS))
        pictures = clip_pictures(self._store.bytes_of(clip["clip_id"]), self._count, None)
        return [crop.apply(picture) for picture in pictures]
