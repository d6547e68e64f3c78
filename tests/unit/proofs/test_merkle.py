"""Roots, inclusion and consistency as RFC 9162 has them, and nothing else is believed."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales.tlog import ConsistencyProof, InclusionProof

from proofs import merkle
from proofs.errors import MerkleInvalid
from proofs.merkle import EMPTY_ROOT, HASH_BYTES, leaf_hash, node_hash
from tests.unit.proofs.trees import LARGEST, LEAVES, levels_of, path_in

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "proofs" / "merkle.json").read_bytes()
)
SIZES = st.integers(min_value=1, max_value=LARGEST)


@st.composite
def _places(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(SIZES)
    return draw(st.integers(min_value=0, max_value=size - 1)), size


def test_the_root_of_the_reference_leaves_is_the_published_one() -> None:
    """The eight leaves that Certificate Transparency's implementations are tried with."""
    leaves = [leaf_hash(bytes.fromhex(data)) for data in VECTORS["leaves"]]

    assert merkle.root(leaves).hex() == VECTORS["root"]
    assert merkle.root([]) == EMPTY_ROOT == hashlib.sha256(b"").digest()


@pytest.mark.parametrize("name", sorted(VECTORS["inclusion"]))
def test_an_inclusion_vector_of_another_implementation_is_judged_alike(name: str) -> None:
    """What it accepts is accepted, what it refuses is refused."""
    vector = VECTORS["inclusion"][name]

    def verify() -> None:
        merkle.verify_inclusion(
            leaf=base64.b64decode(vector["leafHash"]),
            index=vector["leafIdx"],
            size=vector["treeSize"],
            path=[base64.b64decode(item) for item in vector["proof"] or ()],
            root=base64.b64decode(vector["root"]),
        )

    if not vector["wantErr"]:
        verify()
        return
    with pytest.raises(MerkleInvalid):
        verify()


@pytest.mark.parametrize("name", sorted(VECTORS["consistency"]))
def test_a_consistency_vector_of_another_implementation_is_judged_alike(name: str) -> None:
    """Except where its roots are no hashes."""
    vector = VECTORS["consistency"][name]
    roots = [base64.b64decode(vector[root]) for root in ("root1", "root2")]

    def verify() -> None:
        merkle.verify_consistency(
            old_size=vector["size1"],
            old_root=roots[0],
            new_size=vector["size2"],
            new_root=roots[1],
            proof=[base64.b64decode(item) for item in vector["proof"] or ()],
        )

    if not vector["wantErr"] and {len(root) for root in roots} == {HASH_BYTES}:
        verify()
        return
    with pytest.raises(MerkleInvalid):
        verify()


def test_every_leaf_of_every_size_verifies() -> None:
    """Up to 1,025 leaves, on paths that are made level by level."""
    for size in range(1, LARGEST + 1):
        levels = levels_of(LEAVES[:size])
        (root,) = levels[-1]
        for index in range(size):
            path = path_in(levels, index)
            merkle.verify_inclusion(
                leaf=LEAVES[index], index=index, size=size, path=path, root=root
            )


@given(_places())
def test_roots_and_paths_are_those_made_level_by_level(place: tuple[int, int]) -> None:
    """Splitting from above and pairing from below give one tree."""
    index, size = place
    levels = levels_of(LEAVES[:size])

    assert [merkle.root(LEAVES[:size])] == levels[-1]
    assert list(merkle.inclusion_path(LEAVES[:size], index)) == path_in(levels, index)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 21, 33])
def test_every_single_byte_change_fails(size: int) -> None:
    """Of the leaf, of the root, of each hash on the path, for every leaf."""
    levels = levels_of(LEAVES[:size])
    (root,) = levels[-1]
    for index in range(size):
        path = path_in(levels, index)
        whole = b"".join([LEAVES[index], *path, root])
        for at in range(len(whole)):
            broken = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
            leaf, *middle, end = [
                broken[start : start + HASH_BYTES] for start in range(0, len(broken), HASH_BYTES)
            ]
            with pytest.raises(MerkleInvalid, match="the path leads from leaf"):
                merkle.verify_inclusion(leaf=leaf, index=index, size=size, path=middle, root=end)


@given(_places(), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_a_changed_byte_fails_at_any_size(place: tuple[int, int], at: int, change: int) -> None:
    """Whichever byte of leaf, path or root it is, and however it changes."""
    index, size = place
    levels = levels_of(LEAVES[:size])
    whole = bytearray(b"".join([LEAVES[index], *path_in(levels, index), levels[-1][0]]))
    whole[at % len(whole)] ^= change
    leaf, *path, root = [
        bytes(whole[start : start + HASH_BYTES]) for start in range(0, len(whole), HASH_BYTES)
    ]

    with pytest.raises(MerkleInvalid):
        merkle.verify_inclusion(leaf=leaf, index=index, size=size, path=path, root=root)


def test_no_proof_serves_another_leaf() -> None:
    """Each path of each tree up to 17 leaves, tried at every other place of every such tree.

    A path fixes the turns on the way up, and a tree fixes which leaf has those turns. The same
    turns in a tree of another size are no fault of the proof: the size is signed with the root.
    """
    for size in range(1, 18):
        levels = levels_of(LEAVES[:size])
        for index in range(size):
            others = [
                (other, other_size)
                for other_size in range(19)
                for other in range(19)
                if other >= other_size or _turns(other, other_size) != _turns(index, size)
            ]
            assert all((other, size) in others for other in range(19) if other != index)
            for other, other_size in others:
                with pytest.raises(MerkleInvalid):
                    merkle.verify_inclusion(
                        leaf=LEAVES[index],
                        index=other,
                        size=other_size,
                        path=path_in(levels, index),
                        root=levels[-1][0],
                    )


def _turns(index: int, size: int) -> list[bool]:
    return [end <= index for _, end in merkle.inclusion_spans(index, size)]


def test_an_inner_node_cannot_pose_as_a_leaf() -> None:
    """Neither its hash with a shortened path, nor its children as a leaf's data."""
    leaves = LEAVES[:4]
    top = merkle.root(leaves)
    inner = node_hash(leaves[0], leaves[1])
    other = node_hash(leaves[2], leaves[3])

    with pytest.raises(MerkleInvalid, match="too short: leaf 0 of 4 takes 2 hashes, not 1"):
        merkle.verify_inclusion(leaf=inner, index=0, size=4, path=[other], root=top)
    assert merkle.root([inner, other]) == top
    assert leaf_hash(leaves[0] + leaves[1]) != inner
    assert merkle.root(LEAVES[:3]) != merkle.root([*LEAVES[:3], LEAVES[2]])


@given(st.data())
def test_every_prefix_of_a_tree_is_consistent_with_it(data: st.DataObject) -> None:
    """And another implementation says so too."""
    new_size = data.draw(SIZES)
    old_size = data.draw(st.integers(min_value=0, max_value=new_size))
    old_root, new_root = merkle.root(LEAVES[:old_size]), merkle.root(LEAVES[:new_size])
    proof = merkle.consistency_proof(LEAVES[:new_size], old_size)

    merkle.verify_consistency(
        old_size=old_size, old_root=old_root, new_size=new_size, new_root=new_root, proof=proof
    )
    ConsistencyProof(old_size, new_size, list(proof)).check(old_root, new_root)


@given(_places())
def test_another_implementation_accepts_our_inclusion_paths(place: tuple[int, int]) -> None:
    """Made by splitting, checked by the RFC's own loop."""
    index, size = place
    path = merkle.inclusion_path(LEAVES[:size], index)

    InclusionProof(index, size, list(path)).check(LEAVES[index], merkle.root(LEAVES[:size]))


@given(st.data())
def test_a_changed_history_is_never_consistent(data: st.DataObject) -> None:
    """One leaf of the old tree is another one, or one hash of the proof."""
    new_size = data.draw(st.integers(min_value=2, max_value=200))
    old_size = data.draw(st.integers(min_value=1, max_value=new_size - 1))
    changed = data.draw(st.integers(min_value=0, max_value=old_size - 1))
    history = [*LEAVES[:changed], leaf_hash(b"another"), *LEAVES[changed + 1 : new_size]]
    proof = list(merkle.consistency_proof(history, old_size))
    arguments = {
        "old_size": old_size,
        "new_size": new_size,
        "old_root": merkle.root(LEAVES[:old_size]),
    }

    with pytest.raises(MerkleInvalid, match=r"^from .*: the proof gives the (old|new) root"):
        merkle.verify_consistency(**arguments, new_root=merkle.root(history), proof=proof)  # type: ignore[arg-type]
    proof = list(merkle.consistency_proof(LEAVES[:new_size], old_size))
    at = data.draw(st.integers(min_value=0, max_value=len(proof) - 1))
    proof[at] = leaf_hash(proof[at])
    with pytest.raises(MerkleInvalid, match=r"^from .*: the proof gives the (old|new) root"):
        merkle.verify_consistency(
            **arguments,  # type: ignore[arg-type]
            new_root=merkle.root(LEAVES[:new_size]),
            proof=proof,
        )


INCLUSION_FAULTS = {
    "there is no leaf 5 in a tree of 5": {"index": 5},
    "a leaf's index is not negative": {"index": -1},
    "a tree has from 0 to 2**63 - 1 leaves": {"size": 2**63},
    "the inclusion path is too short: leaf 3 of 5 takes 3 hashes, not 2": {"path": LEAVES[:2]},
    "the inclusion path is too long: leaf 3 of 5 takes 3 hashes, not 4": {"path": LEAVES[:4]},
    "path hash 1 has 31 bytes, not 32": {"path": [LEAVES[0], b"x" * 31, LEAVES[2]]},
    "leaf hash has 0 bytes, not 32": {"leaf": b""},
    "root hash has 33 bytes, not 32": {"root": b"x" * 33},
    "the path leads from leaf 3 of 5 to the root ": {"root": EMPTY_ROOT},
}


@pytest.mark.parametrize("message", INCLUSION_FAULTS)
def test_a_broken_inclusion_proof_is_refused_with_its_own_message(message: str) -> None:
    """One sentence per fault, with its figures."""
    leaves = LEAVES[:5]
    good: dict[str, Any] = {
        "leaf": leaves[3],
        "index": 3,
        "size": 5,
        "path": merkle.inclusion_path(leaves, 3),
        "root": merkle.root(leaves),
    }

    with pytest.raises(MerkleInvalid, match="^" + re.escape(message)):
        merkle.verify_inclusion(**{**good, **INCLUSION_FAULTS[message]})


CONSISTENCY_FAULTS = {
    "a tree of 5 leaves cannot have grown from one of 6": {"old_size": 6},
    "a tree has from 0 to 2**63 - 1 leaves": {"old_size": -1},
    "the consistency proof is too short: 3 to 5 leaves takes 4 hashes, not 0": {"proof": ()},
    "the consistency proof is too long: 3 to 5 leaves takes 4 hashes, not 5": {"proof": LEAVES[:5]},
    "the consistency proof is too long: 5 to 5 leaves takes 0 hashes, not 4": {"old_size": 5},
    "two trees of 5 leaves have different roots: ": {"old_size": 5, "proof": ()},
    "a tree without leaves does not have the root ": {"old_size": 0, "proof": ()},
    "proof hash has 0 bytes, not 32": {"proof": [b""]},
    "root hash 0 has 5 bytes, not 32": {"old_root": b"short"},
    "from 3 to 5 leaves: the proof gives the old root ": {"old_root": EMPTY_ROOT},
    "from 3 to 5 leaves: the proof gives the new root ": {"new_root": EMPTY_ROOT},
}


@pytest.mark.parametrize("message", CONSISTENCY_FAULTS)
def test_a_broken_consistency_proof_is_refused_with_its_own_message(message: str) -> None:
    """One sentence per fault, with its figures."""
    leaves = LEAVES[:5]
    good: dict[str, Any] = {
        "old_size": 3,
        "old_root": merkle.root(leaves[:3]),
        "new_size": 5,
        "new_root": merkle.root(leaves),
        "proof": merkle.consistency_proof(leaves, 3),
    }

    with pytest.raises(MerkleInvalid, match="^" + re.escape(message)):
        merkle.verify_consistency(**{**good, **CONSISTENCY_FAULTS[message]})


def test_a_leaf_hash_of_another_length_makes_no_tree() -> None:
    """Two of 16 bytes would else hash like one of 32."""
    with pytest.raises(MerkleInvalid, match="leaf hash 1 has 16 bytes, not 32"):
        merkle.root([LEAVES[0], LEAVES[1][:16]])
