"""Trees for the tests, built level by level, where the code splits them from above."""

from __future__ import annotations

from collections.abc import Sequence

from proofs.merkle import leaf_hash, node_hash

LARGEST = 1025
LEAVES = tuple(leaf_hash(f"leaf {number}".encode()) for number in range(LARGEST))


def levels_of(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Every level of the tree, the leaves first; a node without a sibling is carried up."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        paired = [
            node_hash(below[number], below[number + 1]) for number in range(0, len(below) - 1, 2)
        ]
        levels.append(paired + below[len(paired) * 2 :])
    return levels


def path_in(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """The siblings on the way up, where there are any."""
    path = []
    for level in levels[:-1]:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        index >>= 1
    return path
