"""Ed25519 keys in OpenSSH's form: what bees, logs and witnesses sign with.

Keys of other types are refused, so that nothing has to be negotiated. Where a key is kept, and who
may read it, is not decided here: this file turns bytes into keys and back.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Protocol, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)

from proofs.errors import KeyInvalid, PassphraseNeeded, PassphraseWrong

KEY_TYPE = "ssh-ed25519"
KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAX_KEY_FILE_BYTES = 16_384
MAX_PASSPHRASE_BYTES = 1024

_BLOB_PREFIX = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN OPENSSH PRIVATE KEY-----\r?\n([A-Za-z0-9+/=\r\n]+)"
    rb"-----END OPENSSH PRIVATE KEY-----\s*"
)
_UNENCRYPTED = b"openssh-key-v1\x00\x00\x00\x00\x04none"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """An Ed25519 public key, by its 32 bytes.

    Raises:
        KeyInvalid: It is not 32 bytes.
    """

    raw: bytes

    def __post_init__(self) -> None:
        """Refuse what is not 32 bytes."""
        if len(self.raw) != KEY_BYTES:
            raise _invalid(f"an Ed25519 public key has {KEY_BYTES} bytes, not {len(self.raw)}")

    @classmethod
    def from_blob(cls, blob: bytes) -> Self:
        """Read a key as it stands, in binary, in signatures and in an agent's answers.

        Raises:
            KeyInvalid: It is no Ed25519 key, or has the wrong length.
        """
        if not blob.startswith(_BLOB_PREFIX) or len(blob) != len(_BLOB_PREFIX) + KEY_BYTES:
            raise _invalid(f"this is not the binary form of an {KEY_TYPE} key")
        return cls(raw=blob[len(_BLOB_PREFIX) :])

    @classmethod
    def from_openssh(cls, text: str) -> Self:
        """Read one line `ssh-ed25519 AAAA… [comment]`, as in a `.pub` file.

        Raises:
            KeyInvalid: It is another line, a key of another type, or badly encoded.
        """
        words = text.strip().split(None, 2)
        if len(words) < 2 or "\n" in text.strip():
            raise _invalid(f"a public key is one line: {KEY_TYPE}, a space and base64")
        if words[0] != KEY_TYPE:
            raise _invalid(f"the key is of type {words[0][:40]!a}, not {KEY_TYPE}")
        try:
            blob = base64.b64decode(words[1], validate=True)
        except ValueError as exc:
            raise _invalid("the key is not base64") from exc
        # One key, one text: padding bits and the like are refused.
        if base64.b64encode(blob).decode("ascii") != words[1]:
            raise _invalid("the key's base64 is not in its usual form")
        return cls.from_blob(blob)

    def to_openssh(self, comment: str = "") -> str:
        """Return `ssh-ed25519 AAAA…`, and the comment after a space where there is one."""
        text = f"{KEY_TYPE} {base64.b64encode(self.blob).decode('ascii')}"
        return f"{text} {comment}" if comment else text

    @property
    def blob(self) -> bytes:
        """The binary form, with its type."""
        return _BLOB_PREFIX + self.raw

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` shows it."""
        digest = hashlib.sha256(self.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether the 64 bytes are this key's signature over exactly this message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer(Protocol):
    """Whoever can sign with one key: the key itself, or an agent that holds it."""

    @property
    def public_key(self) -> PublicKey:
        """The key whose signatures these are."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of an Ed25519 signature over exactly this message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """An Ed25519 private key in memory; the key is never shown."""

    public_key: PublicKey
    _key: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a new key."""
        return cls._of(Ed25519PrivateKey.generate())

    @classmethod
    def from_openssh(cls, data: bytes, passphrase: bytes | None = None) -> Self:
        """Read a private key file of OpenSSH.

        Args:
            data: The file's bytes.
            passphrase: What unlocks it; ignored for a key that is not encrypted.

        Raises:
            PassphraseNeeded: The key is encrypted and no passphrase was given.
            PassphraseWrong: The passphrase does not unlock it.
            KeyInvalid: It is not a private key of OpenSSH, or of another type than Ed25519.
        """
        encrypted = _is_encrypted(data)
        if encrypted and not passphrase:
            raise PassphraseNeeded(
                "the private key is encrypted, and no passphrase was given",
                suggested_action="Name a file that holds the passphrase, or use an ssh-agent.",
            )
        try:
            key = load_ssh_private_key(data, passphrase if encrypted else None)
        except UnsupportedAlgorithm as exc:
            raise _invalid(
                f"the private key cannot be read: {exc}",
                action="Install bcrypt for encrypted keys; use aes256-ctr, ssh-keygen's default.",
            ) from exc
        except (ValueError, TypeError) as exc:
            if encrypted:
                raise PassphraseWrong(
                    "the passphrase does not unlock the private key",
                    suggested_action="Check the passphrase file; a final newline is left out.",
                ) from exc
            raise _invalid("the private key is damaged") from exc
        if not isinstance(key, Ed25519PrivateKey):
            raise _invalid(f"the private key is not of type {KEY_TYPE}")
        return cls._of(key)

    def to_openssh(self, passphrase: bytes | None = None) -> bytes:
        """Return the bytes of a private key file of OpenSSH, encrypted if a passphrase is given.

        Raises:
            KeyInvalid: The passphrase is too long to be one.
        """
        if passphrase and len(passphrase) > MAX_PASSPHRASE_BYTES:
            raise _invalid(
                f"a passphrase has at most {MAX_PASSPHRASE_BYTES} bytes, not {len(passphrase)}"
            )
        lock = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, lock)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature; the same message has the same signature."""
        return self._key.sign(message)

    @classmethod
    def _of(cls, key: Ed25519PrivateKey) -> Self:
        return cls(public_key=PublicKey(raw=key.public_key().public_bytes_raw()), _key=key)


def _is_encrypted(data: bytes) -> bool:
    """Tell from the head of the file; the library's errors do not say which way it failed."""
    if len(data) > MAX_KEY_FILE_BYTES:
        raise _invalid(f"a private key has at most {MAX_KEY_FILE_BYTES} bytes, not {len(data)}")
    found = _PRIVATE_KEY.fullmatch(data)
    if found is None:
        raise _invalid(
            "this is not a private key of OpenSSH",
            action="Make one with `ssh-keygen -t ed25519`; other forms are not read.",
        )
    try:
        body = base64.b64decode(found[1])
    except ValueError as exc:
        raise _invalid("the private key is not base64") from exc
    return not body.startswith(_UNENCRYPTED)


def _invalid(
    message: str, *, action: str = f"Use an {KEY_TYPE} key as ssh-keygen writes it."
) -> KeyInvalid:
    return KeyInvalid(message, suggested_action=action)
