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

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import bars, log_costs, receipt_rates
from benchmarks.bars import say
from benchmarks.receipt_rates import SLACK, Amount

BARS = {
    "single_cost_vs_design": SLACK,
    "grouped_cost_vs_design": SLACK,
    "verify_ms": 1.0,
    "seal_exponent": 0.2,
}
PACKAGES = ("honeyflow", "cryptography", "rfc8785", "sqlalchemy", "merkletools", "tlog-scales")


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print, last, one JSON object."""
    return bars.main(
        "proofs",
        __doc__,
        quick="fewer receipts, smaller logs",
        run=lambda quick: run(QUICK if quick else FULL),
        bars=BARS,
        packages=PACKAGES,
        arguments=arguments,
    )


if __name__ == "__main__":
    raise SystemExit(main())
