"""The real merkletools builds the tree of RFC 9162, or nothing is built."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings
from typing import Any

import pytest

from proofs import batch_tree, merkle
from proofs.batch_tree import BatchTree
from proofs.errors import MerkleInvalid, TreesDisagree
from tests.unit.proofs.trees import LEAVES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    merkletools = pytest.importorskip("merkletools")


def _tools() -> Any:
    tools = merkletools.MerkleTools("sha256")
    tools.hash_function = lambda children=b"": hashlib.sha256(b"\x01" + bytes(children))
    return tools


def test_the_real_package_builds_the_tree() -> None:
    """And its version is told with the root."""
    assert batch_tree.build(LEAVES[:100]) == BatchTree(
        root=merkle.root(LEAVES[:100]), engine="merkletools 1.0.3"
    )


def test_its_roots_and_paths_are_ours_at_every_size() -> None:
    """From 1 to 399 leaves; its own check accepts what we export."""
    for size in range(1, 400):
        tools = _tools()
        tools.add_leaf([leaf.hex() for leaf in LEAVES[:size]])
        tools.make_tree()
        root = batch_tree.build(LEAVES[:size]).root

        assert tools.get_merkle_root() == root.hex()
        for index in {0, size // 3, size - 1}:
            exported = batch_tree.merkletools_proof(LEAVES[:size], index)
            assert exported == tools.get_proof(index)
            assert tools.validate_proof(exported, LEAVES[index].hex(), root.hex())


def test_a_batch_has_leaves() -> None:
    """Over none there is no tree to sign."""
    with pytest.raises(MerkleInvalid, match="at least one leaf"):
        batch_tree.build([])


def test_nothing_is_built_where_the_two_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the package's hash function as it comes."""
    monkeypatch.setattr(batch_tree, "_hash_inner_node", hashlib.sha256)

    with pytest.raises(TreesDisagree, match=r"^over 3 leaves merkletools 1\.0\.3 gives the root "):
        batch_tree.build(LEAVES[:3])


def test_without_the_package_our_code_serves_alone() -> None:
    """In a process that cannot import it; the engine says so."""
    program = (
        "import sys; sys.modules['merkletools'] = None\n"
        "from proofs import batch_tree\n"
        "tree = batch_tree.build([bytes(32), bytes(32)])\n"
        "print(tree.engine, tree.root.hex())"
    )
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )

    assert answer.stdout.split() == ["proofs", merkle.node_hash(bytes(32), bytes(32)).hex()]


def test_importing_it_warns_nobody() -> None:
    """Although the package itself does, at every import."""
    program = "from proofs import batch_tree; print(batch_tree.build([bytes(32)]).engine)"
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )

    assert (answer.stdout.strip(), answer.stderr) == ("merkletools 1.0.3", "")


def test_its_stray_package_of_tests_is_not_installed() -> None:
    """It would stand where ours is looked for."""
    import tests

    assert not any("site-packages" in place for place in tests.__path__)
