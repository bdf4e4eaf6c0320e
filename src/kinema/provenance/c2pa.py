"""Signed statements of origin (C2PA 2), written into the file last, because any later change of a byte breaks them."""

import contextlib
import datetime
import importlib.util
import io
import json
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image

import kinema
from kinema.errors import MediaError, SpecError
from kinema.provenance.authority import Authority, authority_folder, trusted_roots
from kinema.provenance.hold import hold_signals

SIGNED_ENDINGS = (".mp4", ".gif", ".webp", ".png")
"""Of the formats that Kinema writes, those that carry a signature. WebM has no place for one."""

MADE_BY_MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's name for media that a trained model made."""

GENERATION = "org.kinema.generation"
"""The assertion that says how the file was made."""

State = Literal["trusted", "valid", "invalid"]


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    """Something that went into a file: what it was made of stays known, with the marks that it carried."""

    path: Path
    relation: Literal["parentOf", "inputTo"]
    """parentOf: an edit of it; inputTo: shown to the model, such as a first picture."""
    statement: bytes | None = None
    """What it said of its origin, from `read_statement`, where `path` itself no longer can."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What a file's signed statement says, and whether it holds."""

    state: State
    """trusted: by a certificate that is trusted here; valid: intact, by someone unknown; invalid: broken or altered."""
    issuer: str | None
    """The organisation in the certificate; anyone can write any name into one that is not trusted."""
    generator: str | None
    """The program that claims to have made the file."""
    signed_at: str | None
    """When; from a time stamp authority if one signed, else what the program said itself."""
    source_type: str | None
    """IPTC's digital source type of the first action."""
    generation: dict[str, Any] | None
    """What Kinema says of how it was made."""
    ingredients: tuple[str, ...]
    """Titles of what went into it."""
    origins: tuple[str, ...]
    """What was found of the own statement of each of them when it went in, in words; empty where there was none."""
    problems: tuple[str, ...]
    """Codes of what does not hold."""


def is_available() -> bool:
    """Whether the package that signs is installed."""
    return importlib.util.find_spec("c2pa") is not None


def media_type(path: Path) -> str | None:
    """The format of a file by its first bytes, whatever its name says; None for one that carries no signature."""
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    signs = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
    return next((kind for sign, kind in signs.items() if head.startswith(sign)), None)


def now() -> str:
    """The time of day, as manifests write it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Target(io.FileIO):
    """A file to write that remembers what its disk refused, which c2pa does not pass on."""

    refused: OSError | None = None

    def write(self, data: Any, /) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.refused = error
            raise
        return len(data)


def sign(
    path: Path,
    title: str,
    generation: Mapping[str, Any],
    authority: Authority,
    ingredients: Sequence[Ingredient] = (),
) -> None:
    """Sign a finished file where it stands.

    Raises MediaError when it, or an ingredient, cannot be read or signed, and OSError when the disk is full.
    """
    import c2pa

    kind = media_type(path)
    if kind is None:
        raise MediaError(f"{title} is of a format that carries no signature; {', '.join(SIGNED_ENDINGS)} do")

    settings: dict[str, Any] = {
        "builder": {"thumbnail": {"enabled": False}},
        "verify": {"verify_after_sign": False, "remote_manifest_fetch": False},
    }
    if authority.roots:
        settings["trust"] = {"user_anchors": authority.roots}
    signed = path.with_name(f"{secrets.token_hex(4)}.partial-signed")  # short, whatever the file is called
    info = c2pa.C2paSignerInfo(
        authority.algorithm.encode(),
        authority.chain.encode(),
        authority.key.encode(),
        authority.tsa_url.encode() if authority.tsa_url else None,
    )
    target: _Target | None = None
    try:
        with hold_signals(), contextlib.ExitStack() as stack:
            context = stack.enter_context(c2pa.Context(c2pa.Settings.from_dict(settings)))
            signer = stack.enter_context(c2pa.Signer.from_info(info))
            manifest = _manifest(title, kind, generation, ingredients)
            builder = stack.enter_context(c2pa.Builder(manifest, context=context))
            for i, ingredient in enumerate(ingredients):
                about = {"title": ingredient.path.name, "relationship": ingredient.relation, "label": f"ingredient-{i}"}
                if ingredient.statement is not None:
                    builder.add_ingredient(about, "application/c2pa", io.BytesIO(ingredient.statement))
                    continue
                its_kind = media_type(ingredient.path) or "application/octet-stream"
                builder.add_ingredient(about, its_kind, stack.enter_context(ingredient.path.open("rb")))
            source, target = stack.enter_context(path.open("rb")), stack.enter_context(_Target(signed, "w+b"))
            builder.sign(signer, kind, source, target)
        signed.replace(path)
    except c2pa.C2paError as error:
        if target is not None and target.refused is not None:
            raise target.refused from error
        raise MediaError(f"{title} cannot be signed: {error}") from error
    finally:
        signed.unlink(missing_ok=True)


def try_out(authority: Authority) -> None:
    """Sign a picture of one pixel, so that a key that does not fit is known before hours of work.

    Raises SpecError when it cannot be done.
    """
    with tempfile.TemporaryDirectory(prefix="kinema-") as folder:
        path = Path(folder) / "pixel.png"
        Image.new("RGB", (1, 1)).save(path)
        try:
            sign(path, path.name, {}, authority)
            found = read(path)
            problem = None if found and found.state != "invalid" else ", ".join(found.problems if found else ())
        except MediaError as error:
            problem = str(error.__cause__)
        if problem is not None:
            raise SpecError(
                f"the certificates in {authority_folder()} cannot sign: {problem}; "
                "put a chain.pem and key.pem there that belong together, or neither"
            )


def read(path: Path, anchors: str | None = None) -> Signature | None:
    """Read and check the signed statement of a file; None when it carries none, or has no place for one.

    `anchors` are certificates to trust, in PEM; those of this installation unless given.
    """
    import c2pa

    kind = media_type(path)
    if kind is None:
        return None
    settings: dict[str, Any] = {"verify": {"verify_trust": True, "remote_manifest_fetch": False}}
    if roots := anchors or trusted_roots():
        settings["trust"] = {"user_anchors": roots}
    try:
        with hold_signals(), contextlib.ExitStack() as stack:
            context = stack.enter_context(c2pa.Context(c2pa.Settings.from_dict(settings)))
            file = stack.enter_context(path.open("rb"))
            reader = stack.enter_context(c2pa.Reader(kind, file, context=context))
            return _signature(json.loads(reader.json()), reader.get_validation_state() or "Invalid")
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:
        return Signature(
            state="invalid", issuer=None, generator=None, signed_at=None, source_type=None, generation=None,
            ingredients=(), origins=(), problems=(" ".join(str(error).split()),),
        )  # fmt: skip


def _manifest(
    title: str, kind: str, generation: Mapping[str, Any], ingredients: Sequence[Ingredient]
) -> dict[str, Any]:
    agent = {"name": "Kinema", "version": kinema.__version__}
    when = now()
    made = {"action": "c2pa.created", "digitalSourceType": MADE_BY_MODEL, "softwareAgent": agent, "when": when}
    actions: list[dict[str, Any]] = [made]
    shown = [f"ingredient-{i}" for i, each in enumerate(ingredients) if each.relation == "inputTo"]
    if parents := [f"ingredient-{i}" for i, each in enumerate(ingredients) if each.relation == "parentOf"]:
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": parents}, "when": when}
        actions = [opened, {**made, "action": "c2pa.edited"}]
    if shown:
        actions[-1]["parameters"] = {"ingredientIds": shown}
    return {
        "claim_generator_info": [agent],
        "title": title,
        "format": kind,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": GENERATION, "data": dict(generation)},
        ],
    }


def _signature(store: dict[str, Any], state: str) -> Signature:
    active = store["manifests"][store["active_manifest"]]
    assertions = {each["label"]: each["data"] for each in active.get("assertions", [])}
    actions = (assertions.get("c2pa.actions.v2") or assertions.get("c2pa.actions") or {}).get("actions") or [{}]
    about, claimed = active.get("signature_info", {}), (active.get("claim_generator_info") or [{}])[0]
    checks = store.get("validation_results", {}).get("activeManifest", {})
    sources = [action["digitalSourceType"] for action in actions if "digitalSourceType" in action]
    return Signature(
        state={"Trusted": "trusted", "Valid": "valid"}.get(state, "invalid"),  # type: ignore[arg-type]
        issuer=about.get("issuer"),
        generator=" ".join(filter(None, (claimed.get("name"), claimed.get("version")))) or None,
        signed_at=about.get("time") or next((action["when"] for action in actions if "when" in action), None),
        source_type=sources[0] if sources else None,
        generation=assertions.get(GENERATION),
        ingredients=tuple(str(each.get("title") or "?") for each in active.get("ingredients", [])),
        origins=tuple(_origin(each, store["manifests"]) for each in active.get("ingredients", [])),
        problems=tuple(dict.fromkeys(str(each["code"]) for each in checks.get("failure", []))),
    )


def _origin(ingredient: Mapping[str, Any], manifests: Mapping[str, Any]) -> str:
    own = manifests.get(ingredient.get("active_manifest") or "")
    if own is None:
        return ""
    failures = ingredient.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    codes = {str(each["code"]) for each in failures}
    issuer = own.get("signature_info", {}).get("issuer") or "nobody named"
    if codes - {"signingCredential.untrusted"}:
        return f"its signature by {issuer} was broken"
    return f"signed by {issuer}" + (", whom nobody here vouches for" if codes else "")
