"""Who signs: a certificate authority of this installation's own, made when it is first needed, or the operator's.

The folder is `$KINEMA_PROVENANCE`, else `kinema/provenance` where the user's configuration is kept. It holds
`chain.pem` (the signing certificate, then those above it), `key.pem` and `root.pem` (whom to trust). Files of one's own
under these names are used as they are; `tsa_url.txt`, if there is one, names a time stamp authority that is asked at
every signature.
"""

import contextlib
import datetime
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from kinema.errors import SpecError

FOLDER_VARIABLE = "KINEMA_PROVENANCE"

_YEARS = 10
_MADE_HERE = "root-key.pem"  # only an authority that Kinema made keeps the key of its root


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Everything that a signature needs, in PEM."""

    chain: str
    key: str
    roots: str | None
    """Certificates to trust; None when the operator gave none."""
    algorithm: str
    """As C2PA names it, such as es256."""
    tsa_url: str | None = None


def authority_folder() -> Path:
    """Where the certificates and the key are, or will be."""
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).expanduser()
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "kinema" / "provenance"


def trusted_roots() -> str | None:
    """The certificates that this installation trusts, in PEM; None when there are none yet."""
    path = authority_folder() / "root.pem"
    return path.read_text(encoding="ascii", errors="replace") if path.is_file() else None


def open_authority() -> Authority:
    """Read the authority of this installation; make it first if there is none.

    Raises SpecError for a folder that holds only half of what is needed or a key of another kind, and OSError where
    nothing can be written.
    """
    folder = authority_folder()
    if not (folder / "chain.pem").is_file() and not (folder / "key.pem").is_file():
        _make(folder)
    parts = {name: folder / f"{name}.pem" for name in ("chain", "key")}
    for name, path in parts.items():
        if not path.is_file():
            raise SpecError(
                f"{folder} holds no {name}.pem; put the certificate chain (chain.pem) and its key (key.pem) there, "
                "or neither, and Kinema makes its own"
            )
    key = parts["key"].read_text(encoding="ascii", errors="replace")
    tsa = folder / "tsa_url.txt"
    return Authority(
        chain=parts["chain"].read_text(encoding="ascii", errors="replace"),
        key=key,
        roots=trusted_roots(),
        algorithm="es256" if (folder / _MADE_HERE).is_file() else _algorithm(key, parts["key"]),
        tsa_url=(tsa.read_text(encoding="utf-8").strip() or None) if tsa.is_file() else None,
    )


def _algorithm(key: str, path: Path) -> str:
    """What C2PA calls the signatures of a key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        loaded = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SpecError(
            f"{path} is no private key in PEM without a password: {str(error).partition('.')[0]}"
        ) from error
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(loaded, ec.EllipticCurvePrivateKey) and loaded.curve.name in curves:
        return curves[loaded.curve.name]
    if isinstance(loaded, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(loaded, rsa.RSAPrivateKey):
        return "ps256"
    raise SpecError(f"{path} is a key that C2PA does not sign with; it takes P-256, P-384, P-521, Ed25519 or RSA")


def _make(folder: Path) -> None:
    """Make a root and a signing certificate; whoever comes second uses what the first one made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
    try:
        for name, text in _issue().items():
            path = new / name
            path.touch(mode=0o600)
            path.write_bytes(text)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        with contextlib.suppress(OSError):  # it is there by now: another process was faster
            new.rename(folder)
        if not (folder / "key.pem").is_file():
            raise SpecError(f"{folder} holds other files; name an empty folder in {FOLDER_VARIABLE}, or a new one")
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _issue() -> dict[str, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(common: str) -> x509.Name:
        pairs = [(NameOID.ORGANIZATION_NAME, "Kinema"), (NameOID.COMMON_NAME, common)]
        return x509.Name([x509.NameAttribute(*pair) for pair in pairs])

    def key_usage(**allowed: bool) -> x509.KeyUsage:
        uses = (
            "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
            "key_cert_sign crl_sign encipher_only decipher_only"
        )
        return x509.KeyUsage(**{use: allowed.get(use, False) for use in uses.split()})

    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)  # clocks differ
    end = start + datetime.timedelta(days=365 * _YEARS)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def certificate(common: str, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(name(common)).issuer_name(name("Kinema root of this machine"))
        builder = builder.public_key(public).serial_number(x509.random_serial_number())
        return (
            builder.not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        )

    root = (
        certificate("Kinema root of this machine", root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        certificate("Kinema on this machine", key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM

    def secret(private: ec.EllipticCurvePrivateKey) -> bytes:
        return private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    return {
        "root.pem": root.public_bytes(pem),
        _MADE_HERE: secret(root_key),
        "chain.pem": leaf.public_bytes(pem) + root.public_bytes(pem),
        "key.pem": secret(key),
    }
