"""The tree of `proofs.merkle` from stored nodes, so that a growing log never hashes itself again.

A node is named (level, index): level 0 are the leaf hashes, and node i of level n covers the 2**n
leaves from i * 2**n. A node is stored once its leaves are complete, and never changes after. Every
root and every proof of every size is made of those, at most two for each level and hash.

`read` fetches stored nodes, all that a question needs in one call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from proofs.errors import MerkleInvalid
from proofs.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    MAX_SIZE,
    Span,
    consistency_spans,
    inclusion_spans,
    node_hash,
)

Node: TypeAlias = tuple[int, int]
Read: TypeAlias = Callable[[Sequence[Node]], Mapping[Node, bytes]]


def grow(size: int, leaves: Sequence[bytes], read: Read) -> dict[Node, bytes]:
    """Return the nodes above the leaves that appending `leaves` to `size` leaves completes.

    Raises:
        MerkleInvalid: A stored node is missing or broken, a leaf hash does not have 32 bytes, or
            the sizes are none.
    """
    _check_size(size)
    _check_size(size + len(leaves))
    for number, leaf in enumerate(leaves):
        _check_hash(leaf, f"leaf hash {number}")
    needed = [
        (level, (size >> level) - 1)
        for level in range(size.bit_length())
        if size >> level & 1 and size + len(leaves) >> level + 1 > size >> level + 1
    ]
    known = _fetch(needed, read)
    known.update({(0, size + number): leaf for number, leaf in enumerate(leaves)})
    new: dict[Node, bytes] = {}
    level = 1
    while size + len(leaves) >> level > size >> level:
        for index in range(size >> level, size + len(leaves) >> level):
            made = node_hash(known[level - 1, 2 * index], known[level - 1, 2 * index + 1])
            known[level, index] = new[level, index] = made
        level += 1
    return new


def root_nodes(size: int) -> tuple[Node, ...]:
    """Return the nodes that the root of `size` leaves is made of, from left to right.

    Raises:
        MerkleInvalid: The size is none.
    """
    _check_size(size)
    return _cover((0, size))


def root_at(size: int, read: Read) -> bytes:
    """Return the root of the first `size` leaves.

    Raises:
        MerkleInvalid: A stored node is missing or broken, or the size is none.
    """
    _check_size(size)
    if size == 0:
        return EMPTY_ROOT
    return _roots([(0, size)], read)[0]


def inclusion_at(index: int, size: int, read: Read) -> tuple[bytes, ...]:
    """Return the inclusion path of leaf `index` in the tree of the first `size` leaves.

    Raises:
        MerkleInvalid: A stored node is missing or broken, or there is no such leaf.
    """
    return _roots(inclusion_spans(index, size), read)


def consistency_at(old_size: int, new_size: int, read: Read) -> tuple[bytes, ...]:
    """Return the consistency proof from the first `old_size` to the first `new_size` leaves.

    Raises:
        MerkleInvalid: A stored node is missing or broken, or the sizes do not follow each other.
    """
    return _roots(consistency_spans(old_size, new_size), read)


def _roots(spans: Sequence[Span], read: Read) -> tuple[bytes, ...]:
    covers = [_cover(span) for span in spans]
    known = _fetch([node for cover in covers for node in cover], read)
    return tuple(_fold([known[node] for node in cover]) for cover in covers)


def _cover(span: Span) -> tuple[Node, ...]:
    """Return the complete nodes that make up a span, the largest first.

    A span of a proof begins at a multiple of its largest node, so every node is aligned.
    """
    start, end = span
    levels = [level for level in range((end - start).bit_length()) if end - start >> level & 1]
    begins = [start]
    for level in reversed(levels):
        begins.append(begins[-1] + (1 << level))
    pairs = zip(reversed(levels), pairwise(begins), strict=True)
    return tuple((level, begin >> level) for level, (begin, _) in pairs)


def _fold(hashes: Sequence[bytes]) -> bytes:
    *others, found = hashes
    for left in reversed(others):
        found = node_hash(left, found)
    return found


def _fetch(nodes: Sequence[Node], read: Read) -> dict[Node, bytes]:
    if not nodes:
        return {}
    found = read(nodes)
    for level, index in nodes:
        value = found.get((level, index))
        if value is None:
            raise _invalid(f"node {index} of level {level} is not stored")
        _check_hash(value, f"node {index} of level {level}")
    return {node: found[node] for node in nodes}


def _check_hash(value: bytes, what: str) -> None:
    if len(value) != HASH_BYTES:
        raise _invalid(f"{what} has {len(value)} bytes, not {HASH_BYTES}")


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise _invalid("a tree has from 0 to 2**63 - 1 leaves")


def _invalid(message: str) -> MerkleInvalid:
    return MerkleInvalid(
        message,
        suggested_action="Run `honeyflow receipts audit`; sign nothing over this log before.",
    )
