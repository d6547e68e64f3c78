"""What sealing, proving and verifying cost on logs of several sizes, and what others take."""

from __future__ import annotations

import math
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import big_logs
from benchmarks.issuing import BATCH, NAME, Store
from ledger import logs, receipts, trees
from proofs import merkle, stored_tree
from proofs.allowed_signers import AllowedSigners, allowed_line
from proofs.checkpoint import Checkpoint
from proofs.logged import Trust
from proofs.note import Note
from proofs.sshsig import BATCH_NAMESPACE, RECEIPT_NAMESPACE
from proofs.tlog_proof import TlogProof
from proofs.verification import Material, verify_receipt
from tasks import receipts as shown


@dataclass(slots=True, kw_only=True)
class Sealed:
    """A log that was made with one size, and what sealing batches of a hundred on it took."""

    store: Store
    levels: big_logs.Levels
    sizes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    publishing: list[float] = field(default_factory=list)
    memory: int = 0

    def seal(self, *, counted: bool) -> None:
        """Seal a batch and publish it; the times count or do not."""
        self.store.issue(self.store.jobs(BATCH), self.store.receipt_alone, group=BATCH)
        started = time.perf_counter()
        size = self.store.seal()
        sealed = time.perf_counter()
        self.store.publish()
        published = time.perf_counter()
        if counted:
            self.sizes.append(size)
            self.seconds.append(sealed - started)
            self.publishing.append(published - sealed)

    def weigh(self) -> None:
        """Seal a batch while Python's memory is watched, which takes longer."""
        self.store.issue(self.store.jobs(BATCH), self.store.receipt_alone, group=BATCH)
        with _watched() as peak:
            self.store.seal()
        self.memory = peak[0]
        self.store.publish()

    def plain(self) -> dict[str, float]:
        """What was found, as JSON holds it."""
        return {
            "seal_ms": statistics.median(self.seconds) * 1e3,
            "publish_ms": statistics.median(self.publishing) * 1e3,
            "memory_kib": self.memory / 1024,
        }


def measure(
    home: Path, sizes: Sequence[int], seals: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Seal on all logs in turns, then prove and verify on the largest."""
    made: dict[int, Sealed] = {}
    others: dict[str, Any] = {}
    for size in sizes:
        started = time.perf_counter()
        store = Store(home / f"log-{size}")
        made[size] = Sealed(store=store, levels=big_logs.grow(store, size))
        say(f"  a log of {size:,} leaves, made in {time.perf_counter() - started:.1f} s")
    for at in range(seals + 1):
        for log in made.values():
            # The first pays for code and memory that later ones find ready.
            log.seal(counted=at > 0)
    for log in made.values():
        log.weigh()
    proved = measure_proofs(made[max(made)])
    for size, log in made.items():
        log.store.close()
        others[f"{size:,}"] = measure_others(home / f"tiles-{size}", log.levels)
        say(f"  {size:,} leaves: {_line(log.plain())}; {_line(others[f'{size:,}'])}")
    largest = made[max(made)]
    return {
        "seal_100_ms": statistics.median(largest.seconds) * 1e3,
        "seal_exponent": slope(
            [size for log in made.values() for size in log.sizes],
            [took for log in made.values() for took in log.seconds],
        ),
        **proved,
        "seals": {f"{size:,}": log.plain() for size, log in made.items()},
        "others": others,
    }


def measure_proofs(log: Sealed) -> dict[str, float]:
    """Prove receipts of the newest batches from the ledger, and verify them as a stranger does."""
    store = log.store
    with store.ledger.read() as tx:
        row = logs.get(tx, store.notary.log)
        assert row is not None
        newest = trees.leaves(tx, row.number, row.size - 2 * BATCH, row.size)
        issued = [receipts.get(tx, leaf.job_id or "") for leaf in newest]
    rows = [one for one in issued if one is not None]
    started = time.perf_counter()
    for one in rows:
        with store.ledger.read() as tx:
            shown.proof(tx, one.job_id)
    proving = (time.perf_counter() - started) / len(rows)
    with store.ledger.read() as tx:
        proofs = [shown.proof(tx, one.job_id) for one in rows]
        read = trees.reader(tx, row.number)
        started = time.perf_counter()
        for leaf in newest:
            stored_tree.inclusion_at(leaf.index, row.sealed_size, read)
        paths = (time.perf_counter() - started) / len(newest)
    line = allowed_line(NAME, store.notary.signer.public_key, RECEIPT_NAMESPACE, BATCH_NAMESPACE)
    trust = Trust(allowed=AllowedSigners.parse(line.encode() + b"\n"))
    started = time.perf_counter()
    results = [
        verify_receipt(one.canonical, Material(signature=one.signature, proof=proof), trust)
        for one, proof in zip(rows, proofs, strict=True)
    ]
    verifying = (time.perf_counter() - started) / len(rows)
    assert all(result.verified for result in results)
    assert all("logged as leaf" in result.summary for result in results)
    parsed = [TlogProof.parse(proof or b"") for proof in proofs]
    heads = [Checkpoint.from_note(Note.parse(one.checkpoint)) for one in parsed]
    started = time.perf_counter()
    for one, proof, head in zip(rows, parsed, heads, strict=True):
        merkle.verify_inclusion(
            leaf=merkle.leaf_hash(one.canonical),
            index=proof.index,
            size=head.size,
            path=proof.path,
            root=head.root,
        )
    including = (time.perf_counter() - started) / len(rows)
    return {
        "prove_ms": proving * 1e3,
        "prove_path_us": paths * 1e6,
        "verify_ms": verifying * 1e3,
        "verify_inclusion_us": including * 1e6,
        "proof_bytes": statistics.mean(len(proof or b"") for proof in proofs),
    }


def measure_others(home: Path, levels: big_logs.Levels) -> dict[str, Any]:
    """The same tree by others, where they are installed."""
    found = {
        "merkletools": big_logs.measure_merkletools(levels[0]),
        "tlog_scales": big_logs.measure_tlog_scales(home, levels[0]),
    }
    return {name: figures for name, figures in found.items() if figures is not None}


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The exponent with which time grows with size: the least squares line through logarithms."""
    across = [math.log(size) for size in sizes]
    up = [math.log(took) for took in seconds]
    return statistics.linear_regression(across, up).slope


@contextmanager
def _watched() -> Iterator[list[int]]:
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def _line(figures: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} ({_line(value)})" if isinstance(value, dict) else f"{name} {value:.2f}"
        for name, value in figures.items()
    )
