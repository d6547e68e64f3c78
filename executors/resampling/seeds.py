"""The seed of each sample: derived, so that a lost sample can be drawn again as it was.

Two samples with one seed would be one sample counted twice, and their agreement worth nothing.
"""

from __future__ import annotations

import hashlib

_DOMAIN = b"honeyflow/sample-seed/v1"


def sample_seed(base: str | int, index: int) -> int:
    """Return the seed of sample `index` of a job, 0..2**53 - 1.

    Every engine takes that as an int64, and every JSON reader holds it exactly. `base` is the
    request's own seed or else the job id. The seed is the low 53 bits of the first 8 bytes,
    big-endian, of SHA-256 over the UTF-8 bytes of

        honeyflow/sample-seed/v1 NUL  kind  NUL  base  NUL  index

    where kind is `int` or `str` and both numbers are written in decimal.
    """
    kind = b"str" if isinstance(base, str) else b"int"
    parts = (_DOMAIN, kind, str(base).encode("utf-8", "surrogatepass"), str(index).encode())
    digest = hashlib.sha256(b"\0".join(parts)).digest()
    return int.from_bytes(digest[:8], "big") & (2**53 - 1)
