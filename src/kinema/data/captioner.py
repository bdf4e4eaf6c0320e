"""Who captions the clips of a data set where no file beside them does: an endpoint, or a model on this machine."""

import threading
from collections.abc import Sequence

from kinema.data.caption import (
    CaptionConfig,
    EndpointError,
    caption_clip,
    caption_row,
    clip_pictures,
    filled_prompts,
    sidecar_row,
)
from kinema.data.engine import Job
from kinema.data.store import Row, Store
from kinema.errors import DataError

_MOST_SILENT = 8
"""Clips in a row that may get no answer before no more are asked about in this run."""

Item = tuple[Row, list[str] | DataError]
"""A clip's row, and the captions that people wrote for it, or why those cannot be read."""


def clip_facts(clip: Row) -> dict[str, str]:
    """What earlier stages measured of a clip, for the prompts."""
    seconds = clip["end_s"] - clip["start_s"]
    return {"seconds": f"{seconds:.1f}", "camera": clip["camera"], "motion": f"{clip['motion']:.2f}"}


class EndpointCaptioner:
    """Asks an endpoint, from several threads at once, until the captions have cost what they may, or it is down."""

    def __init__(self, store: Store, config: CaptionConfig) -> None:
        self._store, self._config = store, config
        self._lock = threading.Lock()
        self._spent = 0.0
        self._silent = 0
        self._closed: ConnectionError | None = None

    def __call__(self, item: Item) -> Row:
        """Give the captions of one clip: those that people wrote, else those of the endpoint."""
        clip, written = item
        if written:
            return _written_row(written)
        if self._config.max_cost is not None and self._spent >= self._config.max_cost:
            raise ConnectionError(f"not asked: the captions of this run have cost {self._spent:.2f}")
        if self._closed is not None:
            raise ConnectionError(f"not asked: {self._closed}")
        try:
            row = caption_clip(self._store.bytes_of(clip["clip_id"]), clip_facts(clip), self._config)
        except ConnectionError as error:
            with self._lock:
                self._silent += 1
                if isinstance(error, EndpointError) or self._silent >= _MOST_SILENT:
                    self._closed = error
            raise
        with self._lock:
            self._spent += row["caption_cost"]
            self._silent = 0
        return row


class LocalCaptioner:
    """Asks a model on this machine, clip by clip or some at a time. Raises DataError when it cannot be loaded."""

    def __init__(self, store: Store, config: CaptionConfig) -> None:
        from kinema.data.caption_model import CaptionModel

        self._store, self._config = store, config
        self._model = CaptionModel(config.model, config.device, config.max_tokens)

    def __call__(self, item: Item) -> Row:
        """Give the captions of one clip: those that people wrote, else those of the model."""
        return self._caption([item])[0]

    def caption_jobs(self, jobs: Sequence[Job]) -> list[Row]:
        """The same for several clips: each prompt goes through the model once, with all of them."""
        return self._caption([job.item for job in jobs])

    def _caption(self, items: Sequence[Item]) -> list[Row]:
        clips = [clip for clip, written in items if not written]
        pictures = [clip_pictures(self._store.bytes_of(clip["clip_id"]), self._config.pictures) for clip in clips]
        prompts = [filled_prompts(clip_facts(clip), self._config) for clip in clips]
        answers = [self._model.ask(list(zip(texts, pictures, strict=True))) for texts in zip(*prompts, strict=True)]
        asked = iter(
            caption_row(
                [each.text for each in told], sum(each.tokens_in for each in told),
                sum(each.tokens_out for each in told), self._config,
            )
            for told in zip(*answers, strict=True)
        )  # fmt: skip
        return [_written_row(written) if written else next(asked) for _, written in items]


def _written_row(written: list[str] | DataError) -> Row:
    if isinstance(written, DataError):
        raise written
    return sidecar_row(written)
