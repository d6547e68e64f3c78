"""The tree of one batch, built by the real `merkletools` and checked by our own code.

As it comes, merkletools hashes leaves and inner nodes alike, so that one could pose as the other.
Its hash function for inner nodes is an attribute, and leaves may be added already hashed: with a
one byte put before the former and RFC 9162 leaf hashes as the latter, it builds exactly the tree of
`proofs.merkle`. Both must agree on the root, or there is none.

The package's metadata asks for one that cannot be built any more, so it is installed apart
(docs/dependencies.md) and may be missing; then our code serves alone, and the engine says so.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proofs.errors import MerkleInvalid, TreesDisagree
from proofs.merkle import inclusion_path, inclusion_spans, root

OWN_ENGINE = "proofs"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTree:
    """The root over a batch's leaf hashes, and what built it.

    Attributes:
        root: The root, as RFC 9162 defines it.
        engine: `merkletools` and its version, with which our code agreed, or `proofs` alone.
    """

    root: bytes
    engine: str


def build(leaves: Sequence[bytes]) -> BatchTree:
    """Build the tree over a batch's leaf hashes.

    Raises:
        MerkleInvalid: There are no leaves, or one does not have 32 bytes.
        TreesDisagree: merkletools made another root than our own code.
    """
    if not leaves:
        raise MerkleInvalid("a batch has at least one leaf", suggested_action="Seal nothing.")
    ours = root(leaves)
    tools = _merkletools()
    if tools is None:
        return BatchTree(root=ours, engine=OWN_ENGINE)
    engine = f"merkletools {importlib.metadata.version('merkletools')}"
    theirs = _their_root(tools, leaves)
    if theirs != ours.hex():
        raise TreesDisagree(
            f"over {len(leaves)} leaves {engine} gives the root {theirs}, our own code"
            f" {ours.hex()}",
            suggested_action="Sign nothing; report this with the leaves.",
            details={"engine": engine, "leaves": [leaf.hex() for leaf in leaves]},
        )
    return BatchTree(root=ours, engine=engine)


def merkletools_proof(leaves: Sequence[bytes], index: int) -> list[dict[str, str]]:
    """Return a leaf's inclusion path in the form that merkletools gives and takes.

    Its `validate_proof` accepts it against the root if its hash function is set as here.

    Raises:
        MerkleInvalid: There is no such leaf, or a leaf hash does not have 32 bytes.
    """
    spans = inclusion_spans(index, len(leaves))
    return [
        {"left" if end <= index else "right": value.hex()}
        for (_, end), value in zip(spans, inclusion_path(leaves, index), strict=True)
    ]


def _their_root(tools: Any, leaves: Sequence[bytes]) -> str | None:
    tree = tools("sha256")
    tree.hash_function = _hash_inner_node
    tree.add_leaf([leaf.hex() for leaf in leaves])
    tree.make_tree()
    found: str | None = tree.get_merkle_root()
    return found


def _hash_inner_node(children: bytes | bytearray) -> Any:
    return hashlib.sha256(b"\x01" + children)


@functools.cache
def _merkletools() -> Any:
    """Return the package's class, or None where it is not installed."""
    with warnings.catch_warnings():
        # It warns at every import that a package for SHA-3 is missing, which hashlib has long had.
        warnings.simplefilter("ignore")
        try:
            from merkletools import MerkleTools
        except ImportError:
            return None
    return MerkleTools
