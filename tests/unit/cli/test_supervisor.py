"""Children that end: which are started again, and which never had a chance."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import pytest

from cli import cluster
from cli.readiness import FALSE_STARTS, Readiness
from cli.supervisor import Child, Supervisor
from executors import EngineMissing, EngineUnknown
from tasks import settings, wiring
from tasks.errors import UnknownModel, WorkerMisconfigured
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


def ended(code: int, *, times: int, ready: bool = False) -> Child:
    """A child that has ended that often with that exit code."""
    argv = [sys.executable, "-c", f"raise SystemExit({code})"]
    child = Child(name="worker", argv=argv, ready=ready)
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


@pytest.mark.parametrize(("code", "ready"), [(1, True), (2, False), (137, False), (0, False)])
def test_every_other_end_is_no_false_start(watcher: Readiness, code: int, ready: bool) -> None:
    """A worker that once worked, and whatever else may end one, is started again."""
    child = ended(code, times=FALSE_STARTS, ready=ready)

    watcher.refuse_false_starts([child])

    assert 0 == child.false_starts


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
