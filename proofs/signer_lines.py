"""The lines of a file of allowed signers, each read strictly: principals, options, key.

What the lines mean together is asked in `proofs.allowed_signers`, which also says where this is
stricter than ssh-keygen.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from proofs.errors import AllowedSignersInvalid, KeyInvalid
from proofs.keys import KEY_TYPE, PublicKey
from proofs.note import decode_base64
from proofs.patterns import matches_list

MAX_FILE_BYTES = 1_048_576
MAX_LINES = 10_000

_BLANK = " \t\r"
_PRINCIPALS = re.compile(r'"([^"]*)"(?=[ \t])|([^ \t"]+)')
_OPTIONS = re.compile(r'(?:[^ \t"]|"(?:\\"|[^"])*+")+')
_OPTION = re.compile(r'([A-Za-z-]+)(?:="((?:\\"|[^"])*+)")?(,|$)')
_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_TIMES = ("valid-after", "valid-before")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerLine:
    """One line: the patterns, the window of time (both ends included), and the key.

    `key` is None for a key of another type than Ed25519, which can sign nothing here.
    """

    principals: str
    namespaces: str | None
    valid_after: int | None
    valid_before: int | None
    key: PublicKey | None

    def refusal(self, namespace: str, at: int | None) -> tuple[int, str] | None:
        """Why this line does not allow it, and how near it came; None if it does."""
        if self.namespaces is not None and not matches_list(namespace, self.namespaces):
            return 0, f"it may not sign in the namespace {namespace!r}, only in {self.namespaces!r}"
        if at is not None and self.valid_after is not None and at < self.valid_after:
            return 1, f"it is valid from {_utc(self.valid_after)} on, not yet at {_utc(at)}"
        if at is not None and self.valid_before is not None and at > self.valid_before:
            return 2, f"it was valid until {_utc(self.valid_before)}, no longer at {_utc(at)}"
        return None


def read_lines(data: bytes) -> Iterator[SignerLine]:
    """Read the lines of a file that name a key, in order.

    Raises:
        AllowedSignersInvalid: A line is malformed, or says what is not supported.
    """
    if len(data) > MAX_FILE_BYTES:
        raise refused(0, f"it has {len(data)} bytes, more than {MAX_FILE_BYTES}")
    lines = data.split(b"\n")
    if len(lines) > MAX_LINES:
        raise refused(0, f"it has more than {MAX_LINES} lines")
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.decode("utf-8").strip(_BLANK)
        except UnicodeDecodeError as exc:
            raise refused(number, "it is not UTF-8") from exc
        if not line or line.startswith("#"):
            continue
        if any(character < " " and character != "\t" for character in line):
            raise refused(number, "it holds a control character")
        yield _read(number, line)


def _read(number: int, line: str) -> SignerLine:
    found = _PRINCIPALS.match(line)
    principals = (found[1] or found[2] or "") if found else ""
    if found is None or not principals or "" in principals.split(","):
        raise refused(number, "it does not begin with a list of principals")
    rest = line[found.end() :]
    if not rest.startswith((" ", "\t")):
        raise refused(number, "no key follows the principals")
    rest = rest.strip(_BLANK)
    options: dict[str, str] = {}
    if not _is_key(rest):
        spelled = _OPTIONS.match(rest)
        if spelled is None:
            raise refused(number, "its options are malformed")
        rest = rest[spelled.end() :].strip(_BLANK)
        if not rest:
            raise refused(number, "no key follows its options")
        if not _is_key(rest):
            raise refused(number, "what follows its options is not a key")
        options = _options(number, spelled[0])
    after, before = (_time(number, name, options.get(name)) for name in _TIMES)
    if after is not None and before is not None and before <= after:
        raise refused(number, "its valid-before is not later than its valid-after")
    return SignerLine(
        principals=principals,
        namespaces=options.get("namespaces"),
        valid_after=after,
        valid_before=before,
        key=_key(number, rest),
    )


def _is_key(text: str) -> bool:
    """A key's text begins with its type, and its data begin with the same type."""
    words = text.split(None, 2)
    data = decode_base64(words[1]) if len(words) > 1 else None
    if data is None:
        return words[:1] == [KEY_TYPE]
    kind = words[0].encode("utf-8")
    return data.startswith(struct.pack(">I", len(kind)) + kind)


def _key(number: int, text: str) -> PublicKey | None:
    if text.split(None, 1)[0] != KEY_TYPE:
        return None
    try:
        return PublicKey.from_openssh(text)
    except KeyInvalid as exc:
        raise refused(number, exc.message) from exc


def _options(number: int, text: str) -> dict[str, str]:
    options: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _OPTION.match(text, at)
        if found is None:
            raise refused(number, f"its option {text[at : at + 40]!a} is malformed")
        name, value = found[1].lower(), found[2]
        if name == "cert-authority":
            raise refused(number, "certificate authorities are not supported")
        if name not in (*_TIMES, "namespaces"):
            raise refused(number, f"there is no option {name[:40]!a}")
        if value is None:
            raise refused(number, f"its option {name} has no value in double quotes")
        if name in options:
            raise refused(number, f"it has the option {name} twice")
        options[name] = value.replace('\\"', '"')
        if found[3] and found.end() == len(text):
            raise refused(number, "its options end in a comma")
        at = found.end()
    return options


def _time(number: int, name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if text[-1:] not in ("Z", "z"):
        raise refused(
            number,
            f"{name} {text[:40]!a} is not in UTC: it would mean another time in another time zone",
        )
    digits = text[:-1]
    form = _FORMATS.get(len(digits))
    try:
        if form is None or not digits.isdecimal() or not digits.isascii():
            raise ValueError
        moment = int(datetime.strptime(digits, form).replace(tzinfo=UTC).timestamp())
    except ValueError as exc:
        raise refused(
            number, f"{name} {text[:40]!a} is not YYYYMMDDZ or YYYYMMDDHHMM[SS]Z"
        ) from exc
    if moment <= 0:
        raise refused(number, f"{name} {text} is not after 1970")
    return moment


def _utc(at: int) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{at} s"


def refused(number: int, reason: str) -> AllowedSignersInvalid:
    """The error for a line, or for the whole file if the number is 0."""
    where = f"line {number} of the allowed signers" if number else "the file of allowed signers"
    return AllowedSignersInvalid(
        f"{where} is refused: {reason}",
        suggested_action='Write lines like: NAME namespaces="swarm-receipt" ssh-ed25519 AAAA…',
        details={"line": number} if number else None,
    )
