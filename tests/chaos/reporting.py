"""The table of faults: what was injected, which figure was reached, which one is required.

Each test says `@fault("T01", "kill -9 of a worker", required="…")` and calls `report("…")`. A row
is written as soon as the test has ended, however it ended, so that the table survives everything.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

REACHED = pytest.StashKey[str]()
OUTCOME = pytest.StashKey[str]()
_RANKS = {"passed": 0, "skipped": 1, "xfailed": 2, "failed": 3}


def fault(number: str, injected: str, *, required: str) -> pytest.MarkDecorator:
    """Which fault of the catalogue a test injects, and the figure it must reach."""
    return pytest.mark.fault(number, injected, required=required)


class Report:
    """Takes the figure that a test has reached; the last word counts."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def __call__(self, reached: str) -> None:
        """Say it."""
        self._item.stash[REACHED] = reached


def note_outcome(item: pytest.Item, outcome: str) -> None:
    """Keep the worst of what setup, call and teardown gave."""
    worst = item.stash.get(OUTCOME, "passed")
    item.stash[OUTCOME] = max(worst, outcome, key=lambda word: _RANKS.get(word, 3))


def row_of(item: pytest.Item) -> dict[str, Any] | None:
    """The row of a test that has ended; None where it names no fault."""
    mark = item.get_closest_marker("fault")
    if mark is None:
        return None
    return {
        "id": mark.args[0],
        "fault": mark.args[1],
        "reached": item.stash.get(REACHED, ""),
        "required": mark.kwargs["required"],
        "ok": item.stash.get(OUTCOME, "failed"),
        "test": item.nodeid,
    }


def append(path: Path, row: dict[str, Any]) -> None:
    """Write one row."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a file, by their number."""
    if not path.exists():
        return []
    read = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(read, key=lambda row: (row["id"], row["test"]))


def table(told: Sequence[dict[str, Any]]) -> Table:
    """The rows for people."""
    made = Table(title="Faults")
    for heading in ("id", "fault", "reached", "required", "ok"):
        made.add_column(heading, no_wrap=heading in ("id", "ok"))
    words = {"passed": "yes", "skipped": "skipped", "xfailed": "known", "failed": "NO"}
    for row in told:
        cells = (row["id"], row["fault"], row["reached"], row["required"])
        made.add_row(*cells, words.get(row["ok"], "NO"))
    return made


def show(told: Sequence[dict[str, Any]], *, width: int) -> None:
    """Print the table."""
    Console(width=width, markup=False, highlight=False).print(table(told))
