"""Keys are those of OpenSSH: read and written in its forms, and refused in any other."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import KeyInvalid, PassphraseNeeded, PassphraseWrong, ProofError
from proofs.keys import PrivateKey, PublicKey
from tests.unit.proofs.examples import UNHURRIED
from tests.unit.proofs.signers import KEY, OTHER, keygen, needs_openssh, write_key

LINE = KEY.public_key.to_openssh()
BLOB = KEY.public_key.blob
# RFC 8032, 7.1, test 2.
RFC_PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
RFC_SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def test_a_public_key_reads_what_it_writes() -> None:
    """With a comment and without, as text and in binary."""
    key = KEY.public_key

    assert key == PublicKey.from_openssh(LINE) == PublicKey.from_openssh(f"{LINE} a b c\n")
    assert key == PublicKey.from_blob(key.blob) == PublicKey(raw=key.raw)
    assert f"{LINE} me" == key.to_openssh("me")
    assert key != OTHER.public_key


def test_signatures_are_those_of_the_standard() -> None:
    """The second test of RFC 8032, and none of its changes."""
    key = PublicKey(raw=bytes.fromhex(RFC_PUBLIC))
    signature = bytes.fromhex(RFC_SIGNATURE)

    assert key.verifies(signature, b"\x72")
    assert not key.verifies(signature, b"\x73")
    assert not key.verifies(signature[:-1], b"\x72")
    assert not key.verifies(signature + b"\x00", b"\x72")
    assert not KEY.public_key.verifies(signature, b"\x72")
    assert not PublicKey(raw=b"\xff" * 32).verifies(signature, b"\x72")


BROKEN = {
    "nothing": ("", "is one line"),
    "type alone": ("ssh-ed25519", "is one line"),
    "two lines": (f"{LINE}\n{LINE}", "is one line"),
    "other type": ("ssh-rsa AAAAB3NzaC1yc2E=", "of type 'ssh-rsa'"),
    "no base64": ("ssh-ed25519 A!", "not base64"),
    "not ASCII": ("ssh-ed25519 \xe4\xe4\xe4\xe4", "not base64"),
    "other inside": (f"ssh-ed25519 {_base64(BLOB.replace(b'5519', b'5518'))}", "binary form"),
    "a byte more": (f"ssh-ed25519 {_base64(BLOB + b'x')}", "binary form"),
    "a byte less": (f"ssh-ed25519 {_base64(BLOB[:-1])}", "binary form"),
    "an odd base64": (f"ssh-ed25519 {_base64(BLOB[:-1])[:-2]}B=", "usual form"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_public_key_is_refused(name: str) -> None:
    """Each with its own reason."""
    text, reason = BROKEN[name]

    with pytest.raises(KeyInvalid, match=reason):
        PublicKey.from_openssh(text)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_32_bytes(size: int) -> None:
    """Neither more nor fewer."""
    with pytest.raises(KeyInvalid, match=f"32 bytes, not {size}"):
        PublicKey(raw=bytes(size))


@UNHURRIED
@given(text=st.text(max_size=80) | st.text(max_size=60).map(lambda tail: f"ssh-ed25519 {tail}"))
def test_any_text_is_a_key_or_refused(text: str) -> None:
    """Nothing but our own error comes out."""
    try:
        PublicKey.from_openssh(text)
    except KeyInvalid:
        pass


@pytest.mark.parametrize("passphrase", [None, b"correct horse"])
def test_a_private_key_reads_what_it_writes(passphrase: bytes | None) -> None:
    """In the clear and encrypted; its signatures are the same."""
    data = KEY.to_openssh(passphrase)
    read = PrivateKey.from_openssh(data, passphrase)

    assert KEY == read
    assert KEY.sign(b"message") == read.sign(b"message")
    assert read.public_key.verifies(read.sign(b"message"), b"message")


def test_a_private_key_never_shows_itself() -> None:
    """Neither in a log nor in a traceback."""
    assert f"PrivateKey(public_key={KEY.public_key!r})" == repr(KEY)


def test_new_keys_differ() -> None:
    """Each is drawn."""
    assert PrivateKey.generate() != PrivateKey.generate()


def test_a_passphrase_that_is_not_needed_does_no_harm() -> None:
    """One passphrase file may serve several workers."""
    assert KEY == PrivateKey.from_openssh(KEY.to_openssh(), b"unused")


def test_an_encrypted_key_says_what_it_lacks() -> None:
    """No passphrase, and a wrong one, are two mistakes."""
    data = KEY.to_openssh(b"right")

    with pytest.raises(PassphraseNeeded, match="no passphrase"):
        PrivateKey.from_openssh(data)
    with pytest.raises(PassphraseNeeded, match="no passphrase"):
        PrivateKey.from_openssh(data, b"")
    with pytest.raises(PassphraseWrong, match="does not unlock"):
        PrivateKey.from_openssh(data, b"wrong")


def _openssh(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def test_other_types_of_keys_are_refused() -> None:
    """A curve of NIST, and RSA."""
    for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)):
        with pytest.raises(KeyInvalid, match="not of type ssh-ed25519"):
            PrivateKey.from_openssh(_openssh(key))


PRIVATE = KEY.to_openssh()
BROKEN_PRIVATE = {
    "nothing": (b"", "not a private key of OpenSSH"),
    "a public key": (LINE.encode(), "not a private key of OpenSSH"),
    "another form": (PRIVATE.replace(b"OPENSSH ", b""), "not a private key of OpenSSH"),
    "text behind it": (PRIVATE + b"x", "not a private key of OpenSSH"),
    "cut short": (b"\n".join(PRIVATE.split(b"\n")[:3]), "not a private key of OpenSSH"),
    "no base64": (PRIVATE.replace(b"b3Blb", b"b3Bl"), "not base64"),
    "too long": (PRIVATE + b"\n" * 20_000, "at most 16384 bytes"),
}


@pytest.mark.parametrize("name", BROKEN_PRIVATE)
def test_what_is_no_private_key_is_refused(name: str) -> None:
    """Each with its own reason."""
    data, reason = BROKEN_PRIVATE[name]

    with pytest.raises(KeyInvalid, match=reason):
        PrivateKey.from_openssh(data)


@UNHURRIED
@given(at=st.integers(40, len(PRIVATE) - 40), to=st.integers(0, 255))
def test_a_damaged_private_key_is_refused_or_the_same(at: int, to: int) -> None:
    """Nothing but our own error comes out."""
    try:
        read = PrivateKey.from_openssh(PRIVATE[:at] + bytes((to,)) + PRIVATE[at + 1 :], b"x")
    except ProofError:
        return
    assert len(read.sign(b"message")) == 64


def test_a_passphrase_has_a_limit() -> None:
    """Said before the library says it in its own way."""
    with pytest.raises(KeyInvalid, match="at most 1024 bytes, not 1025"):
        KEY.to_openssh(b"x" * 1025)


@needs_openssh
@pytest.mark.parametrize("passphrase", [b"", b"open sesame"])
def test_keys_of_ssh_keygen_are_read(tmp_path: Path, passphrase: bytes) -> None:
    """As stock ssh-keygen makes them, with its fingerprint."""
    file = tmp_path / "key"
    made = keygen("-q", "-t", "ed25519", "-N", passphrase.decode(), "-C", "a b", "-f", file)
    assert made.returncode == 0, made.stderr
    key = PrivateKey.from_openssh(file.read_bytes(), passphrase)

    assert key.public_key == PublicKey.from_openssh((tmp_path / "key.pub").read_text())
    assert key.public_key.fingerprint in keygen("-l", "-f", file).stdout.decode()


@needs_openssh
@pytest.mark.parametrize("passphrase", [b"", b"open sesame"])
def test_ssh_keygen_reads_our_keys(tmp_path: Path, passphrase: bytes) -> None:
    """In the clear and encrypted."""
    file = write_key(tmp_path, KEY, passphrase or None)
    read = keygen("-y", "-P", passphrase.decode(), "-f", file)

    assert read.stdout.decode().split()[:2] == LINE.split()
