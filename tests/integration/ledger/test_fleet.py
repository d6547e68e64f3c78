"""Workers in the ledger: heard of, silent, back again, ended, forgotten; on each store."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import Ledger, ManualClock, WorkerAlive, events, sessions, workers

FACTS = {"model": "m", "readings": [{"gpu": "0"}]}


def beat(ledger: Ledger, worker: str, *, session: str = "s", state: str = "idle") -> None:
    """A heartbeat."""
    with ledger.write() as tx:
        workers.beat(tx, worker=worker, session=session, state=state, facts=FACTS)


def told(ledger: Ledger) -> list[tuple[str, str]]:
    """The kinds and subjects of all events."""
    with ledger.read() as tx:
        return [(event.kind, event.subject) for event in events.after(tx, 0)]


def states(ledger: Ledger) -> dict[str, str]:
    """Each worker's state."""
    with ledger.read() as tx:
        return {row.worker: row.state for row in workers.list(tx)}


def opened(ledger: Ledger, worker: str) -> str:
    """A live session of that worker."""
    identity: dict[str, Any] = {"pid": 7, "pid_started": 1.0, "pid_namespace": "p", "boot_id": "b"}
    with ledger.write() as tx:
        return sessions.open(tx, worker=worker, node="n", **identity).id


def test_silence_is_an_event_with_the_last_facts_and_told_once(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Those that have said that they stopped or failed are not silent."""
    for worker, state in (("b", "busy"), ("a", "idle"), ("c", "stopped"), ("d", "failed")):
        beat(ledger, worker, state=state)
    clock.advance(61.0)
    for expected in (["a", "b"], []):
        with ledger.write() as tx:
            assert expected == workers.sweep(tx)
    assert [("worker_stale", "a"), ("worker_stale", "b")] == told(ledger)
    with ledger.read() as tx:
        details = events.after(tx, 0)[0].details
    assert {"seconds": 61.0, "facts": FACTS} == details
    assert {"a": "stale", "b": "stale", "c": "stopped", "d": "failed"} == states(ledger)


def test_a_stale_worker_returns_with_its_next_heartbeat_and_only_then(
    ledger: Ledger, clock: ManualClock
) -> None:
    """One that was never stale does not return."""
    beat(ledger, "w")
    beat(ledger, "w")
    clock.advance(61.0)
    with ledger.write() as tx:
        workers.sweep(tx)
    beat(ledger, "w", state="busy")
    beat(ledger, "w")
    assert [("worker_stale", "w"), ("worker_returned", "w")] == told(ledger)
    assert {"w": "idle"} == states(ledger)


def test_a_last_word_counts_only_for_who_has_the_name(ledger: Ledger) -> None:
    """An old process does not end the worker that took its place."""
    session = opened(ledger, "w")
    with ledger.write() as tx:
        end = {"worker": "w", "state": "stopped", "facts": FACTS}
        assert not workers.end(tx, session="another", **end)
        assert workers.end(tx, session=session, **end)
        assert not workers.end(tx, **{**end, "worker": "nobody"}, session=session)
    assert {"w": "stopped"} == states(ledger)


def test_only_who_is_gone_can_be_forgotten(ledger: Ledger) -> None:
    """A live session keeps its worker; what nobody knows is not forgotten either."""
    session = opened(ledger, "w")
    beat(ledger, "w", session=session)
    with pytest.raises(WorkerAlive, match="process 7 on n") as caught, ledger.write() as tx:
        workers.forget(tx, "w")
    assert "WORKER_ALIVE" == caught.value.code
    with ledger.write() as tx:
        sessions.close(tx, session, crashed=False, reason="stopped")
        assert workers.forget(tx, "w")
        assert not workers.forget(tx, "w")
    assert {} == states(ledger)
