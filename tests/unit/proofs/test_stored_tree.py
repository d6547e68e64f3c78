"""From stored nodes come the same roots and proofs as from all leaves, with one question each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import merkle, stored_tree
from proofs.errors import MerkleInvalid
from proofs.stored_tree import Node
from tests.unit.proofs.trees import LARGEST, LEAVES

SIZES = st.integers(min_value=0, max_value=LARGEST)


class Store:
    """Nodes in memory, and how often they were asked for."""

    def __init__(self) -> None:
        self.nodes: dict[Node, bytes] = {}
        self.size = 0
        self.questions: list[int] = []

    def append(self, leaves: Sequence[bytes]) -> dict[Node, bytes]:
        """Store the leaves and what they complete."""
        new = stored_tree.grow(self.size, leaves, self.read)
        assert not new.keys() & self.nodes.keys()
        self.nodes.update(new)
        self.nodes.update({(0, self.size + number): leaf for number, leaf in enumerate(leaves)})
        self.size += len(leaves)
        return new

    def read(self, nodes: Sequence[Node]) -> Mapping[Node, bytes]:
        """Answer with what there is."""
        self.questions.append(len(nodes))
        return {node: self.nodes[node] for node in nodes if node in self.nodes}


@pytest.fixture(scope="module")
def whole() -> Store:
    """A log of 1,025 leaves, grown 100 at a time."""
    store = Store()
    for start in range(0, LARGEST, 100):
        store.append(LEAVES[start : start + 100])
    return store


def test_every_root_of_every_size_is_the_one_over_all_leaves(whole: Store) -> None:
    """Of each size that the log has ever had."""
    for size in range(LARGEST + 1):
        assert stored_tree.root_at(size, whole.read) == merkle.root(LEAVES[:size])


@given(size=SIZES, data=st.data())
def test_inclusion_paths_are_those_of_the_whole_tree(
    whole: Store, size: int, data: st.DataObject
) -> None:
    """At any size that the log has ever had."""
    size = max(size, 1)
    index = data.draw(st.integers(min_value=0, max_value=size - 1))

    assert stored_tree.inclusion_at(index, size, whole.read) == merkle.inclusion_path(
        LEAVES[:size], index
    )


@given(sizes=st.tuples(SIZES, SIZES))
def test_consistency_proofs_are_those_of_the_whole_tree(
    whole: Store, sizes: tuple[int, int]
) -> None:
    """Between any two sizes."""
    old_size, new_size = sorted(sizes)

    assert stored_tree.consistency_at(old_size, new_size, whole.read) == merkle.consistency_proof(
        LEAVES[:new_size], old_size
    )


@given(st.lists(st.integers(min_value=0, max_value=70), max_size=12))
def test_however_a_log_grows_its_nodes_are_the_same(batches: list[int]) -> None:
    """Batch by batch, with empty ones among them, or all at once."""
    store, at_once = Store(), Store()
    for count in batches:
        store.append(LEAVES[store.size : store.size + count])
    at_once.append(LEAVES[: store.size])

    assert store.nodes == at_once.nodes
    assert all((index + 1) << level <= store.size for level, index in store.nodes)


@given(size=SIZES)
def test_each_answer_takes_one_question_of_few_nodes(whole: Store, size: int) -> None:
    """At most two nodes for each level and hash, whatever the size."""
    size = max(size, 2)
    whole.questions.clear()
    stored_tree.root_at(size, whole.read)
    stored_tree.inclusion_at(size // 3, size, whole.read)
    stored_tree.consistency_at(size - 1, size, whole.read)

    assert len(whole.questions) == 3
    assert max(whole.questions) <= 2 * size.bit_length()
    assert len(stored_tree.root_nodes(size)) == size.bit_count()


def test_growing_asks_only_for_what_the_new_leaves_complete() -> None:
    """The left siblings on the edge."""
    store = Store()
    store.append(LEAVES[:7])
    store.questions.clear()

    assert sorted(store.append(LEAVES[7:8])) == [(1, 3), (2, 1), (3, 0)]
    assert store.questions == [3]
    assert store.append(LEAVES[8:9]) == {}
    assert store.questions == [3]


def test_a_missing_node_is_named() -> None:
    """No proof is made up around a hole."""
    store = Store()
    store.append(LEAVES[:6])
    del store.nodes[2, 0]

    with pytest.raises(MerkleInvalid, match=r"^node 0 of level 2 is not stored$"):
        stored_tree.root_at(6, store.read)
    with pytest.raises(MerkleInvalid, match=r"^node 0 of level 2 is not stored$"):
        store.append(LEAVES[6:8])


def test_a_stored_node_of_another_length_is_named() -> None:
    """As a truncated column would give it."""
    store = Store()
    store.append(LEAVES[:6])
    store.nodes[1, 2] = b"short"

    with pytest.raises(MerkleInvalid, match=r"^node 2 of level 1 has 5 bytes, not 32$"):
        stored_tree.inclusion_at(0, 6, store.read)


def test_what_is_no_size_or_leaf_is_refused() -> None:
    """With the sentences of the tree itself."""
    store = Store()

    with pytest.raises(MerkleInvalid, match="a tree has from 0"):
        stored_tree.root_at(-1, store.read)
    with pytest.raises(MerkleInvalid, match="there is no leaf 3 in a tree of 3"):
        stored_tree.inclusion_at(3, 3, store.read)
    with pytest.raises(MerkleInvalid, match="leaf hash 0 has 1 bytes"):
        stored_tree.grow(0, [b"x"], store.read)
