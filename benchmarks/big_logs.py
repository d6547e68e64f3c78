"""Logs of many leaves, made quickly, and the same trees by plain merkletools and tlog-scales."""

from __future__ import annotations

import hashlib
import importlib
import sqlite3
import time
import tracemalloc
import uuid
import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.issuing import BATCH, NAME, Store
from ledger.log_tables import NODE_SHIFT
from proofs import Receipt, merkle, sha256_digest, stored_tree
from proofs.stored_tree import Node

Levels = list[list[bytes]]

_SIGNATURE = b"x" * 300
_EMPTY = sha256_digest(b"{}")
SAMPLE = Receipt(
    job_id=str(uuid.UUID(int=0, version=4)),
    worker_ens=NAME,
    model="queenbee-spine",
    input_hash=_EMPTY,
    output_hash=_EMPTY,
    report_hash=_EMPTY,
    inference_time_ms=1234,
    confidence_score=100,
    k_samples=3,
    timestamp="2026-01-01T00:00:00Z",
    epoch=0,
    ipfs_cid="QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR",
)


def grow(store: Store, size: int) -> Levels:
    """Fill a log with so many leaves and their tree, as if sealed; nothing of it is signed.

    The receipts are there with their leaves; their jobs, which sealing does not look at, are not.
    """
    before, after = SAMPLE.to_bytes().split(SAMPLE.job_id.encode())
    ids = [str(uuid.uuid4()) for _ in range(size)]
    receipts = [before + job_id.encode() + after for job_id in ids]
    levels: Levels = [[merkle.leaf_hash(data) for data in receipts]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append(
            [merkle.node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)]
        )
    log, now = store.notary.log, time.time()
    with closing(sqlite3.connect(store.file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO receipts (job_id, canonical, digest, report_digest, leaf_index,"
            " signature, created_at, log) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (ids[at], data, sha256_digest(data), _EMPTY, at, _SIGNATURE, now, log)
                for at, data in enumerate(receipts)
            ),
        )
        connection.executemany(
            'INSERT INTO log_leaves (log, "index", type, hash, job_id)'
            " VALUES (?, ?, 'receipt', ?, ?)",
            ((log, at, leaf, ids[at]) for at, leaf in enumerate(levels[0])),
        )
        for level, nodes in enumerate(levels[1:], start=1):
            connection.executemany(
                "INSERT INTO log_nodes (log, node, hash) VALUES (?, ?, ?)",
                ((log, level << NODE_SHIFT | at, node) for at, node in enumerate(nodes)),
            )
        connection.executemany(
            "INSERT INTO batches (log, number, first_index, count, sealed_at, manifest, signature,"
            " checkpoint, published_at) VALUES (?, ?, ?, ?, ?, x'00', x'00', x'00', ?)",
            ((log, number, number * BATCH, BATCH, now, now) for number in range(size // BATCH)),
        )
        connection.execute(
            "UPDATE logs SET size = ?, sealed_size = ?, sealed_root = ?, batches = ?",
            (size, size, root_of(levels, size), size // BATCH),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return levels


def root_of(levels: Levels, size: int) -> bytes:
    """The root over all leaves."""

    def read(nodes: Sequence[Node]) -> dict[Node, bytes]:
        return {(level, index): levels[level][index] for level, index in nodes}

    return stored_tree.root_at(size, read)


def measure_merkletools(leaves: Sequence[bytes]) -> dict[str, float] | None:
    """Build, prove and verify with the plain package; None where it is not installed.

    It has no stored tree: every new leaf means building it all again.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from merkletools import MerkleTools
        except ImportError:
            return None
    tracemalloc.start()
    tree = MerkleTools("sha256")
    tree.add_leaf([leaf.hex() for leaf in leaves])
    tree.make_tree()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    started = time.perf_counter()
    tree = MerkleTools("sha256")
    tree.add_leaf([leaf.hex() for leaf in leaves])
    tree.make_tree()
    built = time.perf_counter() - started
    root, places = tree.get_merkle_root(), _places(len(leaves))
    started = time.perf_counter()
    proofs = [tree.get_proof(at) for at in places]
    proved = time.perf_counter() - started
    started = time.perf_counter()
    held = [
        tree.validate_proof(proof, leaves[at].hex(), root)
        for at, proof in zip(places, proofs, strict=True)
    ]
    verified = time.perf_counter() - started
    assert all(held)
    return {
        "build_ms": built * 1e3,
        "memory_mib": peak / 2**20,
        "prove_us": proved / len(places) * 1e6,
        "verify_us": verified / len(places) * 1e6,
    }


def measure_tlog_scales(home: Path, leaves: Sequence[bytes]) -> dict[str, float] | None:
    """Append a batch to its tiles on the disk, unsigned and not synced; None if not installed."""
    try:
        writer: Any = importlib.import_module("tlog_scales.writer")
        tlog: Any = importlib.import_module("tlog_scales.tlog")
    except ImportError:
        return None
    tiles = writer.TilesWriter.create(home, "example.org/log")
    for leaf in leaves:
        tiles.add_leaf(leaf)
    tiles.commit([])
    times = []
    for turn in range(5):
        for number in range(BATCH):
            tiles.add_leaf(hashlib.sha256(b"%d.%d" % (turn, number)).digest())
        started = time.perf_counter()
        tiles.commit([])
        times.append(time.perf_counter() - started)
    # Its own check of paths that ours made: over the hashes of what it has as leaves.
    small = [merkle.leaf_hash(leaf) for leaf in leaves[:1024]]
    root, places = merkle.root(small), _places(len(small))
    proofs = [
        tlog.InclusionProof(at, len(small), list(merkle.inclusion_path(small, at))) for at in places
    ]
    started = time.perf_counter()
    for at, proof in zip(places, proofs, strict=True):
        proof.check(small[at], root)
    verified = time.perf_counter() - started
    return {
        "append_100_ms": sorted(times)[len(times) // 2] * 1e3,
        "verify_us": verified / len(places) * 1e6,
    }


def _places(size: int) -> list[int]:
    return [at * 7919 % size for at in range(200)]
