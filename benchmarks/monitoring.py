"""Measure what being watched costs: scrapes of a big cluster, heartbeats, checks of resources.

    python -m benchmarks.monitoring [--quick]

The exporter is a real process over a ledger in SQLite with 32 workers of eight GPUs each, eight
models and 10,000 open jobs, scraped over loopback as Prometheus does it (OpenMetrics, gzip);
`scrape_exponent` says how a scrape's time grows with the number of jobs that have ended. The last
line of the output is one JSON object.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import bars, heartbeats, scrapes
from benchmarks.bars import say

BARS = {
    "scrape_p95_ms": 50.0,
    "scrape_bytes": 1_000_000.0,
    "scrape_exponent": 0.2,
    "exporter_cpu_percent": 1.0,
    "heartbeat_cpu_percent": 1.0,
    "resource_check_ms": 10.0,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured: sizes of ledgers in finished jobs, scrapes of each, heartbeats."""

    sizes: tuple[int, ...]
    scrapes: int
    beats: int


QUICK = Plan(sizes=(1_000, 10_000, 100_000), scrapes=40, beats=20)
FULL = Plan(sizes=(10_000, 100_000, 1_000_000), scrapes=200, beats=100)


def run(plan: Plan) -> dict[str, Any]:
    """Measure everything; gives the figures."""
    with tempfile.TemporaryDirectory(prefix="honeyflow-bench-") as folder:
        home = Path(folder)
        say("heartbeats")
        beats = heartbeats.measure(home, plan.beats, say)
        say("scrapes")
        return {**scrapes.measure(home, plan.sizes, plan.scrapes, say), **beats}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print, last, one JSON object."""
    return bars.main(
        "monitoring",
        __doc__,
        quick="smaller ledgers, fewer scrapes",
        run=lambda quick: run(QUICK if quick else FULL),
        bars=BARS,
        packages=("honeyflow", "sqlalchemy", "prometheus-client", "nvidia-ml-py"),
        arguments=arguments,
    )


if __name__ == "__main__":
    raise SystemExit(main())
