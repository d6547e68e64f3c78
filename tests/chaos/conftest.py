"""Homes for chaos tests, which are checked when the test is over, and the table of faults."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chaos import checker, processes, reporting
from tests.chaos.harness import Cluster
from tests.chaos.recorded import crashes, good
from tests.chaos.reporting import Report
from tests.chaos.scale import CHAOS, THOROUGH
from tests.counters import assert_counters_equal_ledger
from tests.postgres import PostgresServer, postgres_server

__all__ = ["crashes", "good", "postgres_server"]

ROWS = pytest.StashKey[Path]()


class Clusters:
    """Makes the homes of one test, and brings them to their end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Cluster] = []

    def __call__(self, **options: Any) -> Cluster:
        """A home with Redis and a ledger; see `tests.chaos.harness`."""
        self._made.append(Cluster(self._folder / f"home{len(self._made)}", **options))
        return self._made[-1]

    def check(self) -> None:
        """Settle every home; fail on every violation, and where totals are not what rows say."""
        found = [str(one) for home in self._made for one in checker.check(home.settle())]
        assert [] == found[:20], f"{len(found)} violations; history in {self._folder}"
        for home in self._made:
            assert_counters_equal_ledger(home.client.ledger)

    def close(self) -> None:
        """End every home; what its workers said is shown if the test failed."""
        for home in self._made:
            print(home.tail())
            home.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Clusters]:
    """Makes homes; they are settled, checked and closed when the test is over."""
    clusters = Clusters(tmp_path)
    yield clusters
    clusters.close()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """Takes the figure that the test has reached."""
    return Report(request.node)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Callable[[], str]:
    """Makes an empty PostgreSQL database, for `cluster(ledger_url=…)`."""
    return lambda: postgres_server.url(postgres_server.create_database())


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Check the homes of a test that has passed so far, as its last step."""
    result = yield
    clusters = pyfuncitem.funcargs.get("cluster")
    if isinstance(clusters, Clusters):
        clusters.check()
    return result


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the slow ones, unless everything or the sample is asked for."""

    def wanted(item: pytest.Item) -> bool:
        if THOROUGH or item.get_closest_marker("chaos_slow") is None:
            return True
        return CHAOS == "sample" and item.get_closest_marker("chaos_sample") is not None

    left_out = [item for item in items if not wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if wanted(item)]


def pytest_configure(config: pytest.Config) -> None:
    """Begin a new table; end what an earlier run left behind that was killed."""
    cache = getattr(config, "cache", None)
    folder = Path(tempfile.mkdtemp()) if cache is None else cache.mkdir("chaos")
    for old in folder.glob("faults-*.jsonl"):
        # Of another run in this checkout that goes on: its rows are its own.
        if not psutil.pid_exists(int(old.stem.partition("-")[2])):
            old.unlink(missing_ok=True)
    # The processes of `-n 2` write to the file of the one that started them, which shows it.
    of_another = hasattr(config, "workerinput")
    config.stash[ROWS] = folder / f"faults-{os.getppid() if of_another else os.getpid()}.jsonl"
    if not of_another:
        config.stash[ROWS].unlink(missing_ok=True)
        processes.reap_orphans()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep how the test fares, and write its row when it is over."""
    made = yield
    reporting.note_outcome(item, "xfailed" if hasattr(made, "wasxfail") else made.outcome)
    if made.when == "teardown" and (row := reporting.row_of(item)) is not None:
        reporting.append(item.config.stash[ROWS], row)
    return made


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table."""
    if (THOROUGH or CHAOS) and (told := reporting.rows(config.stash[ROWS])):
        terminalreporter.section("faults")
        reporting.show(told, width=max(100, terminalreporter._tw.fullwidth))
