"""Stage 6: kept clips as latents, and their captions as text embeddings, in buckets of one size and length each."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from kinema.data.buckets import Bucket, EncodeConfig, choose_bucket
from kinema.data.frames import Times, pick_pictures
from kinema.data.lineage import fingerprint
from kinema.data.scores import Crop
from kinema.errors import DataError
from kinema.media import Frame
from kinema.model import Model

VERSION = 1
"""Raised when the same clip would have other latents."""

COLUMNS = pa.schema(
    [
        pa.field("latent_id", pa.string()),
        pa.field("clip_id", pa.string()),
        pa.field("bucket", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("lineage", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("latent", pa.large_binary()),
        pa.field("latent_shape", pa.list_(pa.int32())),
        pa.field("text", pa.large_binary()),
        pa.field("text_shape", pa.list_(pa.int32())),
    ]
)
"""The table of latents: float16, "c t y x" and "k d"."""

READS = (
    "caption", "width", "height", "start_s", "end_s", "crop_left", "crop_top", "crop_right", "crop_bottom",
    "encode_key", "encode_status",
)  # fmt: skip
"""The columns of clips that this stage reads, beside `clip_id`."""

_SAMPLES = 4096


def model_fingerprint(model: Model) -> str:
    """What of a model its latents and embeddings depend on: sizes, dtype and weights of autoencoder and text encoder.

    Of a large weight, 4096 values evenly spread are read.
    """
    digest = hashlib.sha256(f"encode/{VERSION}/{model.vae.config}/{model.text.config}".encode())
    for network in (model.vae, model.text):
        for name, weight in sorted(network.state_dict().items()):
            flat = weight.detach().reshape(-1)
            flat = flat[:: max(1, flat.numel() // _SAMPLES)].to(torch.float32).cpu()
            digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode() + flat.numpy().tobytes())
    return digest.hexdigest()[:32]


def read_clip(video: bytes, crop: Crop, bucket: Bucket) -> Frame:
    """The pictures of a clip that a bucket takes, "f h w 3" uint8.

    Bars are cut, the picture is scaled to cover the bucket and cut to its middle, and the picture shown at each of the
    bucket's times is taken, from the middle of the clip. Raises DataError when the clip is too short.
    """
    wanted: list[int] = []

    def choose(times: Times) -> list[int]:
        times = times - times[0]
        step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        length = (bucket.frames - 1) / bucket.fps
        slack = times[-1] + step - length
        if slack < -1e-6 or (bucket.frames > 1 and len(times) < 2):
            raise DataError(f"the clip is {times[-1] + step:.2f} s long; {bucket} needs {length:.2f} s")
        moments = np.arange(bucket.frames) / bucket.fps + max(0.0, slack) / 2
        places = np.clip(np.searchsorted(times, moments + 1e-6, side="right") - 1, 0, len(times) - 1)
        wanted[:] = places.tolist()
        return wanted

    fitted = pick_pictures(video, choose, lambda picture: _fit(crop.apply(picture.rgb()), bucket))
    return np.stack([fitted[place] for place in wanted])


def encode_clips(
    model: Model, name: str, clips: Sequence[dict[str, Any]], videos: Sequence[bytes], bucket: Bucket
) -> Iterator[dict[str, Any]]:
    """Yield the values of `COLUMNS`, but the lineage, for clips of one bucket, as one batch through the networks.

    `name` is the fingerprint of the model.
    """
    frames = np.stack([read_clip(video, crop_of(clip), bucket) for clip, video in zip(clips, videos, strict=True)])
    device = next(model.vae.parameters()).device
    dtype = next(model.vae.parameters()).dtype
    with torch.no_grad():
        pixels = torch.from_numpy(frames).to(device, dtype) / 127.5 - 1.0
        latents = model.vae.encode(pixels).to(torch.float16).cpu().numpy()
        ids, mask = model.tokenizer.encode([clip["caption"] or "" for clip in clips])
        embedded: Tensor = model.text(ids.to(device), mask.to(device))
        texts = embedded.to(torch.float16).cpu().numpy()
    for clip, latent, text, tokens in zip(clips, latents, texts, mask.sum(dim=1).tolist(), strict=True):
        kept = np.ascontiguousarray(text[: int(tokens)])
        yield {
            "latent_id": f"{clip['clip_id']}-{bucket}",
            "clip_id": clip["clip_id"],
            "bucket": str(bucket),
            "fingerprint": name,
            "caption": clip["caption"] or "",
            "latent": np.ascontiguousarray(latent).tobytes(),
            "latent_shape": list(latent.shape),
            "text": kept.tobytes(),
            "text_shape": list(kept.shape),
        }


def lineage_of(clip: dict[str, Any], bucket: Bucket, model: str) -> str:
    """What the latents of a clip depend on."""
    return fingerprint("encode", VERSION, model, clip["clip_id"], clip["caption"], str(bucket), _crop_list(clip))


def crop_of(clip: dict[str, Any]) -> Crop:
    """The bars of a clip, from its row."""
    return Crop(*(each or 0.0 for each in _crop_list(clip)))


def bucket_of(clip: dict[str, Any], config: EncodeConfig) -> Bucket | None:
    """The bucket of a clip, from its row; None when it is too small or too short for all of them."""
    crop = crop_of(clip)
    width = clip["width"] * (1 - crop.left - crop.right)
    height = clip["height"] * (1 - crop.top - crop.bottom)
    return choose_bucket(config.buckets, width, height, clip["end_s"] - clip["start_s"])


def _crop_list(clip: dict[str, Any]) -> list[float | None]:
    return [clip.get(f"crop_{side}") for side in ("left", "top", "right", "bottom")]


def _fit(picture: Frame, bucket: Bucket) -> Frame:
    """Scale a picture to cover the bucket's size, and cut its middle."""
    height, width = picture.shape[:2]
    scale = max(bucket.height / height, bucket.width / width)
    size = max(bucket.width, round(width * scale)), max(bucket.height, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(picture, size, interpolation=method)
    top, left = (size[1] - bucket.height) // 2, (size[0] - bucket.width) // 2
    return np.asarray(scaled[top : top + bucket.height, left : left + bucket.width], dtype=np.uint8)
