"""Children that end: which are started again, and which never had a chance."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli import cluster, supervisor
from cli.readiness import FALSE_STARTS, Readiness
from cli.supervisor import FAILURES, Child, Supervisor
from executors import EngineMissing, EngineUnknown
from ledger import Ledger, ManualClock, events, sessions, workers
from tasks import settings, wiring
from tasks.errors import UnknownModel, WorkerMisconfigured
from tasks.keeper import boot_id, pid_namespace, started
from tasks.settings import Settings


@pytest.fixture
def settled(home: Path) -> Settings:
    """The settings of this test run."""
    return settings.read({"HONEYFLOW_CONFIG": str(home / "honeyflow.toml")})


@pytest.fixture
def watcher(settled: Settings, monkeypatch: pytest.MonkeyPatch) -> Readiness:
    """What `up` looks with; Redis and the ledger are taken to answer."""
    monkeypatch.setattr(Readiness, "_surroundings_answer", lambda _: True)
    return Readiness(settled)


def ended(code: int, *, times: int, worked: bool = False) -> Child:
    """A child that has ended that often with that exit code."""
    argv = [sys.executable, "-c", f"raise SystemExit({code})"]
    child = Child(name="worker", argv=argv, worked=worked)
    keeper = Supervisor([child])
    while child.failures < times:
        child.start_at = 0.0
        keeper.watch()
        time.sleep(0.01)
    return child


def test_a_child_that_is_never_ready_and_exits_with_one_is_given_up(watcher: Readiness) -> None:
    """After a few times, with its name."""
    watcher.refuse_false_starts([ended(1, times=FALSE_STARTS - 1)])

    with pytest.raises(WorkerMisconfigured, match="worker ended with exit code 1 3 times"):
        watcher.refuse_false_starts([ended(1, times=FALSE_STARTS)])


@pytest.mark.parametrize(("code", "worked"), [(1, True), (2, False), (137, False), (0, False)])
def test_every_other_end_is_no_false_start(watcher: Readiness, code: int, worked: bool) -> None:
    """A worker that once worked, and whatever else may end one, is started again."""
    child = ended(code, times=FALSE_STARTS, worked=worked)

    watcher.refuse_false_starts([child])

    assert 0 == child.false_starts


def test_failures_are_counted_in_a_row() -> None:
    """A run that does its work ends the row; the circuit opens where none gets there."""
    child = ended(7, times=FAILURES - 1)
    child.mark_ready()
    keeper = Supervisor([child])

    for failures in range(1, FAILURES + 1):
        child.start_at = 0.0
        while child.failures < failures:
            keeper.watch()
            time.sleep(0.01)
        wait = child.start_at - time.monotonic()
        assert (failures == FAILURES) == (wait > 30), failures


def test_an_open_circuit_is_told_once_and_lets_one_try_through_at_a_time() -> None:
    """Each failure after the one that opened it means a whole rest again."""
    child = Child(name="worker", argv=[sys.executable, "-c", "raise SystemExit(7)"])
    opened: list[tuple[str, int, int]] = []
    keeper = Supervisor(
        [child], on_circuit_open=lambda who, code: opened.append((who.name, who.failures, code))
    )
    for failures in range(1, FAILURES + 3):
        child.start_at = 0.0
        while child.failures < failures:
            keeper.watch()
            time.sleep(0.01)
        assert (failures >= FAILURES) == (child.start_at - time.monotonic() > 30), failures

    assert [("worker", FAILURES, 7)] == opened


def test_an_open_circuit_is_told_to_the_ledger_as_soon_as_it_answers(
    settled: Settings, tmp_path: Path
) -> None:
    """What opened it may be that the ledger was away."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    watcher = Readiness(dataclasses.replace(settled, ledger_url=url))
    watcher.note_open_circuit(ended(7, times=FAILURES), 7)
    watcher.tell_open_circuits()
    with Ledger.open(url, migrate=True) as ledger:
        watcher.tell_open_circuits()
        watcher.tell_open_circuits()
        watcher.close()
        with ledger.read() as tx:
            (told,) = events.after(tx, 0)

    assert ("circuit_open", "worker", 7) == (told.kind, told.subject, told.details["exit_code"])


def test_a_child_is_ready_anew_in_each_run() -> None:
    """That it worked once does not make its next run a working one."""
    child = Child(name="worker", argv=[sys.executable, "-c", ""])
    keeper = Supervisor([child])
    keeper.start()
    child.mark_ready()
    while not keeper.watch():
        time.sleep(0.01)
    child.start_at = 0.0
    keeper.watch()
    assert (False, True) == (child.ready, child.worked)
    keeper.stop()


def test_a_child_that_reports_nothing_is_taken_to_work_once_it_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beat says nothing in the ledger."""
    child = Child(name="beat", argv=["sleep", "60"], reports=False, failures=4)
    keeper = Supervisor([child])
    keeper.start()
    keeper.watch()
    assert 4 == child.failures
    monkeypatch.setattr(supervisor, "PROVEN_S", 0.0)
    keeper.watch()
    keeper.stop()
    assert 0 == child.failures


@pytest.mark.parametrize(
    ("changed", "ready"),
    [
        ({}, True),
        ({"node": "elsewhere"}, False),
        ({"pid_namespace": "pid:[1]"}, False),
        ({"boot_id": "another"}, False),
        ({"pid_started": 1.0}, False),
    ],
)
def test_only_a_workers_own_process_makes_it_ready(
    settled: Settings, tmp_path: Path, changed: dict[str, Any], ready: bool
) -> None:
    """Its number alone may be a worker's elsewhere, or of another boot."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    child = Child(name="worker", argv=["sleep", "60"])
    keeper = Supervisor([child])
    keeper.start()
    assert child.process is not None
    told = {
        "node": settled.node,
        "pid": child.process.pid,
        "pid_started": started(child.process.pid),
        "pid_namespace": pid_namespace(),
        "boot_id": boot_id(),
    } | changed
    clock = ManualClock(boot_id=told["boot_id"]) if "boot_id" in changed else None
    with Ledger.open(url, migrate=True, clock=clock) as ledger, ledger.write() as tx:
        session = sessions.open(tx, worker="w", **told)
        facts = {"pid": child.process.pid}
        workers.beat(tx, worker="w", session=session.id, state="idle", facts=facts)
    watcher = Readiness(dataclasses.replace(settled, ledger_url=url))

    watcher.mark([child])

    watcher.close()
    keeper.stop()
    assert ready == child.ready


def test_while_redis_or_the_ledger_is_away_nothing_counts(settled: Settings) -> None:
    """It may be all that is wrong."""
    away = dataclasses.replace(settled, redis_url="redis://127.0.0.1:1/0")
    child = ended(1, times=FALSE_STARTS)

    Readiness(away).refuse_false_starts([child])

    assert 0 == child.false_starts


def test_what_no_worker_could_start_with_is_refused_before_any_is_started(
    settled: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown model, an unknown engine, an extra that is not installed."""
    known = wiring.catalogue()
    strange = {
        name: dataclasses.replace(known.models["fake-a"], options={"engine": name})
        for name in ("vlm", "vllm")
    }
    catalogue = dataclasses.replace(known, models={**known.models, **strange})
    monkeypatch.setattr(wiring, "catalogue", lambda: catalogue)
    monkeypatch.setattr("executors.registry.find_spec", lambda _: None)

    for model, error in (("none", UnknownModel), ("vlm", EngineUnknown), ("vllm", EngineMissing)):
        with pytest.raises(error):
            cluster.check(dataclasses.replace(settled, cpu_model_assignments=(model,)))
    cluster.check(dataclasses.replace(settled, cpu_model_assignments=("fake-a",)))
