"""What happens around a chaos test: its homes are checked, its row is written, slow ones wait."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.chaos import processes, reporting
from tests.chaos.conftest import Clusters
from tests.chaos.history import ACCEPTED

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest
from tests.chaos.reporting import fault
@fault("T98", "nothing", required="1 s")
def test_good(report): report("0.5 s")
@fault("T99", "nothing", required="1 s")
def test_bad(report): report("2 s"); assert False
@pytest.mark.chaos_slow
def test_slow(): pass
@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
def test_sampled(): pass
"""


def test_a_violation_fails_its_test(tmp_path: Path) -> None:
    """Nobody has to ask for the check; it names the invariant and what shows it."""
    clusters = Clusters(tmp_path)
    lost = str(uuid.uuid4())
    try:
        clusters().tell([lost], ACCEPTED)
        with pytest.raises(AssertionError, match=f"I1: {lost} was accepted and is not in the"):
            clusters.check()
    finally:
        clusters.close()


def test_a_home_leaves_no_process_behind(tmp_path: Path) -> None:
    """Whatever was started in it ends with it: here a program that has left every group."""
    clusters = Clusters(tmp_path)
    home = clusters()
    program = "import os, time; os.fork() or (os.setsid(), print(flush=True), time.sleep(60))"
    assert 1 == len(processes.of_home(home.home))
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**home.env},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        started.wait()
        # Redis, and the one that went its own way.
        assert 2 == len(processes.of_home(home.home))
        clusters.close()
    assert [] == processes.of_home(home.home)


@pytest.mark.parametrize(
    ("env", "ran"),
    [
        ({}, ["test_good", "test_bad"]),
        ({"HONEYFLOW_CHAOS": "sample"}, ["test_good", "test_bad", "test_sampled"]),
        ({"HONEYFLOW_THOROUGH": "1"}, ["test_good", "test_bad", "test_slow", "test_sampled"]),
    ],
)
def test_a_run_chooses_its_tests_and_shows_their_figures(
    tmp_path: Path, env: dict[str, str], ran: list[str]
) -> None:
    """Failed ones have their row too; the table is for runs that ask for chaos."""
    file = tmp_path / "test_these.py"
    file.write_text(TESTS)
    words = ["-p", "tests.chaos.conftest", "-p", "no:cacheprovider", "-rA", f"--rootdir={ROOT}"]
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), *words, str(file)],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout

    results = [line for line in told.splitlines() if line.startswith(("PASSED", "FAILED"))]
    assert sorted(ran) == sorted(line.split("::")[1].split()[0] for line in results), told
    rows = [line for line in told.splitlines() if "│ T9" in line]
    assert (2 if env else 0) == len(rows), told
    if env:
        assert ["0.5 s", "1 s", "yes"] == [cell.strip() for cell in rows[0].split("│")[3:6]]
        assert ["2 s", "1 s", "NO"] == [cell.strip() for cell in rows[1].split("│")[3:6]]


def test_the_table_is_in_the_order_of_the_catalogue(tmp_path: Path) -> None:
    """However the tests were run."""
    for number in ("T40", "T01"):
        row = {"id": number, "fault": "", "reached": "", "required": "", "ok": "passed"}
        reporting.append(tmp_path / "rows", {**row, "test": "one"})

    assert ["T01", "T40"] == [row["id"] for row in reporting.rows(tmp_path / "rows")]
