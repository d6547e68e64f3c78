"""Sessions and their leases, and what a crash counts."""

from __future__ import annotations

import pytest

from ledger import (
    Job,
    Ledger,
    ManualClock,
    State,
    WorkerFlags,
    WorkerIdTaken,
    jobs,
    sessions,
    workers,
)
from tests.integration.ledger.support import begin, enter, look, open_session, run, take


def close(ledger: Ledger, session: str, *, crashed: bool, reason: str = "died") -> list[Job]:
    """End a session."""
    with ledger.write() as tx:
        return sessions.close(tx, session, crashed=crashed, reason=reason)


def test_a_session_says_whose_process_it_is(ledger: Ledger, clock: ManualClock) -> None:
    """So that somebody on the same node can tell whether that process is dead."""
    session = begin(ledger)
    with ledger.read() as tx:
        row = sessions.get(tx, session)
        assert [row] == sessions.live(tx)
        assert sessions.lapsed(tx) == []
        assert sessions.get(tx, "unknown") is None

    assert row is not None
    assert (
        row.worker,
        row.node,
        row.pid,
        row.pid_started,
        row.pid_namespace,
        row.boot_id,
    ) == ("worker-1", "node-1", 4711, 12.5, "pid:[1]", "boot-1")
    assert (clock.lease_now + sessions.LEASE_S, None) == (row.lease_until, row.closed_at)


def test_a_worker_id_is_taken_while_its_session_lives(ledger: Ledger, clock: ManualClock) -> None:
    """The error says by whom; the transaction can go on."""
    session = begin(ledger)
    clock.advance(5)
    with ledger.write() as tx:
        with pytest.raises(WorkerIdTaken) as caught:
            open_session(tx)
        assert open_session(tx, "worker-2")

    assert (session, 4711, 12.5, "node-1", 10.0) == tuple(
        caught.value.details[name]
        for name in ("session", "pid", "pid_started", "node", "lease_left_s")
    )
    clock.advance(10)
    assert session != begin(ledger)


def test_a_lease_lasts_as_long_as_it_is_renewed(ledger: Ledger, clock: ManualClock) -> None:
    """And is lost for good when it has lapsed, or was closed."""
    session = begin(ledger)
    for _ in range(4):
        clock.advance(14)
        with ledger.write() as tx:
            assert sessions.renew(tx, session)
    clock.advance(15)
    with ledger.write() as tx:
        assert not sessions.renew(tx, session)
        assert [session] == [lapsed.id for lapsed in sessions.lapsed(tx)]
        assert sessions.live(tx) == []
        sessions.close(tx, session, crashed=False, reason="lost")
        assert sessions.lapsed(tx) == []
        assert not sessions.renew(tx, session)
        assert not sessions.renew(tx, "unknown")


def test_a_new_boot_voids_every_session(ledger: Ledger, clock: ManualClock) -> None:
    """Where leases are measured from the boot."""
    session = begin(ledger)
    job = enter(ledger)
    clock.boot = "boot-2"
    with ledger.write() as tx:
        assert [session] == [lapsed.id for lapsed in sessions.lapsed(tx)]
        assert not sessions.renew(tx, session)
        assert not jobs.attention(tx, session).alive
        refusal = jobs.claim(tx, session=session, job_id=job.id, number=1)
        assert open_session(tx)
    assert refusal.reason == "session_lost"  # type: ignore[union-attr]


def test_an_end_without_a_crash_counts_nothing(ledger: Ledger, clock: ManualClock) -> None:
    """Running jobs are queued again, those called off are cancelled, all others are left alone."""
    session = begin(ledger)
    first, second, called_off = (run(ledger, session) for _ in range(3))
    other = run(ledger, begin(ledger, "worker-2"))
    with ledger.write() as tx:
        jobs.cancel(tx, job_id=called_off.id, reason="asked")
    freed = close(ledger, session, crashed=False, reason="drain")

    assert {first.id, second.id, called_off.id} == {job.id for job in freed}
    assert freed == [look(ledger, job.id) for job in freed]
    for job in (first, second):
        back = look(ledger, job.id)
        assert (
            back.state,
            back.crashes,
            back.suspect,
            back.sent_number,
        ) == (State.QUEUED, 0, False, 2)
    assert look(ledger, called_off.id).state == State.CANCELLED
    assert other == look(ledger, other.id)
    assert close(ledger, session, crashed=True) == []
    with ledger.read() as tx:
        row = sessions.get(tx, session)
    assert row is not None
    assert (clock.now, False, "drain") == (row.closed_at, row.crashed, row.reason)


def test_a_shared_crash_makes_suspects_and_counts_nobody(ledger: Ledger) -> None:
    """Most of them are innocent."""
    session = begin(ledger)
    held = [run(ledger, session) for _ in range(3)]
    close(ledger, session, crashed=True)

    for job in held:
        back = look(ledger, job.id)
        assert (
            back.state,
            back.suspect,
            back.crashes,
            back.crash_reasons,
        ) == (State.QUEUED, True, 0, None)


def test_a_crash_that_a_job_suffers_alone_counts(ledger: Ledger) -> None:
    """It is a suspect from then on."""
    session = begin(ledger)
    job = run(ledger, session)
    close(ledger, session, crashed=True, reason="out of memory")

    back = look(ledger, job.id)
    assert (
        back.state,
        back.suspect,
        back.crashes,
        back.crash_reasons,
    ) == (State.QUEUED, True, 1, ["out of memory"])


def test_who_shares_crashes_runs_alone_and_is_dead_after_three_of_its_own(ledger: Ledger) -> None:
    """The innocents beside it never count one, also those that were suspects themselves."""
    poison, innocent = enter(ledger), enter(ledger)
    reasons = []
    for number in range(5):
        session = begin(ledger, f"worker-{number}")
        take(ledger, poison.id, session)
        if number < 2:
            # The first time beside another suspect to be, then beside fresh ones.
            take(ledger, innocent.id if number == 0 else enter(ledger).id, session)
        else:
            assert look(ledger, poison.id).apart
            reasons.append(f"crash {number}")
        close(ledger, session, crashed=True, reason=f"crash {number}")

    spared, dead = look(ledger, innocent.id), look(ledger, poison.id)
    assert (State.QUEUED, True, 0, 1) == (
        spared.state,
        spared.suspect,
        spared.crashes,
        spared.shared_crashes,
    )
    assert (State.DEAD, 3, reasons) == (dead.state, dead.crashes, dead.crash_reasons)
    assert dead.error is not None
    assert ("JOB_DEAD", {"reasons": dead.crash_reasons}) == (
        dead.error["code"],
        dead.error["details"],
    )
    with ledger.read() as tx:
        assert [dead.id] == [job.id for job in jobs.undelivered(tx)]
        moves = [(change.source, change.target) for change in jobs.history(tx, dead.id)[-2:]]
    assert moves == [(State.RUNNING, State.QUEUED), (State.QUEUED, State.DEAD)]


def test_a_suspect_that_survives_is_done(ledger: Ledger) -> None:
    """Its crash is no reason to fail it, and an end without a crash does not count."""
    session = begin(ledger)
    job = run(ledger, session)
    close(ledger, session, crashed=True)
    session = begin(ledger)
    take(ledger, job.id, session)
    close(ledger, session, crashed=False, reason="drain")

    back = look(ledger, job.id)
    assert (back.state, back.suspect, back.crashes) == (State.QUEUED, True, 1)


def test_workers_tell_how_they_are_and_are_told_what_to_do(
    ledger: Ledger, clock: ManualClock
) -> None:
    """A flag holds until the worker's next session."""
    session = begin(ledger)
    with ledger.write() as tx:
        workers.beat(tx, worker="worker-1", session=session, state="ready", facts={"free": 1.5})
        assert workers.set_flag(tx, "worker-1", drain=True)
        assert not workers.set_flag(tx, "unknown", drain=True)
        workers.beat(tx, worker="worker-1", session=session, state="draining", facts={})
        workers.beat(tx, worker="worker-0", session="s", state="ready", facts={})
        first, second = workers.list(tx)
    assert (first.worker, first.node, first.state) == ("worker-0", None, "ready")
    assert ("worker-1", "node-1", session, "draining", {}, clock.now, True) == (
        second.worker,
        second.node,
        second.session,
        second.state,
        second.facts,
        second.seen_at,
        second.drain,
    )
    close(ledger, session, crashed=False)
    with ledger.write() as tx:
        assert workers.flags(tx, "worker-1").drain
        open_session(tx)
        assert not workers.flags(tx, "worker-1").drain
        assert not workers.flags(tx, "unknown").drain


def test_a_worker_is_told_to_drain_and_to_stop_apart(ledger: Ledger) -> None:
    """It sees both in one look; its next session has forgotten both."""
    session = begin(ledger)
    for told, seen in (
        ({"stop": True}, (False, True)),
        ({"drain": True}, (True, True)),
        ({"stop": False}, (True, False)),
        ({}, (True, False)),
        ({"drain": False, "stop": True}, (False, True)),
    ):
        with ledger.write() as tx:
            assert workers.set_flag(tx, "worker-1", **told)
            looked = jobs.attention(tx, session)
            flags = workers.flags(tx, "worker-1")
            (row,) = workers.list(tx)
        for where in (looked, flags, row):
            assert seen == (where.drain, where.stop)  # type: ignore[attr-defined]
    close(ledger, session, crashed=False)
    with ledger.write() as tx:
        assert workers.flags(tx, "worker-1").stop
        workers.set_flag(tx, "worker-1", drain=True)
        assert not jobs.attention(tx, "unknown").stop
        open_session(tx)
        assert WorkerFlags() == workers.flags(tx, "worker-1") == workers.flags(tx, "unknown")


@pytest.mark.parametrize("again", [True, False])
def test_what_a_worker_was_told_outlives_its_lease_not_its_process(
    ledger: Ledger, clock: ManualClock, *, again: bool
) -> None:
    """A process that lost its session and goes on still drains; one that begins does not."""
    session = begin(ledger)
    with ledger.write() as tx:
        workers.set_flag(tx, "worker-1", drain=True, stop=True)
    clock.advance(sessions.LEASE_S)
    with ledger.write() as tx:
        assert not sessions.renew(tx, session)
        following = open_session(tx, again=again)
        seen, (row,) = jobs.attention(tx, following), workers.list(tx)
        flags = workers.flags(tx, "worker-1")

    assert (again, again) == (seen.drain, seen.stop)
    assert WorkerFlags(drain=again, stop=again) == flags
    assert (following, "starting", clock.now) == (row.session, row.state, row.seen_at)


def test_silent_workers_are_marked_stale_once(ledger: Ledger, clock: ManualClock) -> None:
    """Those that said they stopped are not, and a heartbeat makes a worker good again."""
    with ledger.write() as tx:
        for worker, state in (("b", "ready"), ("a", "ready"), ("c", "stopped")):
            workers.beat(tx, worker=worker, session="s", state=state, facts={})
    clock.advance(60)
    with ledger.write() as tx:
        workers.beat(tx, worker="d", session="s", state="ready", facts={})
        assert workers.sweep(tx) == ["a", "b"]
        assert workers.sweep(tx) == []
        workers.beat(tx, worker="a", session="s", state="ready", facts={})
        assert [row.state for row in workers.list(tx)] == ["ready", "stale", "stopped", "ready"]
