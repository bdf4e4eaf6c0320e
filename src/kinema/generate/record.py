"""What is written into a file so that the same file can be made again."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import kinema
from kinema.config import from_json, to_dict
from kinema.errors import MediaError, SpecError
from kinema.spec import VideoSpec, edit_files

METADATA_KEY = "kinema"
"""Under this name the record stands in a file's metadata."""

_BLOCK_BYTES = 1 << 20
_BLOCKS_PER_FILE = 64


@dataclass(frozen=True, kw_only=True)
class Record:
    """A resolved request and all else that decides the bytes of the video."""

    spec: VideoSpec
    """The request, with every default filled in."""
    version: str
    """Version of Kinema."""
    weights: str
    """Fingerprint of the model's weights."""
    device: str
    """Type of the device: cpu, cuda or mps."""
    dtype: str
    """Number type of the networks."""
    image_sha256: str | None = None
    """Hash of the file of the first picture, if one was given."""
    files_sha256: tuple[str, ...] = ()
    """Hashes of the files that an edit reads, in their order."""
    last_image_sha256: str | None = None
    """Hash of the file of the last picture, if one was given."""
    attention: str = "auto"
    """What computed attention."""
    quantize: str | None = None
    """Which eight bits the transformers' weights had; None = those of `dtype`."""

    @classmethod
    def of(cls, spec: VideoSpec, *, folder: Path | None, device: str, dtype: str) -> "Record":
        """Record a resolved request to be made with the model of `folder` (None: a model that was never saved)."""
        image, last_image = (_sha256(path) if path else None for path in (spec.image, spec.last_image))
        files = tuple(map(_sha256, edit_files(spec.edit))) if spec.edit else ()
        weights = fingerprint(folder) if folder else "unsaved"
        return cls(
            spec=spec,
            version=kinema.__version__,
            weights=weights,
            device=device,
            dtype=dtype,
            image_sha256=image,
            files_sha256=files,
            last_image_sha256=last_image,
        )

    def by_content(self) -> "Record":
        """The same record with its files named by their hashes, whatever place they were read from."""
        hashes = [each for each in (self.image_sha256, self.last_image_sha256, *self.files_sha256) if each is not None]
        names = {path: f"sha256:{each}" for path, each in zip(self.spec.files(), hashes, strict=True)}
        return replace(self, spec=self.spec.with_files(names))

    def to_metadata(self) -> dict[str, str]:
        """Metadata for `kinema.media.write_video`: the prompt as the title, and this record."""
        return {"title": self.spec.prompt, METADATA_KEY: json.dumps(to_dict(self), ensure_ascii=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: str | Path) -> "Record":
        """Read the record that `to_metadata` made; raises MediaError for a file (`path`) that carries none."""
        text = metadata.get(METADATA_KEY)
        if text is None:
            raise MediaError(f"{path} does not say how it was made; give a video that kinema generate wrote")
        try:
            return from_json(cls, text)
        except SpecError as error:
            raise MediaError(f"{path} says how it was made in a way this version cannot read: {error}") from error

    def differences(self, now: "Record") -> list[str]:
        """What is different `now`, so that the file may come out different too; one sentence each."""
        return [
            f"{what} was {before!r} and is now {after!r}"
            for what, before, after in (
                ("the version of Kinema", self.version, now.version),
                ("the fingerprint of the weights", self.weights, now.weights),
                ("the device", self.device, now.device),
                ("the number type", self.dtype, now.dtype),
                ("attention", self.attention, now.attention),
                ("quantize", self.quantize, now.quantize),
                ("the hash of the picture", self.image_sha256, now.image_sha256),
                ("the hash of the last picture", self.last_image_sha256, now.last_image_sha256),
                ("the hashes of the files", self.files_sha256, now.files_sha256),
            )
            if before != after
        ]


def _sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(folder: Path) -> str:
    """Tell the weights of a model folder from others: 16 hex digits.

    Hashes the name and size of every safetensors file and at most 64 blocks of 1 MiB, evenly spread over it: all of a
    small model, and a sample of a large one, so that it costs a moment even for tens of gigabytes.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}:{size}\n".encode())
        last = max(0, size - _BLOCK_BYTES)
        count = min(_BLOCKS_PER_FILE, -(-size // _BLOCK_BYTES))
        with path.open("rb") as file:
            for i in range(count):
                file.seek(last * i // max(1, count - 1))
                digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()[:16]
