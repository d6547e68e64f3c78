"""Measure what being watched costs: scrapes of a big cluster, heartbeats, checks of resources.

    python -m benchmarks.monitoring [--quick]

The exporter is a real process over a ledger in SQLite with 32 workers of eight GPUs each, eight
models and 10,000 open jobs, scraped over loopback as Prometheus does it (OpenMetrics, gzip);
`scrape_exponent` says how a scrape's time grows with the number of jobs that have ended. The last
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
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import heartbeats, processes, scrapes
from benchmarks.figures import rounded

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


def judge(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each bar: what was found, what may be, and whether it is met."""
    return {
        name: {"found": figures[name], "most": most, "met": figures[name] <= most}
        for name, most in BARS.items()
    }


def versions() -> dict[str, str]:
    """What was measured."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in ("honeyflow", "sqlalchemy", "prometheus-client", "nvidia-ml-py"):
        found[name] = version(name)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print, last, one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller ledgers, fewer scrapes")
    chosen = parser.parse_args(arguments)
    processes.end_on_sigterm()
    started, load = time.perf_counter(), os.getloadavg()[0]
    figures = run(QUICK if chosen.quick else FULL)
    bars = judge(figures)
    for name, bar in bars.items():
        met = "met" if bar["met"] else "NOT met"
        say(f"{name}: {bar['found']:.3g}, at most {bar['most']:g}: {met}")
    result = {
        "benchmark": "monitoring",
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
