"""Proof files: C2SP tlog-proof, which shows offline that an entry is in a log.

The text is, line by line: the format's name; `extra` and opaque data, if there are any; `index` and
the entry's index; the inclusion path, a hash per line; an empty line; and the log's checkpoint,
verbatim, with the cosignatures that it has. What the lines prove is looked at in
`proofs.verification`; here is only their form.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Self

from proofs.errors import TlogProofInvalid
from proofs.merkle import HASH_BYTES, MAX_SIZE
from proofs.note import decode_base64

FORMAT = "c2sp.org/tlog-proof@v1"
MAX_PROOF_BYTES = 1 << 20
# A leaf of the largest log there can be has no longer way up.
MAX_PATH = 63

_INDEX = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlogProof:
    """Where an entry stands in a log, and the way from it to the root.

    Attributes:
        index: The entry's index, from 0.
        path: The hashes from the leaf's sibling up to the root's child.
        checkpoint: The log's checkpoint, a signed note, exactly as issued.
        extra: Opaque data that nothing vouches for; None if there is none.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse a value that has no form in a proof file."""
        if not 0 <= self.index < MAX_SIZE:
            raise _invalid("the index is not from 0 to 2**63 - 2")
        if len(self.path) > MAX_PATH:
            raise _invalid(f"a path has at most {MAX_PATH} hashes, not {len(self.path)}")
        for number, value in enumerate(self.path):
            if len(value) != HASH_BYTES:
                raise _invalid(f"path hash {number} has {len(value)} bytes, not {HASH_BYTES}")
        if not self.checkpoint:
            raise _invalid("there is no checkpoint")

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a proof file.

        Raises:
            TlogProofInvalid: The file breaks the form; the message says in which line.
        """
        if len(data) > MAX_PROOF_BYTES:
            raise _invalid(f"a proof has at most {MAX_PROOF_BYTES} bytes, not {len(data)}")
        head, blank, checkpoint = data.partition(b"\n\n")
        if not blank:
            raise _invalid("no empty line stands between the path and a checkpoint")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as exc:
            raise _invalid(f"byte {exc.start}, before the checkpoint, is not ASCII") from exc
        if lines[0] != FORMAT:
            raise _invalid(f"line 1 is not {FORMAT}")
        extra = None
        number = 1
        if len(lines) > number and lines[number].startswith("extra "):
            extra = _unbase64(lines[number].removeprefix("extra "), number)
            number += 1
        index = _read_index(lines, number)
        path = tuple(
            _unbase64(line, number + 1 + position)
            for position, line in enumerate(lines[number + 1 :][: MAX_PATH + 1])
        )
        return cls(index=index, path=path, checkpoint=checkpoint, extra=extra)

    def to_bytes(self) -> bytes:
        """Return the file."""
        lines = [FORMAT]
        if self.extra is not None:
            lines.append("extra " + base64.b64encode(self.extra).decode("ascii"))
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(value).decode("ascii") for value in self.path]
        return "\n".join(lines).encode("ascii") + b"\n\n" + self.checkpoint


def _read_index(lines: list[str], number: int) -> int:
    line = lines[number] if len(lines) > number else ""
    digits = line.removeprefix("index ")
    if digits == line or _INDEX.fullmatch(digits) is None:
        raise _invalid(f"line {number + 1} is not `index` and a number without leading zeros")
    return int(digits)


def _unbase64(text: str, number: int) -> bytes:
    value = decode_base64(text)
    if value is None:
        raise _invalid(f"line {number + 1} is not base64 in its usual form")
    return value


def _invalid(reason: str) -> TlogProofInvalid:
    return TlogProofInvalid(
        f"this is not a proof of a log: {reason}",
        suggested_action="Use the .tlog-proof file exactly as it was exported.",
    )
