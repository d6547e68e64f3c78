"""Measure what receipts cost: committing, sealing, proving, verifying, and the disk they take.

    python -m benchmarks.proofs [--quick]

One process, its ledger in SQLite on the disk. Every round appends and syncs to a bare file and
hashes with hashlib as well; costs are compared with those of the same round, and the median round
counts. `alone` is `proofs` with the receipt's insert alone, through Python's own sqlite3 as the
design's prototype was: a receipt is made, signed and committed, and nothing else. `layered` is the
same through the ledger's transactions, and `whole` is all that a worker commits for a job; both are
reported beside the bars. How the bars were drawn is told in `benchmarks.receipt_rates`. The last
line of the output is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import log_costs, processes, receipt_rates
from benchmarks.figures import rounded
from benchmarks.receipt_rates import SLACK, Amount

MOST_VERIFY_MS = 1.0
MOST_SEAL_EXPONENT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured: receipts, sizes of logs, batches sealed on each."""

    amount: Amount
    sizes: tuple[int, ...]
    seals: int


QUICK = Plan(amount=Amount(rounds=3, single=100, grouped=500), sizes=(100, 3_000, 100_000), seals=5)
FULL = Plan(
    amount=Amount(rounds=9, single=400, grouped=2000), sizes=(100, 10_000, 1_000_000), seals=11
)


def run(plan: Plan) -> dict[str, Any]:
    """Measure everything; gives the figures."""
    with tempfile.TemporaryDirectory(prefix="honeyflow-bench-") as folder:
        home = Path(folder)
        say("committing receipts")
        rates = receipt_rates.measure_rates(home, plan.amount, say)
        disk = receipt_rates.measure_disk(home)
        say("sealing, proving, verifying")
        costs = log_costs.measure(home, plan.sizes, plan.seals, say)
    return {**rates, **costs, "disk": disk}


def judge(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each bar: what was found, what may be, and whether it is met."""
    bars = {
        "single_cost_vs_design": SLACK,
        "grouped_cost_vs_design": SLACK,
        "verify_ms": MOST_VERIFY_MS,
        "seal_exponent": MOST_SEAL_EXPONENT,
    }
    return {
        name: {"found": figures[name], "most": most, "met": figures[name] <= most}
        for name, most in bars.items()
    }


def versions() -> dict[str, str]:
    """What was measured."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in (
        "honeyflow",
        "cryptography",
        "rfc8785",
        "sqlalchemy",
        "merkletools",
        "tlog-scales",
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print, last, one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proofs", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer receipts, smaller logs")
    chosen = parser.parse_args(arguments)
    processes.end_on_sigterm()
    started, load = time.perf_counter(), os.getloadavg()[0]
    figures = run(QUICK if chosen.quick else FULL)
    bars = judge(figures)
    for name, bar in bars.items():
        met = "met" if bar["met"] else "NOT met"
        say(f"{name}: {bar['found']:.3g}, at most {bar['most']:g}: {met}")
    result = {
        "benchmark": "proofs",
        "quick": chosen.quick,
        **figures,
        "bars": bars,
        "met": all(bar["met"] for bar in bars.values()),
        "cpus": os.cpu_count(),
        "load": load,
        "seconds": time.perf_counter() - started,
        "versions": versions(),
    }
    say(json.dumps(rounded(result)))
    return 0


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
