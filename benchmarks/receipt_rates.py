"""What committing receipts costs beside syncing and hashing, and the disk they take.

A bar is a cost per receipt in units of the machine. The design's prototype (raw SQLite) took 269 us
for a single receipt where a bare append with its sync took 240 us, and 35.7 us in groups of 100
without files, of which a hundredth of a sync is 2.4 us; it did not sign, which is 41 us more. A
Merkle tree of 10,000 receipts took 1.02 us for each. So a single one may cost a sync and 69 such
hashes, one of a group a hundredth of a sync and 73, each with some slack.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.issuing import Store, Write

SLACK = 1.3
SINGLE_SYNCS, SINGLE_HASHES = 1.0, (269 - 240 + 41) / 1.02
GROUPED_SYNCS, GROUPED_HASHES = 0.01, (35.7 - 2.4 + 41) / 1.02
GROUP = 100
RECEIPT_BYTES = 350
"""As long as the receipts that the design's figures are from."""
_PAGES = sa.text("SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count")
_PAGE = sa.text("SELECT page_size FROM pragma_page_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much is measured: rounds, and receipts in each."""

    rounds: int
    single: int
    grouped: int


def measure_rates(home: Path, plan: Amount, say: Callable[[str], None]) -> dict[str, Any]:
    """Receipts a second, and what each costs beside the same round's sync and hash."""
    rounds: list[dict[str, float]] = []
    for at in range(plan.rounds + 1):
        with Store(home / f"round-{at}") as store:
            took = _round(store, home / "synced", plan)
        # The first round pays for code and memory that later ones find ready.
        if at:
            rounds.append(took)
            say(f"  round {at}: " + ", ".join(f"{n} {s * 1e6:.1f} us" for n, s in took.items()))
    return summarise_rates(rounds)


def _round(store: Store, synced: Path, plan: Amount) -> dict[str, float]:
    """Seconds for one receipt each way, in a new ledger, and for the bare sync and hash."""
    layered, whole = store.receipt_alone, store.whole_commit

    def issue(count: int, write: Write, group: int, *, sealed: bool = False) -> float:
        running = store.jobs(count)
        store.settle()
        return store.issue(running, write, group=group, sealed=sealed)

    def issue_alone(count: int, group: int) -> float:
        running = store.jobs(count)
        store.settle()
        return store.issue_alone(running, group=group)

    # A ledger's write-ahead log is as long as it gets before the first of them counts.
    issue(plan.single, layered, 1)
    before = sync_s(synced, plan.single), hash_s()
    took = {
        "layered_single": issue(plan.single, layered, 1),
        "layered_grouped": issue(plan.grouped, layered, GROUP),
        "alone_single": issue_alone(plan.single, 1),
        "alone_grouped": issue_alone(plan.grouped, GROUP),
    }
    after = sync_s(synced, plan.single), hash_s()
    while store.seal():
        pass
    store.publish()
    return {
        "sync": statistics.mean((before[0], after[0])),
        "hash": statistics.mean((before[1], after[1])),
        **took,
        "layered_single_sealed": issue(plan.single, layered, 1, sealed=True),
        "layered_grouped_sealed": issue(plan.grouped, layered, GROUP, sealed=True),
        "whole_single": issue(plan.single, whole, 1),
        "whole_grouped": issue(plan.grouped, whole, GROUP),
    }


def summarise_rates(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Medians over rounds, and whether what `proofs` and the insert cost is within its bar."""

    def median(of: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(of(one) for one in rounds)

    def over(name: str, syncs: float, hashes: float) -> float:
        return median(lambda one: one[name] / (syncs * one["sync"] + hashes * one["hash"]))

    single = over("alone_single", SINGLE_SYNCS, SINGLE_HASHES)
    grouped = over("alone_grouped", GROUPED_SYNCS, GROUPED_HASHES)
    return {
        "sync_us": median(lambda one: one["sync"]) * 1e6,
        "hash_us": median(lambda one: one["hash"]) * 1e6,
        "single_rate_vs_fsync": median(lambda one: one["sync"] / one["alone_single"]),
        "grouped_rate_vs_fsync": median(lambda one: one["sync"] / one["alone_grouped"]),
        "single_cost_vs_design": single,
        "grouped_cost_vs_design": grouped,
        "layered_single_cost_vs_design": over("layered_single", SINGLE_SYNCS, SINGLE_HASHES),
        "layered_grouped_cost_vs_design": over("layered_grouped", GROUPED_SYNCS, GROUPED_HASHES),
        "per_s": {
            name: 1 / median(lambda one, name=name: one[name])  # type: ignore[misc]
            for name in rounds[0]
        },
    }


def sync_s(file: Path, count: int) -> float:
    """Seconds to append a receipt with its signature to a file and sync it."""
    data = os.urandom(900)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        started = time.perf_counter()
        for _ in range(count):
            os.write(handle, data)
            os.fsync(handle)
        return (time.perf_counter() - started) / count
    finally:
        os.close(handle)


def hash_s(leaves: int = 10_000, times: int = 3) -> float:
    """Seconds for each leaf of a Merkle tree, with hashlib alone."""
    receipts, sha256 = [os.urandom(RECEIPT_BYTES) for _ in range(leaves)], hashlib.sha256
    started = time.perf_counter()
    for _ in range(times):
        level = [sha256(b"\x00" + receipt).digest() for receipt in receipts]
        while len(level) > 1:
            pairs = range(0, len(level) - 1, 2)
            above = [sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in pairs]
            level = above + level[len(level) & ~1 :]
    return (time.perf_counter() - started) / leaves / times


def measure_disk(home: Path) -> dict[str, float]:
    """Bytes of ledger and files for each receipt: alone, and sealed in batches of a hundred."""
    count = 2000
    with Store(home / "disk") as store:
        running = store.jobs(count)
        before = size_of(store)
        store.issue(running, store.receipt_alone, group=GROUP)
        alone = size_of(store)
        while store.seal():
            pass
        sealed = size_of(store)
        store.publish()
        files = [file for file in store.settings.receipts_dir.rglob("*") if file.is_file()]
        published = sum(file.stat().st_size for file in files)
    return {
        "receipt_bytes": (alone - before) / count,
        "sealed_bytes": (sealed - before) / count,
        "published_bytes": published / count,
    }


def size_of(store: Store) -> int:
    """The pages in use of a ledger's file, in bytes."""
    with store.ledger.read() as tx:
        return int(tx.execute(_PAGES).scalar_one()) * int(tx.execute(_PAGE).scalar_one())
