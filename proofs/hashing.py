"""Digests and their one textual form: `sha256:` and 64 lower-case hexadecimal digits.

Plain SHA-256 for what is public or long; HMAC-SHA-256 (RFC 2104) under a salt for short texts that
could be found by trying. Merkle hashes do not live here; a receipt knows its own leaf hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TypeGuard

from proofs.errors import SaltInvalid

MIN_SALT_BYTES = 16

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def sha256_digest(data: bytes) -> str:
    """Return `sha256:` and the SHA-256 of `data` in lower-case hexadecimal."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def salted_digest(data: bytes, salt: bytes) -> str:
    """Return the HMAC-SHA-256 of `data` under `salt`, in the same form as a plain digest.

    Short clinical findings can be guessed and compared with a bare hash. Whoever holds the salt
    can still show what was hashed; whoever does not, learns nothing.

    Raises:
        SaltInvalid: `salt` has fewer than 16 bytes.
    """
    if len(salt) < MIN_SALT_BYTES:
        raise SaltInvalid(
            f"the salt has {len(salt)} bytes, at least {MIN_SALT_BYTES} are needed",
            suggested_action="Draw a salt per job with secrets.token_bytes(32).",
        )
    return "sha256:" + hmac.new(salt, data, hashlib.sha256).hexdigest()


def is_digest(value: object) -> TypeGuard[str]:
    """Tell whether `value` is a digest in its textual form."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None
