"""The leaves of a log, and what each type of them says.

A leaf's data is one of these, in canonical JSON; its hash is `proofs.merkle.leaf_hash` of it:

- `receipt`: exactly the bytes of a receipt, which has twelve fields and no `type`;
- `verdict`: what a person decided about the answer of a receipt;
- `key-handover`: the log's key is followed by another one;
- `log-close`: nothing follows in a log. It is the last leaf of the log itself, over the leaves
  before it, or the first leaf of the log that takes its place, over its last checkpoint.

All but receipts are objects with `v`, `type` and exactly the fields of their class here. So no
entry can be read as one of another type.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar, Self, TypeAlias

from proofs.canonical import JsonValue, canonical, parse_canonical
from proofs.errors import CanonicalError, EntryInvalid
from proofs.forms import VERSION, Form
from proofs.merkle import EMPTY_ROOT, leaf_hash
from proofs.receipt import MAX_RECEIPT_BYTES, Receipt

MAX_ENTRY_BYTES = MAX_RECEIPT_BYTES

_FORM = Form(
    name="an entry",
    error=EntryInvalid,
    suggested_action="Use the leaf exactly as it was logged.",
    max_bytes=MAX_ENTRY_BYTES,
)


class EntryType(StrEnum):
    """What a leaf of a log can be."""

    RECEIPT = "receipt"
    VERDICT = "verdict"
    KEY_HANDOVER = "key-handover"
    LOG_CLOSE = "log-close"


class Verdict(StrEnum):
    """What a person found an answer to be."""

    CONFIRMED = "confirmed"
    CORRECTED = "corrected"
    REJECTED = "rejected"


class _Entry:
    """What entries other than receipts share: their bytes. Each class lists its own fields."""

    __slots__ = ()

    entry_type: ClassVar[EntryType]

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: the leaf's data."""
        values = {name: getattr(self, name) for name in _names(type(self))}
        return canonical({"v": VERSION, "type": str(self.entry_type), **values})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an entry of this type from exactly the bytes that `to_bytes` makes.

        Raises:
            EntryInvalid: The bytes are not canonical JSON, are an entry of another type, or a
                field is missing, unknown or breaks its form.
        """
        names = _names(cls)
        value = _FORM.read(data, ("type", *names))
        _FORM.choice("type", value["type"], [cls.entry_type])
        return cls(**{name: value[name] for name in names})

    @property
    def leaf_hash(self) -> bytes:
        """The 32-byte RFC 9162 hash of the entry as a leaf."""
        return leaf_hash(self.to_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictEntry(_Entry):
    """What a person decided about an answer; a correction names what the answer should be.

    Attributes:
        receipt: The id of the receipt whose answer was looked at.
        verdict: One of `Verdict`.
        output_hash: Digest of the corrected answer, salted if the receipt's is; None unless
            the verdict is `corrected`.
        timestamp: The store's clock when the person decided, in UTC.
    """

    entry_type: ClassVar[EntryType] = EntryType.VERDICT

    receipt: str
    verdict: str
    output_hash: str | None
    timestamp: str

    def __post_init__(self) -> None:
        """Refuse a value that is not of its field's form."""
        _FORM.digest("receipt", self.receipt)
        _FORM.choice("verdict", self.verdict, tuple(Verdict))
        if self.verdict == Verdict.CORRECTED:
            _FORM.digest("output_hash", self.output_hash)
        elif self.output_hash is not None:
            raise _FORM.broken(
                f"output_hash: an answer that was {self.verdict} has no corrected output",
                field="output_hash",
            )
        _FORM.timestamp("timestamp", self.timestamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHandoverEntry(_Entry):
    """A log's key hands over to the next one.

    Attributes:
        origin: The log whose key changes.
        old_key: The key so far, as `ssh-ed25519 AAAA…` without a comment.
        new_key: The key from the next checkpoint on.
        timestamp: The store's clock at the handover, in UTC.
    """

    entry_type: ClassVar[EntryType] = EntryType.KEY_HANDOVER

    origin: str
    old_key: str
    new_key: str
    timestamp: str

    def __post_init__(self) -> None:
        """Refuse a value that is not of its field's form."""
        _FORM.origin("origin", self.origin)
        _FORM.key("old_key", self.old_key)
        _FORM.key("new_key", self.new_key)
        if self.old_key == self.new_key:
            raise _FORM.broken("new_key: the key hands over to itself", field="new_key")
        _FORM.timestamp("timestamp", self.timestamp)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCloseEntry(_Entry):
    """A log ends.

    Attributes:
        origin: The log that ends.
        tree_size: How many leaves its last checkpoint counts; as the log's own last leaf, how many
            stand before this one.
        root_hash: The root over those leaves.
        successor: The log that takes its place, if one does.
        reason: Why, for people.
        timestamp: The store's clock when this was decided, in UTC.
    """

    entry_type: ClassVar[EntryType] = EntryType.LOG_CLOSE

    origin: str
    tree_size: int
    root_hash: str
    successor: str | None
    reason: str
    timestamp: str

    def __post_init__(self) -> None:
        """Refuse a value that is not of its field's form."""
        _FORM.origin("origin", self.origin)
        _FORM.integer("tree_size", self.tree_size)
        _FORM.digest("root_hash", self.root_hash)
        if self.tree_size == 0 and self.root_hash != "sha256:" + EMPTY_ROOT.hex():
            raise _FORM.broken(
                "root_hash: it is not the root of a tree without leaves", field="root_hash"
            )
        if self.successor is not None:
            _FORM.origin("successor", self.successor)
            if self.successor == self.origin:
                raise _FORM.broken("successor: the log would succeed itself", field="successor")
        _FORM.text("reason", self.reason)
        _FORM.timestamp("timestamp", self.timestamp)


Entry: TypeAlias = Receipt | VerdictEntry | KeyHandoverEntry | LogCloseEntry

_BY_TYPE: dict[str, type[VerdictEntry | KeyHandoverEntry | LogCloseEntry]] = {
    kind.entry_type: kind for kind in (VerdictEntry, KeyHandoverEntry, LogCloseEntry)
}


def parse_entry(data: bytes) -> Entry:
    """Read a leaf's data, whatever its type.

    Raises:
        EntryInvalid: The bytes are no canonical JSON object, name a type that does not exist, or
            break the form of their type.
        ReceiptInvalid: The bytes name no type and are no receipt.
    """
    if len(data) > MAX_ENTRY_BYTES:
        raise _FORM.broken(f"an entry has at most {MAX_ENTRY_BYTES} bytes, not {len(data)}")
    try:
        value = parse_canonical(data)
    except CanonicalError as exc:
        raise _FORM.broken(f"an entry cannot be read: {exc.message}") from exc
    if not isinstance(value, dict):
        raise _FORM.broken("an entry is a JSON object")
    if "type" not in value:
        return Receipt.from_bytes(data)
    named: JsonValue = value["type"]
    _FORM.choice("type", named, tuple(_BY_TYPE))
    return _BY_TYPE[str(named)].from_bytes(data)


def type_of(entry: Entry) -> EntryType:
    """Return which type of leaf this is."""
    return EntryType.RECEIPT if isinstance(entry, Receipt) else entry.entry_type


def _names(kind: type[_Entry]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))  # type: ignore[arg-type]  # all are
