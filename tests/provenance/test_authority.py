import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519

from kinema.errors import SpecError
from kinema.provenance.authority import authority_folder, open_authority, trusted_roots


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KINEMA_PROVENANCE", str(tmp_path / "deep" / "own"))
    return tmp_path / "deep" / "own"


def _pem(key: object) -> str:
    return key.private_bytes(  # type: ignore[attr-defined,no-any-return]
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def test_an_authority_is_made_once_and_kept(folder: Path) -> None:
    assert trusted_roots() is None
    made = open_authority()
    assert made == open_authority()
    assert made.algorithm == "es256"
    assert made.roots == trusted_roots()
    leaf, root = x509.load_pem_x509_certificates(made.chain.encode())
    leaf.verify_directly_issued_by(root)
    assert root == x509.load_pem_x509_certificate((made.roots or "").encode())


def test_nobody_else_can_read_the_keys(folder: Path) -> None:
    open_authority()
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_many_that_start_at_once_agree_on_one(folder: Path) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(open_authority())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len({each.key for each in found}) == 1
    assert [path.name for path in folder.parent.iterdir()] == ["own"]


def test_the_operators_own_key_is_used_as_it_is(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "chain.pem").write_text("theirs")
    for key, algorithm in (
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
    ):
        (folder / "key.pem").write_text(_pem(key))
        found = open_authority()
        assert (found.chain, found.algorithm, found.roots, found.tsa_url) == ("theirs", algorithm, None, None)
    (folder / "tsa_url.txt").write_text("http://time.example\n")
    assert open_authority().tsa_url == "http://time.example"


def test_half_an_authority_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "chain.pem").write_text("theirs")
    with pytest.raises(SpecError, match=r"holds no key\.pem; put"):
        open_authority()


@pytest.mark.parametrize("text", ["", "no key", _pem(dsa.generate_private_key(1024))])
def test_a_key_that_cannot_sign_is_refused(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "chain.pem").write_text("theirs")
    (folder / "key.pem").write_text(text)
    with pytest.raises(SpecError, match=r"key\.pem is"):
        open_authority()


def test_a_folder_of_other_things_is_left_alone(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "holiday.txt").write_text("mine")
    with pytest.raises(SpecError, match="holds other files"):
        open_authority()
    assert [path.name for path in folder.iterdir()] == ["holiday.txt"]


def test_without_a_name_the_folder_is_where_configuration_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KINEMA_PROVENANCE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert authority_folder() == tmp_path / "kinema" / "provenance"
