"""Merkle trees as RFC 9162 defines them: roots, inclusion proofs and consistency proofs.

A leaf is hashed with a zero byte in front and an inner node with a one byte, so that neither can
pose as the other. A tree of n leaves is split at the largest power of two below n; so a node on the
edge that has no sibling is carried up as it is, never doubled.

What a proof consists of follows from the sizes alone. A proof with another number of hashes is
refused before anything is hashed: a shorter one could make an inner node a leaf, a longer one could
be anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

from proofs.errors import MerkleInvalid

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
# Beyond it no log counts; a bound keeps every figure in a message short.
MAX_SIZE = 2**63 - 1

Span: TypeAlias = tuple[int, int]
"""The leaves from the first number up to and without the second."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256 of a zero byte and the leaf's data."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256 of a one byte and both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes; over none it is the hash of nothing.

    Raises:
        MerkleInvalid: A leaf hash does not have 32 bytes.
    """
    _check_hashes(leaves, "leaf")
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        alone = level[-1:] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [node_hash(left, right) for left, right in pairs] + alone
    return level[0]


def inclusion_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the hashes that lead from leaf `index` to the root, the leaf's sibling first.

    Raises:
        MerkleInvalid: There is no such leaf, or a leaf hash does not have 32 bytes.
    """
    return tuple(root(leaves[start:end]) for start, end in inclusion_spans(index, len(leaves)))


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Return the hashes showing that the tree's first `old_size` leaves are a tree of their own.

    For no leaves, and for all of them, the proof is empty.

    Raises:
        MerkleInvalid: There are fewer leaves than that, or a leaf hash does not have 32 bytes.
    """
    return tuple(root(leaves[start:end]) for start, end in consistency_spans(old_size, len(leaves)))


def verify_inclusion(
    *, leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf hash stands at `index` in the tree of `size` leaves under `root`.

    Raises:
        MerkleInvalid: It does not, or the proof has another form than these numbers give it.
    """
    _check_index(index, size)
    _check_hashes([leaf], "leaf")
    _check_hashes(path, "path")
    _check_hashes([root], "root")
    inner, border = _lengths(index, size - 1)
    _check_length("inclusion path", len(path), inner + border, f"leaf {index} of {size}")
    found = leaf
    for level, sibling in enumerate(path):
        # Beyond the inner part the way up runs along the tree's right edge.
        is_right = level >= inner or index >> level & 1
        found = node_hash(sibling, found) if is_right else node_hash(found, sibling)
    if found != root:
        raise _invalid(
            f"the path leads from leaf {index} of {size} to the root {found.hex()}, not to"
            f" {root.hex()}"
        )


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree under `new_root` begins with exactly the tree under `old_root`.

    Raises:
        MerkleInvalid: It does not, or the proof has another form than these numbers give it.
    """
    _check_old_size(old_size, new_size)
    _check_hashes(proof, "proof")
    _check_hashes([old_root, new_root], "root")
    sizes = f"{old_size} to {new_size} leaves"
    if old_size in {0, new_size}:
        _check_length("consistency proof", len(proof), 0, sizes)
        if old_size == 0 and old_root != EMPTY_ROOT:
            raise _invalid(f"a tree without leaves does not have the root {old_root.hex()}")
        if old_size == new_size and old_root != new_root:
            raise _invalid(
                f"two trees of {old_size} leaves have different roots: {old_root.hex()} and"
                f" {new_root.hex()}"
            )
        return
    # The largest complete subtree that ends the old tree is where both ways up begin.
    shift = (old_size & -old_size).bit_length() - 1
    last = old_size - 1 >> shift
    inner, border = _lengths(last, new_size - 1 >> shift)
    begins = 0 if old_size == 1 << shift else 1
    _check_length("consistency proof", len(proof), begins + inner + border, sizes)
    old_found = new_found = proof[0] if begins else old_root
    for level, sibling in enumerate(proof[begins:]):
        if level >= inner or last >> level & 1:
            old_found = node_hash(sibling, old_found)
            new_found = node_hash(sibling, new_found)
        else:
            new_found = node_hash(new_found, sibling)
    if old_found != old_root:
        raise _invalid(
            f"from {sizes}: the proof gives the old root {old_found.hex()}, not {old_root.hex()}"
        )
    if new_found != new_root:
        raise _invalid(
            f"from {sizes}: the proof gives the new root {new_found.hex()}, not {new_root.hex()}"
        )


def inclusion_spans(index: int, size: int) -> tuple[Span, ...]:
    """Return which leaves each hash of an inclusion path covers, the leaf's sibling first.

    Raises:
        MerkleInvalid: A tree of `size` leaves has no leaf `index`.
    """
    _check_index(index, size)
    spans: list[Span] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    return tuple(reversed(spans))


def consistency_spans(old_size: int, new_size: int) -> tuple[Span, ...]:
    """Return which leaves each hash of a consistency proof covers.

    Raises:
        MerkleInvalid: The new tree has fewer leaves than the old one.
    """
    _check_old_size(old_size, new_size)
    if old_size == 0:
        return ()
    spans: list[Span] = []
    start, end = 0, new_size
    while old_size < end:
        middle = start + _split(end - start)
        if old_size <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((start, middle))
            start = middle
    # The old tree's own root need not be told; the root of its last part must.
    if start > 0:
        spans.append((start, end))
    return tuple(reversed(spans))


def _split(count: int) -> int:
    """Return the largest power of two below `count`, which is at least 2."""
    return 1 << (count - 1).bit_length() - 1


def _lengths(index: int, last: int) -> tuple[int, int]:
    """Return how many hashes a path has before and after it meets the tree's right edge."""
    inner = (index ^ last).bit_length()
    return inner, (index >> inner).bit_count()


def _check_index(index: int, size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise _invalid("a tree has from 0 to 2**63 - 1 leaves")
    if index < 0:
        raise _invalid("a leaf's index is not negative")
    if index >= size:
        shown = str(index) if index <= MAX_SIZE else "beyond 2**63"
        raise _invalid(f"there is no leaf {shown} in a tree of {size}")


def _check_old_size(old_size: int, new_size: int) -> None:
    if not (0 <= old_size <= MAX_SIZE and 0 <= new_size <= MAX_SIZE):
        raise _invalid("a tree has from 0 to 2**63 - 1 leaves")
    if old_size > new_size:
        raise _invalid(f"a tree of {new_size} leaves cannot have grown from one of {old_size}")


def _check_hashes(hashes: Sequence[bytes], what: str) -> None:
    for number, value in enumerate(hashes):
        if len(value) != HASH_BYTES:
            where = f" {number}" if len(hashes) > 1 else ""
            raise _invalid(f"{what} hash{where} has {len(value)} bytes, not {HASH_BYTES}")


def _check_length(what: str, found: int, needed: int, where: str) -> None:
    if found != needed:
        fault = "short" if found < needed else "long"
        raise _invalid(f"the {what} is too {fault}: {where} takes {needed} hashes, not {found}")


def _invalid(message: str) -> MerkleInvalid:
    return MerkleInvalid(
        message, suggested_action="Ask for the proof again; do not trust the record without one."
    )
