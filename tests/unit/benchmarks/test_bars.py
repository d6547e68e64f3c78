"""Benchmarks tell what they found in one form, and say of each bar whether it is met."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bars

NAMES = sorted(
    file.stem
    for file in Path(bars.__file__).parent.glob("*.py")
    if "def main(arguments" in file.read_text()
)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[str], dict[str, Any]]:
    """What a benchmark with two bars says: its lines, and the object in the last of them."""
    code = bars.main(
        "made_up",
        "Measure nothing.",
        quick="less",
        run=lambda quick: {"jobs": 2 if quick else 9, "wait_ms": 3.00004, "more": [{"x": 1}]},
        bars={"jobs": 2.0, "wait_ms": 3.0},
        packages=("honeyflow", "no-such-package"),
        arguments=arguments,
    )
    assert code == 0
    *lines, last = capsys.readouterr().out.splitlines()
    return lines, json.loads(last)


def test_a_bar_is_met_up_to_its_figure_and_not_above(capsys: pytest.CaptureFixture[str]) -> None:
    """Judged before figures are rounded; one that is not met is no error."""
    lines, found = told(capsys, "--quick")

    assert ["jobs: 2, at most 2: met", "wait_ms: 3, at most 3: NOT met"] == lines
    assert {"jobs": True, "wait_ms": False} == {
        name: bar["met"] for name, bar in found["bars"].items()
    }
    assert not found["met"]


def test_the_last_line_has_all_figures_and_what_was_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Under the benchmark's name, rounded; of packages those that are there."""
    _, found = told(capsys)

    assert ("made_up", False, 9) == (found["benchmark"], found["quick"], found["jobs"])
    assert (3.0, [{"x": 1}]) == (found["wait_ms"], found["more"])
    assert {"python", "sqlite", "honeyflow"} == found["versions"].keys()
    assert {"cpus", "load", "seconds"} <= found.keys()


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_knows_how_to_be_quick(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says what it leaves out then."""
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])

    said = capsys.readouterr().out
    assert 0 == ended.value.code
    assert f"python -m benchmarks.{name}" in said
    assert "--quick" in said
