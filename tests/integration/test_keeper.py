"""The keeper of a session: whose process it may judge, and what does not end its thread."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger, Session, events, jobs, sessions, workers
from tasks import keeper as keeping
from tasks.client import Client
from tasks.keeper import Keeper, boot_id, pid_namespace, process_is_gone, started
from tasks.settings import Settings, read
from tests.integration.scripts import YES
from tests.stack import Worker, wait_for

CONTAINER = ["unshare", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
NAMES = ("outside@testnode", "one@testnode", "two@testnode")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Open a ledger of the test's own."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", migrate=True) as opened:
        yield opened


@pytest.fixture
def settings(home: Path) -> Settings:
    """The settings of this test run."""
    return read({"HONEYFLOW_CONFIG": str(home / "honeyflow.toml")})


def keeper(ledger: Ledger, settings: Settings, **more: Any) -> Keeper:
    """A keeper with short times; `facts`, `on_lost`, `on_replaced` and times can be given."""
    told: dict[str, Any] = {
        "facts": lambda: ("idle", {}),
        "on_lost": lambda: None,
        "on_replaced": None,
    }
    hooks = {name: more.pop(name, default) for name, default in told.items()}
    times = {"renew_s": 0.02, "heartbeat_s": 0.02, **more}
    timing = dataclasses.replace(settings.timing, **times)
    return Keeper(ledger=ledger, worker="w", node="n", timing=timing, **hooks)


def row(ledger: Ledger, session: str) -> Session:
    """A session's row."""
    with ledger.read() as tx:
        found = sessions.get(tx, session)
    assert found is not None
    return found


@pytest.fixture
def dead(ledger: Ledger, settings: Settings) -> Session:
    """The session of a process of this namespace that has died."""
    made = keeper(ledger, settings)
    made.open()
    assert not process_is_gone(row(ledger, made.session))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return dataclasses.replace(row(ledger, made.session), pid=ended.pid, pid_started=1.0)


def test_a_process_of_this_namespace_is_judged_by_its_number(
    ledger: Ledger, settings: Settings, dead: Session
) -> None:
    """Gone, replaced by another of that number, a zombie, or alive."""
    alive = dataclasses.replace(dead, pid=os.getpid(), pid_started=started(os.getpid()))
    assert (boot_id(), pid_namespace()) == (dead.boot_id, dead.pid_namespace)
    assert not process_is_gone(alive)
    assert process_is_gone(dead)
    assert process_is_gone(dataclasses.replace(alive, pid_started=1.0))
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    wait_for(lambda: started(zombie.pid) is None)
    assert process_is_gone(dataclasses.replace(alive, pid=zombie.pid))
    zombie.wait()


@pytest.mark.parametrize(
    "changed", [{"pid_namespace": "pid:[1]"}, {"pid_namespace": ""}, {"boot_id": "another"}]
)
def test_a_process_of_another_namespace_is_never_judged(
    dead: Session, changed: dict[str, str]
) -> None:
    """Only its lease tells: here its number is nobody's, or somebody else's."""
    assert not process_is_gone(dataclasses.replace(dead, **changed))


def test_without_namespaces_only_leases_tell(
    dead: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's number can be told from anybody's."""
    monkeypatch.setattr(keeping, "pid_namespace", lambda: "")
    assert not process_is_gone(dataclasses.replace(dead, pid_namespace=""))


@pytest.mark.parametrize("error", [OSError("no"), ValueError("odd")])
def test_no_error_ends_the_renewals(
    ledger: Ledger, settings: Settings, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """One in the facts of a heartbeat is logged, and the lease is renewed all the same."""

    def facts() -> Any:
        raise error

    made = keeper(ledger, settings, facts=facts)
    made.open()
    made.start()
    for _ in range(2):
        renewed = row(ledger, made.session).renewed_at
        wait_for(lambda: row(ledger, made.session).renewed_at > renewed)  # noqa: B023
    made.stop()
    assert str(error) in caplog.text


def test_a_lost_session_is_replaced_whatever_becomes_of_its_jobs(
    ledger: Ledger, settings: Settings
) -> None:
    """An error in `on_lost` leaves no worker without a session."""

    def on_lost() -> None:
        raise RuntimeError("the host cannot stop them")

    made = keeper(ledger, settings, on_lost=on_lost)
    made.open()
    first = made.session
    with ledger.write() as tx:
        sessions.close(tx, first, crashed=False, reason="lost")
    made.start()
    wait_for(lambda: made.session != first)
    renewed = row(ledger, made.session).renewed_at
    wait_for(lambda: row(ledger, made.session).renewed_at > renewed)
    made.stop()


def test_one_that_finds_its_name_taken_leaves_the_other_alone(
    ledger: Ledger, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """It stops what it ran, says once that it was replaced, and asks for no session again."""
    said: list[str] = []
    sleeper = keeper(
        ledger,
        settings,
        lease_s=0.1,
        on_lost=lambda: said.append("lost"),
        on_replaced=said.append,
    )
    sleeper.open()
    own = sleeper.session
    time.sleep(0.2)  # past its lease, as if it were frozen
    other = keeper(ledger, settings, lease_s=60.0)
    other.open()
    before = row(ledger, other.session)

    sleeper.start()
    wait_for(lambda: not sleeper._thread.is_alive())

    lost, replaced = said
    assert "lost" == lost
    assert f"process {os.getpid()} on n" in replaced
    assert replaced in caplog.text
    assert own == sleeper.session
    assert before == row(ledger, other.session)
    with ledger.read() as tx:
        assert [other.session] == [one.id for one in sessions.live(tx)]
        (told,) = workers.list(tx)
    assert other.session == told.session


def test_one_that_has_lost_its_name_says_nothing_more_under_it(
    ledger: Ledger, settings: Settings
) -> None:
    """Neither a heartbeat nor a last word, before it has noticed."""
    sleeper = keeper(ledger, settings, lease_s=0.1)
    sleeper.open()
    sleeper.tell()
    time.sleep(0.2)  # past its lease, as if it were frozen
    other = keeper(ledger, settings, lease_s=60.0, facts=lambda: ("busy", {"model": "m"}))
    other.open()
    other.tell()

    sleeper.tell()
    sleeper.say_last("stopped")

    with ledger.read() as tx:
        (told,) = workers.list(tx)
        kinds = [event.kind for event in events.after(tx, 0)]
    assert (other.session, "busy", {"model": "m"}) == (told.session, told.state, told.facts)
    assert [] == kinds


@pytest.mark.parametrize("flag", ["drain", "stop"])
def test_what_a_worker_was_told_holds_under_its_next_session(
    ledger: Ledger, settings: Settings, flag: str
) -> None:
    """It only slept for longer than its lease; a new process begins afresh."""
    made = keeper(ledger, settings)
    made.open()
    first = made.session
    with ledger.write() as tx:
        workers.set_flag(tx, "w", **{flag: True})
        sessions.close(tx, first, crashed=False, reason="lease lost")
    made.start()
    wait_for(lambda: made.session != first)
    made.stop()
    with ledger.read() as tx:
        assert getattr(jobs.attention(tx, made.session), flag)
    made.close(crashed=False, reason="stopped")

    anew = keeper(ledger, settings)
    anew.open()

    with ledger.read() as tx:
        assert not getattr(jobs.attention(tx, anew.session), flag)


def test_it_still_ends_a_worker_that_stands_still(
    ledger: Ledger, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After errors as before them."""
    exits: list[int] = []

    def facts() -> Any:
        raise OSError("no")

    monkeypatch.setattr(keeping.os, "_exit", exits.append)
    made = keeper(ledger, settings, facts=facts, stall_s=0.2, stall_exit_s=0.3)
    made.open()
    made.tick("hub")
    made.start()
    wait_for(lambda: exits)
    made.stop()
    assert {1} == set(exits)


def test_workers_of_two_containers_leave_each_other_alone(
    start: Callable[..., Worker], client: Client
) -> None:
    """One boot, two PID namespaces: each sees nobody at the other's number."""
    if subprocess.run([*CONTAINER, "true"], capture_output=True).returncode:
        pytest.skip("unshare is not permitted here")
    words = ["--device", "cpu", "--model", "fake-a"]
    outside, one, two = NAMES
    workers = [
        start(*words, "-n", outside, script=YES, ready=False),
        start(*words, "-n", one, inside=CONTAINER, ready=False),
        start(*words, "-n", two, inside=CONTAINER, ready=False),
    ]
    for worker in workers:
        worker.wait_ready()
    at_first = _live(client)
    assert 3 == len({session.pid_namespace for session in at_first.values()})

    _outlast_some_rounds(client, at_first)
    # One of the other two reconciles from now on.
    workers[0].stop()
    at_first.pop(outside)
    _outlast_some_rounds(client, at_first)
    told = "".join(worker.text() for worker in workers)
    assert not [name for name in NAMES if f"worker {name}: process died" in told]


def _live(client: Client) -> dict[str, Session]:
    """The live sessions of the workers of the test above, by their names."""
    with client.ledger.read() as tx:
        return {one.worker: one for one in sessions.live(tx) if one.worker in NAMES}


def _outlast_some_rounds(client: Client, at_first: dict[str, Session]) -> None:
    """Wait for a few rounds of whoever reconciles; the sessions are renewed, and are the same."""
    timing = client.settings.timing
    until = max(one.renewed_at for one in _live(client).values())
    until += timing.reconcile_lease_s + 5 * timing.reconcile_s
    wait_for(lambda: all(one.renewed_at > until for one in _live(client).values()))
    assert {one.id for one in at_first.values()} == {one.id for one in _live(client).values()}
