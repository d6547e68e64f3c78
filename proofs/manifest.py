"""The manifest of one sealed batch: which leaves it added to the log, and what the log is since.

A manifest is signed, and by itself shows three things to whoever has `sha256sum`, without Merkle
code: that a leaf belongs to the batch, at which index of the log, and under which root. With Merkle
code it shows that the log before the batch is the beginning of the log after it. It holds no job
ids: a leaf hash tells nothing about a receipt to those who do not have it.

Fields: `origin`, the log; `epoch` and `batch`, the batch's number from 0 in the log; `first_index`
and `count`, its place among the leaves; `batch_root`, the root over its leaves alone; `tree_size`
and `root_hash`, the log after it; `prev_tree_size` and `prev_root_hash`, the log before it (0 and
the empty tree's root for the first); `consistency`, the proof from one to the other; `leaves`, the
leaf hashes, and `types`, the type of each; `engine`, what built the batch's tree; `cid_profile`,
the profile of CIDs that the log's keeper uses; `sealed_at`, the store's clock, in UTC. Hashes are
64 hexadecimal digits without a prefix, as `sha256sum` prints them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, Self

from proofs.canonical import canonical
from proofs.cid import CidProfile
from proofs.entry import EntryType
from proofs.errors import ManifestInvalid, MerkleInvalid
from proofs.forms import VERSION, Form
from proofs.merkle import HASH_BYTES, leaf_hash, root, verify_consistency

MAX_LEAVES = 10_000
MAX_MANIFEST_BYTES = 1 << 20

_ENGINE = re.compile(r"proofs|merkletools [0-9]+(\.[0-9]+){0,3}")
_HASH_FIELDS = ("batch_root", "root_hash", "prev_root_hash")
_HASH_LISTS = ("consistency", "leaves")

_FORM = Form(
    name="a batch manifest",
    error=ManifestInvalid,
    suggested_action="Use the batch's file exactly as it was published.",
    max_bytes=MAX_MANIFEST_BYTES,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One sealed batch. The module defines each field; hashes are 32 bytes here.

    Raises:
        ManifestInvalid: A field breaks its form, or two of them contradict each other.
    """

    origin: str
    epoch: int
    batch: int
    first_index: int
    count: int
    batch_root: bytes
    tree_size: int
    root_hash: bytes
    prev_tree_size: int
    prev_root_hash: bytes
    consistency: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    types: tuple[EntryType, ...]
    engine: str
    cid_profile: CidProfile
    sealed_at: str

    def __post_init__(self) -> None:
        """Refuse values that are not of their fields' form, or that do not fit each other."""
        self._check_fields()
        self._check_numbers()
        self._check_trees()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a manifest from exactly the bytes that `to_bytes` makes.

        Raises:
            ManifestInvalid: The bytes are not canonical JSON, or not a manifest that holds true.
        """
        value: dict[str, Any] = dict(_FORM.read(data, MANIFEST_FIELDS))
        del value["v"]
        for name in _HASH_FIELDS:
            value[name] = _FORM.unhex(name, value[name])
        for name in (*_HASH_LISTS, "types"):
            value[name] = _FORM.items(name, value[name])
            if len(value[name]) > MAX_LEAVES:
                raise _FORM.broken(f"{name}: more than {MAX_LEAVES}", field=name)
        for name in _HASH_LISTS:
            value[name] = tuple(_FORM.unhex(name, item) for item in value[name])
        for item in value["types"]:
            _FORM.choice("types", item, tuple(EntryType))
        value["types"] = tuple(EntryType(item) for item in value["types"])
        _FORM.choice("cid_profile", value["cid_profile"], tuple(CidProfile))
        value["cid_profile"] = CidProfile(value["cid_profile"])
        return cls(**value)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: what is signed, stored and published."""
        values: dict[str, Any] = {name: getattr(self, name) for name in MANIFEST_FIELDS}
        for name in _HASH_FIELDS:
            values[name] = values[name].hex()
        for name in _HASH_LISTS:
            values[name] = [item.hex() for item in values[name]]
        values["types"] = [str(item) for item in self.types]
        values["cid_profile"] = str(self.cid_profile)
        return canonical({"v": VERSION, **values})

    def index_of(self, data: bytes) -> int | None:
        """Return the index in the log of a leaf with this data, None if the batch has none."""
        sought = leaf_hash(data)
        if sought not in self.leaves:
            return None
        return self.first_index + self.leaves.index(sought)

    def _check_fields(self) -> None:
        _FORM.origin("origin", self.origin)
        for name in ("epoch", "batch", "first_index", "prev_tree_size"):
            _FORM.integer(name, getattr(self, name))
        for name in ("count", "tree_size"):
            _FORM.integer(name, getattr(self, name), least=1)
        for name in _HASH_FIELDS:
            _check_hash(name, getattr(self, name))
        for name in _HASH_LISTS:
            for item in getattr(self, name):
                _check_hash(name, item)
        for item in self.types:
            _FORM.choice("types", item, tuple(EntryType))
        _FORM.text("engine", self.engine)
        if _ENGINE.fullmatch(self.engine) is None:
            raise _FORM.broken("engine: it is neither proofs nor a merkletools", field="engine")
        _FORM.choice("cid_profile", self.cid_profile, tuple(CidProfile))
        _FORM.timestamp("sealed_at", self.sealed_at)

    def _check_numbers(self) -> None:
        if self.count > MAX_LEAVES:
            raise _FORM.broken(
                f"count: a batch has at most {MAX_LEAVES} leaves, not {self.count}", field="count"
            )
        for name in ("leaves", "types"):
            found = len(getattr(self, name))
            if found != self.count:
                raise _FORM.broken(f"{name}: {found} are listed, not {self.count}", field=name)
        if self.first_index != self.prev_tree_size:
            raise _FORM.broken(
                f"first_index: {self.first_index} is not next after {self.prev_tree_size} leaves",
                field="first_index",
            )
        if self.tree_size != self.first_index + self.count:
            raise _FORM.broken(
                f"tree_size: {self.tree_size} is not {self.first_index} + {self.count}",
                field="tree_size",
            )

    def _check_trees(self) -> None:
        found = root(self.leaves)
        if found != self.batch_root:
            raise _FORM.broken(
                f"batch_root: it is {self.batch_root.hex()}, but the leaves give {found.hex()}",
                field="batch_root",
            )
        try:
            verify_consistency(
                old_size=self.prev_tree_size,
                old_root=self.prev_root_hash,
                new_size=self.tree_size,
                new_root=self.root_hash,
                proof=self.consistency,
            )
        except MerkleInvalid as exc:
            raise _FORM.broken(f"consistency: {exc.message}", field="consistency") from exc
        if self.prev_tree_size == 0 and self.root_hash != self.batch_root:
            raise _FORM.broken(
                "root_hash: a log of one batch has the batch's root", field="root_hash"
            )


MANIFEST_FIELDS = tuple(field.name for field in fields(Manifest))


def _check_hash(name: str, value: object) -> None:
    if not isinstance(value, bytes) or len(value) != HASH_BYTES:
        raise _FORM.broken(f"{name}: it is not a hash of {HASH_BYTES} bytes", field=name)
