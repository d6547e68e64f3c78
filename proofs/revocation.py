"""Revocations: how much of a log a key that is no longer trusted still vouches for.

A revocation names a size of one log and the root of its tree at that size. Leaves before it stand,
whoever holds the key now; anything else under this key's signature does not. A date would not do:
whoever has the key can sign with any date, but cannot put a leaf under a root that is published.

Whoever verifies chooses which revocations to believe, as with the list of allowed signers. A file
of them holds one canonical JSON object per line.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

from proofs.canonical import canonical
from proofs.errors import KeyInvalid, RevocationInvalid
from proofs.forms import VERSION, Form
from proofs.keys import PublicKey
from proofs.merkle import EMPTY_ROOT

TYPE = "key-revocation"
MAX_REVOCATION_BYTES = 4096
MAX_REVOCATIONS = 10_000

_FORM = Form(
    name="a revocation",
    error=RevocationInvalid,
    suggested_action="Use the revocation exactly as it was published, one object per line.",
    max_bytes=MAX_REVOCATION_BYTES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A key signs for one log no more, except for the leaves before a size.

    Attributes:
        key: The key, as `ssh-ed25519 AAAA…` without a comment.
        origin: The log.
        tree_size: How many leaves stand, from the first on.
        root_hash: The root over those leaves.
        reason: Why, for people.
        timestamp: When this was decided, in UTC.

    Raises:
        RevocationInvalid: A field breaks its form; `details["field"]` names it.
    """

    key: str
    origin: str
    tree_size: int
    root_hash: str
    reason: str
    timestamp: str

    def __post_init__(self) -> None:
        """Refuse a value that is not of its field's form."""
        _check_key(self.key)
        _FORM.origin("origin", self.origin)
        _FORM.integer("tree_size", self.tree_size)
        _FORM.digest("root_hash", self.root_hash)
        if self.tree_size == 0 and self.root != EMPTY_ROOT:
            raise _FORM.broken(
                "root_hash: it is not the root of a tree without leaves", field="root_hash"
            )
        _FORM.text("reason", self.reason)
        _FORM.timestamp("timestamp", self.timestamp)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a revocation from exactly the bytes that `to_bytes` makes.

        Raises:
            RevocationInvalid: The bytes are not canonical JSON, or a field is missing, unknown or
                breaks its form.
        """
        value = _FORM.read(data, ("type", *_NAMES))
        _FORM.choice("type", value["type"], (TYPE,))
        # Types are what __post_init__ checks, so that both ways in give the same messages.
        return cls(**{name: value[name] for name in _NAMES})  # type: ignore[arg-type]

    def to_bytes(self) -> bytes:
        """Return the canonical bytes, without a newline."""
        named = {name: getattr(self, name) for name in _NAMES}
        return canonical({"v": VERSION, "type": TYPE, **named})

    @property
    def public_key(self) -> PublicKey:
        """The key itself."""
        return PublicKey.from_openssh(self.key)

    @property
    def root(self) -> bytes:
        """The 32 bytes of the root."""
        return bytes.fromhex(self.root_hash.removeprefix("sha256:"))


_NAMES = tuple(field.name for field in fields(Revocation))


def parse_revocations(data: bytes) -> tuple[Revocation, ...]:
    """Read a file of revocations, one per line; empty lines are skipped.

    Raises:
        RevocationInvalid: A line is no revocation; `details["line"]` is its number.
    """
    lines = data.split(b"\n")
    if len(lines) > MAX_REVOCATIONS:
        raise _FORM.broken(f"there are more than {MAX_REVOCATIONS} lines of revocations")
    found = []
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            found.append(Revocation.from_bytes(line))
        except RevocationInvalid as exc:
            raise RevocationInvalid(
                f"line {number} of the revocations: {exc.message}",
                suggested_action=exc.suggested_action,
                details={**exc.details, "line": number},
            ) from exc
    return tuple(found)


def _check_key(value: object) -> None:
    if not isinstance(value, str):
        raise _FORM.broken("key: it is not a text", field="key")
    try:
        plain = PublicKey.from_openssh(value).to_openssh()
    except KeyInvalid as exc:
        raise _FORM.broken(f"key: {exc.message}", field="key") from exc
    if plain != value:
        raise _FORM.broken("key: it has a comment or blanks beside the key", field="key")
