"""Witness policies (C2SP tlog-policy): which logs, and whose cosignatures make a checkpoint count.

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <name>...
    quorum <name>|none

Names are opaque bytes and known only within the file. A group or the quorum refers to names on
earlier lines. Every name is a member of one group at most, so a witness counts in one way only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from proofs.checkpoint import Checkpoint, is_signed_with, verify_cosignature
from proofs.errors import LogUnlisted, NoteInvalid, PolicyInvalid, QuorumMissing
from proofs.note import COSIGNATURE_V1, ED25519, Note, VerifierKey

MAX_POLICY_BYTES = 262_144
MAX_LINES = 4096
NO_QUORUM = "none"

_BLANKS = re.compile(r"[ \t]+")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_COUNT = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A name that counts when at least `needed` of its members do."""

    name: str
    needed: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a checkpoint must carry to be believed."""

    logs: tuple[VerifierKey, ...]
    witnesses: dict[str, VerifierKey]
    groups: tuple[Group, ...]
    quorum: str

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a policy file.

        Raises:
            PolicyInvalid: A line breaks its form, or names something twice or too early.
        """
        if len(data) > MAX_POLICY_BYTES:
            raise _invalid(0, f"it has {len(data)} bytes, more than {MAX_POLICY_BYTES}")
        if found := _FORBIDDEN.search(data):
            line = data.count(b"\n", 0, found.start()) + 1
            raise _invalid(line, f"it holds the byte 0x{found[0][0]:02x}")
        if data and not data.endswith(b"\n"):
            raise _invalid(0, "its last line has no newline: it may have been cut off")
        reader = _Reader()
        for number, words in _lines(data):
            reader.read(number, words)
        if reader.quorum is None:
            raise _invalid(0, "it has no quorum line")
        return cls(
            logs=tuple(reader.logs),
            witnesses=reader.witnesses,
            groups=tuple(reader.groups),
            quorum=reader.quorum,
        )

    def check(self, note: Note) -> tuple[str, ...]:
        """Require a signature of a listed log, if any are listed, and the quorum of witnesses.

        Returns:
            The names of the witnesses that have cosigned, as in the policy, in its order.

        Raises:
            CheckpointInvalid: The note is no checkpoint.
            LogUnlisted: It is signed by none of the logs.
            SignatureInvalid: A signature of a listed log or witness does not verify.
            QuorumMissing: Too few witnesses have cosigned it.
        """
        checkpoint = Checkpoint.from_note(note)
        if self.logs and not self._is_listed(note, checkpoint):
            raise LogUnlisted(
                f"no log of the policy has signed the checkpoint of {checkpoint.origin[:80]!a}",
                suggested_action="Add the log's key to the policy if you trust it.",
                details={"origin": checkpoint.origin, "listed": [log.name for log in self.logs]},
            )
        present = tuple(
            name
            for name, vkey in self.witnesses.items()
            if verify_cosignature(note, vkey) is not None
        )
        counted = set(present)
        # A group refers to earlier names only, so that one pass in their order settles all.
        for group in self.groups:
            if sum(member in counted for member in group.members) >= group.needed:
                counted.add(group.name)
        if self.quorum != NO_QUORUM and self.quorum not in counted:
            raise QuorumMissing(
                f"the policy needs {self._rule(counted)};"
                f" cosigned by {_listed(present) or 'none of its witnesses'}",
                suggested_action="Wait until more witnesses have cosigned, and fetch it again.",
                details={"quorum": self.quorum, "cosigned": [_shown(name) for name in present]},
            )
        return present

    def _is_listed(self, note: Note, checkpoint: Checkpoint) -> bool:
        named = [log for log in self.logs if log.name == checkpoint.origin]
        return any(is_signed_with(note, log) for log in named)

    def _rule(self, counted: set[str]) -> str:
        for group in self.groups:
            if group.name == self.quorum:
                have = sum(member in counted for member in group.members)
                return f"{group.needed} of {_listed(group.members)} and has {have}"
        return f"witness {_shown(self.quorum)}"


@dataclass(slots=True)
class _Reader:
    """What the lines so far have defined."""

    logs: list[VerifierKey] = field(default_factory=list)
    witnesses: dict[str, VerifierKey] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    quorum: str | None = None
    names: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)

    def read(self, number: int, words: Sequence[str]) -> None:
        keyword, *rest = words
        if keyword == "log" and len(rest) in (1, 2):
            self._log(number, rest[0])
        elif keyword == "witness" and len(rest) in (2, 3):
            self._witness(number, rest[0], rest[1])
        elif keyword == "group" and len(rest) >= 3:
            self._group(number, rest[0], rest[1], tuple(rest[2:]))
        elif keyword == "quorum" and len(rest) == 1:
            self._quorum(number, rest[0])
        elif keyword in ("log", "witness", "group", "quorum"):
            raise _invalid(number, f"a {keyword} line does not have {len(rest)} items")
        else:
            raise _invalid(number, f"there is no keyword {_shown(keyword)}")

    def _log(self, number: int, text: str) -> None:
        vkey = _vkey(number, text, kind=ED25519, what="a log's signature")
        if any(vkey.public_key == log.public_key for log in self.logs):
            raise _invalid(number, "it lists the same log key a second time")
        self.logs.append(vkey)

    def _witness(self, number: int, name: str, text: str) -> None:
        vkey = _vkey(number, text, kind=COSIGNATURE_V1, what="a cosignature")
        if any(vkey.public_key == known.public_key for known in self.witnesses.values()):
            raise _invalid(number, "it lists the same witness key a second time")
        self._define(number, name)
        self.witnesses[name] = vkey

    def _group(self, number: int, name: str, threshold: str, members: tuple[str, ...]) -> None:
        for member in members:
            if member not in self.names:
                raise _invalid(number, f"its member {_shown(member)} is not defined before it")
            if member in self.members:
                raise _invalid(number, f"its member {_shown(member)} is in a group already")
            self.members.add(member)
        needed = {"all": len(members), "any": 1}.get(threshold)
        if needed is None:
            needed = int(threshold) if _COUNT.fullmatch(threshold) else 0
        if not 1 <= needed <= len(members):
            raise _invalid(
                number,
                f"{_shown(threshold)} is not all, any or a number from 1 to {len(members)}",
            )
        self._define(number, name)
        self.groups.append(Group(name=name, needed=needed, members=members))

    def _quorum(self, number: int, name: str) -> None:
        if self.quorum is not None:
            raise _invalid(number, "it is a second quorum line")
        if name != NO_QUORUM and name not in self.names:
            raise _invalid(number, f"its name {_shown(name)} is not defined before it")
        self.quorum = name

    def _define(self, number: int, name: str) -> None:
        if name == NO_QUORUM:
            raise _invalid(number, f"the name {NO_QUORUM} is taken: it stands for no quorum")
        if name in self.names:
            raise _invalid(number, f"the name {_shown(name)} is defined a second time")
        self.names.add(name)


def _lines(data: bytes) -> Iterator[tuple[int, list[str]]]:
    # Other bytes than UTF-8 are allowed in names; this keeps each of them apart.
    text = data.decode("utf-8", "surrogateescape")
    if text.count("\n") > MAX_LINES:
        raise _invalid(0, f"it has more than {MAX_LINES} lines")
    for number, line in enumerate(text.split("\n"), start=1):
        plain = line.strip(" \t")
        if plain and not plain.startswith("#"):
            yield number, _BLANKS.split(plain)


def _vkey(number: int, text: str, *, kind: int, what: str) -> VerifierKey:
    try:
        vkey = VerifierKey.parse(text)
    except NoteInvalid as exc:
        raise _invalid(number, exc.message) from exc
    if vkey.kind != kind:
        raise _invalid(
            number, f"a key of kind 0x{vkey.kind:02x} cannot check {what}; 0x{kind:02x} can"
        )
    return vkey


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(_shown(name) for name in names[:16])
    return shown if len(names) <= 16 else f"{shown} and {len(names) - 16} more"


def _shown(name: str) -> str:
    plain = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return plain[:60] if plain.isprintable() else ascii(plain[:60])


def _invalid(number: int, reason: str) -> PolicyInvalid:
    where = f"line {number} of the policy" if number else "the policy"
    return PolicyInvalid(
        f"{where} is refused: {reason}",
        suggested_action="Correct the policy file; c2sp.org/tlog-policy shows its form.",
        details={"line": number} if number else None,
    )
