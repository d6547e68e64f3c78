"""SSHSIG: signatures over a file that stock `ssh-keygen -Y verify` accepts.

The signed bytes and their envelope are those of OpenSSH's PROTOCOL.sshsig. What this writes equals,
byte for byte, what `ssh-keygen -Y sign` writes with the same key. What it reads must be in exactly
that form: version 1, an Ed25519 key, SHA-256 or SHA-512, no reserved data, nothing after the end.
A valid signature says which key signed; whether that key may, `proofs.allowed_signers` decides.
"""

from __future__ import annotations

import base64
import hashlib
import struct

from proofs.errors import KeyInvalid, SignatureInvalid
from proofs.keys import KEY_TYPE, SIGNATURE_BYTES, PublicKey, Signer

RECEIPT_NAMESPACE = "swarm-receipt"
BATCH_NAMESPACE = "swarm-merkle"
MAX_SIGNATURE_BYTES = 4096

_MAGIC = b"SSHSIG"
_VERSION = 1
_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_BEGIN = b"-----BEGIN SSH SIGNATURE-----\n"
_END = b"-----END SSH SIGNATURE-----\n"
_COLUMNS = 70


def sign(signer: Signer, *, namespace: str, message: bytes) -> bytes:
    """Return the armoured signature of a message, as `ssh-keygen -Y sign` would write it.

    The namespace keeps a signature made for one purpose from serving another.
    """
    signature = signer.sign(_signed_bytes(namespace, "sha512", message))
    blob = b"".join(
        (
            _MAGIC,
            struct.pack(">I", _VERSION),
            _string(signer.public_key.blob),
            _string(namespace.encode("utf-8")),
            _string(b""),
            _string(b"sha512"),
            _string(_string(KEY_TYPE.encode("ascii")) + _string(signature)),
        )
    )
    return _armour(blob)


def verify(armoured: bytes, *, namespace: str, message: bytes) -> PublicKey:
    """Check a signature over exactly this message, and return the key that made it.

    Raises:
        SignatureInvalid: The signature is not in its exact form, is for another namespace, or is
            not over this message; the message says which.
    """
    fields = _Fields(_dearmour(armoured))
    if fields.take(len(_MAGIC), "preamble") != _MAGIC:
        raise _invalid("it does not begin with SSHSIG")
    (version,) = struct.unpack(">I", fields.take(4, "version"))
    if version != _VERSION:
        raise _invalid(f"it is of version {version}, not {_VERSION}")
    try:
        key = PublicKey.from_blob(fields.string("public key"))
    except KeyInvalid as exc:
        raise _invalid(f"it was not made with an {KEY_TYPE} key") from exc
    given = fields.string("namespace")
    if given != namespace.encode("utf-8"):
        raise _invalid(f"it is for the namespace {_shown(given)}, not {namespace!r}")
    if fields.string("reserved field"):
        raise _invalid("its reserved field is not empty")
    named = fields.string("hash algorithm")
    algorithm = named.decode("ascii", "replace")
    if algorithm not in _HASHES:
        raise _invalid(f"its hash algorithm is {_shown(named)}, neither sha256 nor sha512")
    inner = _Fields(fields.string("signature"))
    fields.end("the signature's envelope")
    if inner.string("signature's type") != KEY_TYPE.encode("ascii"):
        raise _invalid(f"its type is not {KEY_TYPE}")
    signature = inner.string("signature's bytes")
    inner.end("the signature")
    if len(signature) != SIGNATURE_BYTES:
        raise _invalid(f"it has {len(signature)} bytes, not {SIGNATURE_BYTES}")
    if not key.verifies(signature, _signed_bytes(namespace, algorithm, message)):
        raise _invalid("it was made over other bytes, or not by the key it names")
    return key


class _Fields:
    """Reads length-prefixed fields from the front; what is missing or left over is an error."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int, what: str) -> bytes:
        """The next bytes."""
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise _invalid(f"it ends within its {what}")
        self._at += size
        return taken

    def string(self, what: str) -> bytes:
        """The next field with its length in four bytes before it."""
        (size,) = struct.unpack(">I", self.take(4, what))
        return self.take(size, what)

    def end(self, what: str) -> None:
        """Refuse anything that is left."""
        if self._at != len(self._data):
            raise _invalid(f"{len(self._data) - self._at} bytes follow {what}")


def _signed_bytes(namespace: str, algorithm: str, message: bytes) -> bytes:
    digest = _HASHES[algorithm](message).digest()
    parts = (namespace.encode("utf-8"), b"", algorithm.encode("ascii"), digest)
    return _MAGIC + b"".join(_string(part) for part in parts)


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _armour(blob: bytes) -> bytes:
    text = base64.b64encode(blob)
    lines = (text[start : start + _COLUMNS] + b"\n" for start in range(0, len(text), _COLUMNS))
    return _BEGIN + b"".join(lines) + _END


def _dearmour(armoured: bytes) -> bytes:
    if len(armoured) > MAX_SIGNATURE_BYTES:
        raise _invalid(f"it has {len(armoured)} bytes, more than {MAX_SIGNATURE_BYTES}")
    if not armoured.startswith(_BEGIN):
        raise _invalid("it does not begin with the line BEGIN SSH SIGNATURE")
    if not armoured.endswith(_END):
        raise _invalid("it does not end with the line END SSH SIGNATURE")
    body = armoured[len(_BEGIN) : -len(_END)]
    try:
        blob = base64.b64decode(body.replace(b"\n", b""), validate=True)
    except ValueError as exc:
        raise _invalid("it is not base64") from exc
    if _armour(blob) != armoured:
        raise _invalid("its base64 is not in the form that ssh-keygen writes")
    return blob


def _shown(data: bytes) -> str:
    return ascii(data[:60].decode("utf-8", "replace"))


def _invalid(reason: str) -> SignatureInvalid:
    return SignatureInvalid(
        f"the SSH signature is refused: {reason}",
        suggested_action="Use the signature and the file exactly as they were issued together.",
    )
