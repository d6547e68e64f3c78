"""A manifest holds true in every figure, or it is none."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import CidProfile, canonicalize, merkle
from proofs.entry import EntryType
from proofs.errors import ManifestInvalid
from proofs.manifest import MANIFEST_FIELDS, MAX_MANIFEST_BYTES, Manifest
from tests.unit.proofs.test_entry import ORIGIN, TIME
from tests.unit.proofs.trees import LEAVES


def manifest(first: int = 5, added: int = 3, **changes: Any) -> Manifest:
    """Return the manifest of a batch of the tests' log, with some of its fields changed."""
    size = first + added
    values: dict[str, Any] = {
        "origin": ORIGIN,
        "epoch": 0,
        "batch": 1,
        "first_index": first,
        "count": added,
        "batch_root": merkle.root(LEAVES[first:size]),
        "tree_size": size,
        "root_hash": merkle.root(LEAVES[:size]),
        "prev_tree_size": first,
        "prev_root_hash": merkle.root(LEAVES[:first]),
        "consistency": merkle.consistency_proof(LEAVES[:size], first),
        "leaves": LEAVES[first:size],
        "types": (EntryType.RECEIPT,) * (added - 1) + (EntryType.VERDICT,),
        "engine": "merkletools 1.0.3",
        "cid_profile": CidProfile.UNIXFS_V0_2015,
        "sealed_at": TIME,
    }
    return Manifest(**{**values, **changes})


@given(st.integers(min_value=0, max_value=300), st.integers(min_value=1, max_value=120))
def test_what_is_sealed_is_read_back(first: int, count: int) -> None:
    """The first batch of a log and any later one."""
    made = manifest(first, count)

    assert Manifest.from_bytes(made.to_bytes()) == made


def test_the_bytes_are_what_a_stranger_searches_with_grep() -> None:
    """Canonical JSON, whose hashes are as sha256sum prints them, and no job ids."""
    made = manifest()
    value = json.loads(made.to_bytes())

    assert canonicalize(value) == made.to_bytes()
    assert set(value) == {"v", *MANIFEST_FIELDS}
    assert value["leaves"] == [leaf.hex() for leaf in LEAVES[5:8]]
    assert value["types"] == ["receipt", "receipt", "verdict"]
    assert LEAVES[6].hex().encode() in made.to_bytes()


def test_a_leaf_is_found_by_its_data() -> None:
    """With its index in the log, not in the batch."""
    assert manifest().index_of(b"leaf 6") == 6
    assert manifest().index_of(b"leaf 4") is None


def test_a_full_batch_stays_within_the_bound() -> None:
    """The largest batch there may be is readable."""
    leaves = LEAVES[:1000] * 10
    made = manifest(
        0,
        10_000,
        leaves=leaves,
        batch_root=merkle.root(leaves),
        root_hash=merkle.root(leaves),
        types=(EntryType.KEY_HANDOVER,) * 10_000,
    )
    assert len(made.to_bytes()) < MAX_MANIFEST_BYTES
    assert Manifest.from_bytes(made.to_bytes()) == made


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"origin": "bee.example"}, "origin: the origin 'bee.example' has no slash"),
    ({"epoch": -1}, "epoch: the integer is not from 0 to 9007199254740991"),
    ({"batch": True}, "batch: True is not an integer"),
    ({"count": 0}, "count: the integer is not from 1 to"),
    ({"count": 4}, "leaves: 3 are listed, not 4"),
    ({"types": (EntryType.RECEIPT,)}, "types: 1 are listed, not 3"),
    ({"first_index": 6}, "first_index: 6 is not next after 5 leaves"),
    ({"tree_size": 9}, "tree_size: 9 is not 5 + 3"),
    ({"batch_root": LEAVES[0]}, "batch_root: it is "),
    ({"leaves": (LEAVES[5], LEAVES[7], LEAVES[6])}, "batch_root: it is "),
    ({"root_hash": LEAVES[0]}, "consistency: from 5 to 8 leaves: the proof gives the new root"),
    ({"prev_root_hash": LEAVES[0]}, "consistency: from 5 to 8 leaves: the proof gives the old"),
    ({"consistency": ()}, "consistency: the consistency proof is too short: 5 to 8 leaves takes"),
    ({"consistency": (b"x",)}, "consistency: it is not a hash of 32 bytes"),
    ({"batch_root": b"x"}, "batch_root: it is not a hash of 32 bytes"),
    ({"engine": "merkletools"}, "engine: it is neither proofs nor a merkletools"),
    ({"engine": 7}, "engine: 7 is not a text of 1 to 255 printable characters"),
    ({"cid_profile": "unixfs"}, "cid_profile: 'unixfs' is none of unixfs-v0-2015"),
    ({"types": ("receipts",) * 3}, "types: 'receipts' is none of receipt, verdict"),
    ({"sealed_at": "2026-01-31"}, "sealed_at: '2026-01-31' is not of the form YYYY-MM-DD"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_a_contradiction_is_refused_with_its_own_message(
    changes: dict[str, Any], message: str
) -> None:
    """Made or read, with the field's name."""
    with pytest.raises(ManifestInvalid, match="^" + re.escape(message)) as caught:
        manifest(**changes)

    assert caught.value.details["field"] == message.partition(":")[0]


def test_the_first_batch_begins_the_log() -> None:
    """Before it is nothing, and the log's root is its own."""
    first = manifest(0, 3)
    assert (first.root_hash, first.consistency) == (first.batch_root, ())
    assert first.prev_root_hash == merkle.EMPTY_ROOT

    with pytest.raises(ManifestInvalid, match=r"^root_hash: a log of one batch has the batch's"):
        replace(first, root_hash=LEAVES[0])
    with pytest.raises(ManifestInvalid, match=r"^consistency: a tree without leaves does not have"):
        replace(first, prev_root_hash=LEAVES[0])


BYTES: list[tuple[dict[str, Any], str]] = [
    ({"v": 2}, "v: 2 is no version"),
    ({"job_ids": []}, "a batch manifest has no field 'job_ids'"),
    ({"leaves": "ab"}, "leaves: 'ab' is not a list"),
    ({"leaves": ["ab"]}, "leaves: 'ab' is not 64 lower-case hexadecimal digits"),
    ({"leaves": ["AB" * 32]}, "is not 64 lower-case hexadecimal digits"),
    ({"leaves": ["ab" * 32] * 10_001}, "leaves: more than 10000"),
    ({"batch_root": "sha256:" + "ab" * 32}, "is not 64 lower-case hexadecimal digits"),
    ({"consistency": [None]}, "consistency: None is not 64 lower-case"),
    ({"types": [{}]}, "types: a value of type dict is none of receipt"),
    ({"cid_profile": None}, "cid_profile: None is none of unixfs-v0-2015"),
    ({"origin": None}, "origin: None is not the name of a log"),
]


@pytest.mark.parametrize(("changes", "message"), BYTES)
def test_other_json_is_refused_with_its_own_message(changes: dict[str, Any], message: str) -> None:
    """No value of another type raises anything else."""
    value = {**json.loads(manifest().to_bytes()), **changes}

    with pytest.raises(ManifestInvalid, match=re.escape(message)):
        Manifest.from_bytes(canonicalize(value))


def test_every_field_is_needed() -> None:
    """And the bytes have one spelling."""
    value = json.loads(manifest().to_bytes())
    for field in value:
        with pytest.raises(ManifestInvalid, match=f"^a batch manifest lacks {field}$"):
            Manifest.from_bytes(canonicalize({key: value[key] for key in value if key != field}))
    with pytest.raises(ManifestInvalid, match="not in its canonical form"):
        Manifest.from_bytes(manifest().to_bytes() + b"\n")
    with pytest.raises(ManifestInvalid, match="a batch manifest is a JSON object"):
        Manifest.from_bytes(b"[]")
    with pytest.raises(ManifestInvalid, match="has at most 1048576 bytes, not 1048577"):
        Manifest.from_bytes(b" " * (MAX_MANIFEST_BYTES + 1))


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_is_never_the_same_manifest(at: int, change: int) -> None:
    """It is refused, or it is another one."""
    data = bytearray(manifest().to_bytes())
    data[at % len(data)] ^= change
    try:
        read = Manifest.from_bytes(bytes(data))
    except ManifestInvalid:
        return
    assert read != manifest()
    assert read.leaves == manifest().leaves
