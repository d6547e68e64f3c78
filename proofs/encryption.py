"""Reports for some eyes only: age files, made and read by `pyrage`.

A recipient is an age key (`age1…`) or an SSH key (`ssh-ed25519 …`, `ssh-rsa …`). Whoever holds the
private key reads the file with any age program, `age --decrypt -i KEY FILE`. Encrypting the same
bytes twice gives two different files. The library is loaded when it is first needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from proofs.errors import EncryptionFailed, ExtraMissing, RecipientInvalid

MARK = b"age-encryption.org/v1\n"
"""How every age file begins."""

_SECRET_MARKS = ("AGE-SECRET-KEY-", "-----BEGIN")


def encrypt(data: bytes, recipients: Sequence[str]) -> bytes:
    """Return the bytes as an age file that each of the recipients can read.

    Raises:
        ExtraMissing: `pyrage` is not installed.
        RecipientInvalid: There is no recipient, or one of them is none.
        EncryptionFailed: The library refuses.
    """
    if not recipients:
        raise RecipientInvalid(
            "there is nobody to encrypt to",
            suggested_action="Name at least one age or SSH key as recipient.",
        )
    keys = [_recipient(text) for text in recipients]
    try:
        return bytes(_pyrage().encrypt(data, keys))
    except _pyrage().EncryptError as exc:
        raise EncryptionFailed(
            f"the bytes could not be encrypted: {exc}",
            suggested_action="Try each recipient alone to see which one it is.",
        ) from exc


def check_recipient(text: str) -> None:
    """Refuse a text that is no recipient.

    Raises:
        ExtraMissing: `pyrage` is not installed.
        RecipientInvalid: The text is no age key and no SSH key, or a private one.
    """
    _recipient(text)


def is_encrypted(data: bytes) -> bool:
    """Return whether the bytes are an age file, going by how they begin."""
    return data.startswith(MARK)


def decrypt(data: bytes, identities: Sequence[str | bytes]) -> bytes:
    """Return what was encrypted to one of these private keys, in age's or OpenSSH's form.

    Raises:
        ExtraMissing: `pyrage` is not installed.
        EncryptionFailed: A key cannot be read, none of them fits, or the file is damaged.
    """
    keys = [_identity(key) for key in identities]
    try:
        return bytes(_pyrage().decrypt(data, keys))
    except _pyrage().DecryptError as exc:
        raise EncryptionFailed(
            f"the file could not be decrypted: {exc}",
            suggested_action="Use the private key of one of the recipients, and the whole file.",
        ) from exc


def _recipient(text: str) -> Any:
    pyrage = _pyrage()
    if text.strip().startswith(_SECRET_MARKS):
        # Said without showing it.
        raise RecipientInvalid(
            "a private key was given as recipient",
            suggested_action="Replace that key, and name its public half (age1… or ssh-…).",
        )
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except (pyrage.RecipientError, ValueError) as exc:
        told = ascii(text if len(text) <= 80 else text[:77] + "...")
        raise RecipientInvalid(
            f"{told} is no recipient: not an age key, and not an SSH key that age can use",
            suggested_action="Use the public key that `age-keygen` shows (age1…), or an SSH one.",
        ) from exc


def _identity(key: str | bytes) -> Any:
    pyrage = _pyrage()
    try:
        if isinstance(key, str) and key.startswith("AGE-SECRET-KEY-"):
            return pyrage.x25519.Identity.from_str(key)
        return pyrage.ssh.Identity.from_buffer(key.encode() if isinstance(key, str) else key)
    except (pyrage.IdentityError, ValueError) as exc:
        raise EncryptionFailed(
            "a private key could not be read",
            suggested_action="Use an age or an SSH private key that is not itself encrypted.",
        ) from exc


def _pyrage() -> Any:
    try:
        return importlib.import_module("pyrage")
    except ModuleNotFoundError as exc:
        raise ExtraMissing(
            "encrypting reports needs the package pyrage, which is not installed",
            suggested_action="Install it: pip install 'honeyflow[ipfs]'.",
            details={"package": "pyrage"},
        ) from exc
