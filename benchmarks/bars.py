"""What all benchmarks have in common: `--quick`, progress, bars, and a JSON object as last line."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks import processes
from benchmarks.figures import rounded

Figures = Mapping[str, Any]


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tell(name: str, figures: Figures, *, quick: bool) -> None:
    """Print what was found as one JSON object on one line, which is to be the last."""
    say(json.dumps(rounded({"benchmark": name, "quick": quick, **figures})))


def options(name: str, description: str | None, *, quick: str) -> argparse.ArgumentParser:
    """A parser with `--quick`, of which `quick` says what it leaves out."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def judge(figures: Figures, bars: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Each bar: what was found, what may be at most, and whether it is met."""
    return {
        name: {"found": figures[name], "most": most, "met": figures[name] <= most}
        for name, most in bars.items()
    }


def versions(names: Iterable[str]) -> dict[str, str]:
    """What was measured: Python, SQLite and those of the packages that are installed."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for name in names:
        try:
            found[name.removesuffix("-cpu")] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main(
    name: str,
    description: str | None,
    *,
    quick: str,
    run: Callable[[bool], Figures],
    bars: Mapping[str, float],
    packages: Iterable[str],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run a benchmark that has bars, and print each of them and, last, the figures.

    `run` measures, less if it is given true. The exit code is 0 also where a bar is not met.
    """
    chosen = options(name, description, quick=quick).parse_args(arguments)
    processes.end_on_sigterm()
    started, load = time.perf_counter(), os.getloadavg()[0]
    figures = run(chosen.quick)
    judged = judge(figures, bars)
    for which, bar in judged.items():
        met = "met" if bar["met"] else "NOT met"
        say(f"{which}: {bar['found']:.3g}, at most {bar['most']:g}: {met}")
    told = {
        **figures,
        "bars": judged,
        "met": all(bar["met"] for bar in judged.values()),
        "cpus": os.cpu_count(),
        "load": load,
        "seconds": time.perf_counter() - started,
        "versions": versions(packages),
    }
    tell(name, told, quick=chosen.quick)
    return 0
