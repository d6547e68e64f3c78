"""Runs rules on series in the real promtool (Debian: prometheus), many tests in one process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Values = Sequence[float | None]

_FILE = re.compile(r"^Unit Testing: +(\S+)$", re.MULTILINE)
_FAILED = re.compile(r"^ *alertname: (\w+),", re.MULTILINE)


def promtool() -> str:
    """Where promtool is; skips where there is none, or fails where there must be."""
    found = shutil.which("promtool") or shutil.which("promtool", path="/usr/bin")
    if found is None:
        if os.environ.get("CI_HAS_PROMETHEUS"):
            pytest.fail("promtool is missing (Debian: prometheus)")
        pytest.skip("promtool is missing (Debian: prometheus)")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Which alerts of a rule fire at a moment: the labels of each, and all that it tells."""

    at: int
    rule: str
    alerts: Sequence[tuple[Mapping[str, str], Mapping[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Rules as YAML, series by name, one value a step, and what is expected of them."""

    name: str
    rules: str
    series: Mapping[str, Values]
    step_s: int
    expected: Sequence[Expected]

    def document(self, rules_file: str) -> dict[str, Any]:
        """The test as promtool reads it (JSON is YAML)."""
        return {
            "rule_files": [rules_file],
            "evaluation_interval": f"{self.step_s}s",
            "tests": [
                {
                    "interval": f"{self.step_s}s",
                    "input_series": [
                        {"series": name, "values": notation(values)}
                        for name, values in self.series.items()
                    ],
                    "alert_rule_test": [
                        {
                            "eval_time": f"{one.at}s",
                            "alertname": one.rule,
                            "exp_alerts": [
                                {"exp_labels": labels, "exp_annotations": told}
                                for labels, told in one.alerts
                            ],
                        }
                        for one in self.expected
                    ],
                }
            ],
        }


def failures(cases: Iterable[Case], folder: Path) -> dict[str, str]:
    """Run all cases; what promtool says of each that failed, by its name."""
    tool = promtool()
    names = {}
    for number, case in enumerate(cases):
        (folder / f"rules-{number}.yml").write_text(case.rules, encoding="utf-8")
        test = folder / f"test-{number}.yml"
        test.write_text(json.dumps(case.document(f"rules-{number}.yml")), encoding="utf-8")
        names[test.name] = case.name
    files = list(names)
    with ThreadPoolExecutor(2) as pool:
        outputs = pool.map(lambda part: _run(tool, part, folder), (files[::2], files[1::2]))
        said = [one for output in outputs for one in _FILE.split(output)[1:]]
    told = dict(zip(said[::2], said[1::2], strict=True))
    assert told.keys() == names.keys(), outputs
    return {names[file]: text for file, text in told.items() if text.strip() != "SUCCESS"}


def failed_rules(said: str) -> set[str]:
    """The rules that did not do what was expected, from what promtool said of a case."""
    return set(_FAILED.findall(said))


def notation(values: Values) -> str:
    """Values as promtool writes them; None is a series that has ended."""
    told = []
    for place, value in enumerate(values):
        if value is not None:
            told.append(repr(value))
        else:
            gone = place == 0 or values[place - 1] is None
            told.append("_" if gone else "stale")
    return " ".join(told)


def _run(tool: str, files: Sequence[str], folder: Path) -> str:
    if not files:
        return ""
    # Files that fail are told of elsewhere than those that do not; in one stream they stay apart.
    done = subprocess.run(
        [tool, "test", "rules", *files],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode in {0, 1}, done.stdout
    return done.stdout
