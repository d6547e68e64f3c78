"""Reports for some eyes only: encrypted to keys that people have, and to nothing else."""

from __future__ import annotations

import sys

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from proofs.encryption import check_recipient, decrypt, encrypt, is_encrypted
from proofs.errors import EncryptionFailed, ExtraMissing, RecipientInvalid

ALICE = pyrage.x25519.Identity.generate()
BOB = pyrage.x25519.Identity.generate()
REPORT = b'{"answer":"mild effusion","v":1}'


def public(identity: pyrage.x25519.Identity) -> str:
    """What one tells others."""
    return str(identity.to_public())


def ssh_pair() -> tuple[str, bytes]:
    """An SSH key: the line people know, and OpenSSH's file."""
    key = ed25519.Ed25519PrivateKey.generate()
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return line.decode(), secret


@given(st.binary(max_size=200_000))
def test_each_recipient_reads_what_was_encrypted(data: bytes) -> None:
    """To all of them at once, whatever the bytes."""
    file = encrypt(data, [public(ALICE), public(BOB)])

    assert is_encrypted(file)
    assert [data, data] == [decrypt(file, [str(one)]) for one in (ALICE, BOB)]


def test_an_ssh_key_is_a_recipient() -> None:
    """With a comment or without, and beside an age key."""
    line, secret = ssh_pair()
    file = encrypt(REPORT, [line + " alice@clinic", public(BOB)])

    assert REPORT == decrypt(file, [secret]) == decrypt(file, [secret.decode()])


def test_nobody_else_reads_it() -> None:
    """Neither with another key nor from the file itself."""
    file = encrypt(REPORT, [public(ALICE)])

    assert b"effusion" not in file
    with pytest.raises(EncryptionFailed, match="could not be decrypted"):
        decrypt(file, [str(BOB)])


def test_twice_the_same_gives_two_files() -> None:
    """So its CID can only be told after it was made, once."""
    first, second = (encrypt(REPORT, [public(ALICE)]) for _ in range(2))

    assert first != second


@pytest.mark.parametrize("harm", ["cut", "padded", "empty", "another"])
def test_a_damaged_file_is_refused(harm: str) -> None:
    """Whatever has become of it."""
    whole = encrypt(REPORT, [public(ALICE)])
    file = {"cut": whole[:-1], "padded": whole + b"x", "empty": b"", "another": REPORT}[harm]

    with pytest.raises(EncryptionFailed):
        decrypt(file, [str(ALICE)])


NO_KEYS = ["", "age1", "age1xyz", "ssh-ed25519 AAAA", "ssh-rsa", "ssh-dss AAAA", "alice"]
NO_KEYS += ["\ud800", "\0", "x" * 10_000]


@pytest.mark.parametrize("text", NO_KEYS)
def test_what_is_no_key_is_no_recipient(text: str) -> None:
    """Refused when the settings are read, in a sentence of moderate length."""
    with pytest.raises(RecipientInvalid) as refused:
        check_recipient(text)

    assert len(refused.value.message) < 300


def test_a_mistyped_key_is_no_recipient() -> None:
    """Its last digits are a checksum."""
    key = public(ALICE)
    for wrong in (key + "\n", " " + key, key[:-1], key[:-1] + ("q" if key[-1] != "q" else "p")):
        with pytest.raises(RecipientInvalid, match="no recipient"):
            check_recipient(wrong)


def test_a_private_key_is_never_shown() -> None:
    """It was put into the settings by mistake; the message must not spread it."""
    for secret in (str(ALICE), " " + str(ALICE), ssh_pair()[1].decode()):
        with pytest.raises(RecipientInvalid) as refused:
            check_recipient(secret)

        assert "a private key was given as recipient" == refused.value.message
        assert secret.strip()[20:40] not in str(vars(refused.value))


def test_to_nobody_is_an_error() -> None:
    """Not a file that nobody can read, and not the report in the clear."""
    with pytest.raises(RecipientInvalid, match="nobody"):
        encrypt(REPORT, [])


@pytest.mark.parametrize("key", ["AGE-SECRET-KEY-1", "nonsense", b"\xff", ""])
def test_an_unreadable_private_key_is_refused(key: str | bytes) -> None:
    """In our words."""
    with pytest.raises(EncryptionFailed, match="could not be read"):
        decrypt(encrypt(REPORT, [public(ALICE)]), [key])


def test_without_the_library_the_reader_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "pyrage", None)

    with pytest.raises(ExtraMissing, match="pyrage") as missing:
        check_recipient(public(ALICE))
    assert "honeyflow[ipfs]" in missing.value.suggested_action
