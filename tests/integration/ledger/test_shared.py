"""What processes share beside jobs: leases, chords, receipts, bodies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from ledger import (
    BodyMismatch,
    BodyMissing,
    ChordPart,
    ChordState,
    InvalidValue,
    Ledger,
    LedgerError,
    ManualClock,
    State,
    bodies,
    chords,
    jobs,
    leases,
    receipts,
    sessions,
    workers,
)
from tests.integration.ledger.support import (
    begin,
    enter,
    job_in,
    look,
    new_job,
    try_claim,
)


def test_a_lease_has_one_holder(ledger: Ledger, clock: ManualClock) -> None:
    """Who renews it keeps it; when it is over, or given back, anybody gets it."""
    with ledger.write() as tx:
        assert leases.take(tx, "reconciler", "a", 5)
        assert not leases.take(tx, "reconciler", "b", 5)
        assert leases.take(tx, "sealer", "b", 5)
    clock.advance(4)
    with ledger.write() as tx:
        assert leases.take(tx, "reconciler", "a", 5)
    clock.advance(4)
    with ledger.write() as tx:
        assert not leases.take(tx, "reconciler", "b", 5)
    clock.advance(1)
    with ledger.write() as tx:
        assert leases.take(tx, "reconciler", "b", 5)
        leases.release(tx, "reconciler", "a")
        assert not leases.take(tx, "reconciler", "a", 5)
        leases.release(tx, "reconciler", "b")
        assert leases.take(tx, "reconciler", "a", 5)


def test_a_lease_of_an_earlier_boot_is_void(ledger: Ledger, clock: ManualClock) -> None:
    """Where leases are measured from the boot."""
    with ledger.write() as tx:
        assert leases.take(tx, "reconciler", "a", 1000)
    clock.boot = "boot-2"
    with ledger.write() as tx:
        assert leases.take(tx, "reconciler", "b", 1000)


def part(number: int, state: str = "SUCCESS", result: str | None = None) -> ChordPart:
    """One part of a chord, at its place in the header."""
    return ChordPart(id=f"task-{number}", index=number, state=state, result=result)


def test_a_chord_has_one_taker_when_all_parts_have_ended(ledger: Ledger) -> None:
    """Parts in the header's order, however they ended and whoever's they are."""
    last, middle, first = part(2, "FAILURE", '{"exc_type":"\\u0000"}'), part(1, result="5"), part(0)
    loose = ChordPart(id="loose", index=None, state="REVOKED")
    for ended in (last, middle, loose):
        with ledger.write() as tx:
            chords.add(tx, "g", ended)
            assert chords.take(tx, "g", 4) == ChordState.WAITING
    with ledger.write() as tx:
        chords.add(tx, "g", first)
        assert chords.take(tx, "g", 4) == ChordState.MINE
    with ledger.write() as tx:
        assert chords.take(tx, "g", 4) == ChordState.TAKEN
        assert [first, middle, last, loose] == chords.parts(tx, "g")
        chords.done(tx, "g")
        assert chords.take(tx, "g", 4) == ChordState.DONE
        assert chords.parts(tx, "other") == []


def test_a_chord_part_counts_once(ledger: Ledger) -> None:
    """A second return of a part changes nothing, before the body is set off and after."""
    with ledger.write() as tx:
        chords.expect(tx, "g", 2)
        chords.add(tx, "g", part(0, result="1"))
        chords.add(tx, "g", part(0, "FAILURE", result="2"))
        assert chords.take(tx, "g") == ChordState.WAITING
        assert [part(0, result="1")] == chords.parts(tx, "g")
        chords.add(tx, "g", part(1))
        assert chords.take(tx, "g") == ChordState.MINE
        chords.done(tx, "g")
    with ledger.write() as tx:
        chords.add(tx, "g", part(1))
        assert chords.take(tx, "g") == ChordState.DONE
        assert chords.parts(tx, "g") == []


def test_chord_parts_of_one_index_are_two(ledger: Ledger) -> None:
    """A group inside a chord's header counts from 0 again."""
    twins = [ChordPart(id=name, index=0, state="SUCCESS") for name in ("a", "b")]
    with ledger.write() as tx:
        for twin in twins:
            chords.add(tx, "g", twin)
        assert twins == chords.parts(tx, "g")
        assert chords.take(tx, "g", 2) == ChordState.MINE


def test_a_chord_whose_parts_end_at_once_is_taken_once(ledger: Ledger) -> None:
    """Each of many callers at once adds one part and asks; one of them gets it."""

    def end(number: int) -> ChordState:
        with ledger.write() as tx:
            chords.add(tx, "g", part(number))
            return chords.take(tx, "g", 16)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(end, range(16)))

    assert 1 == answers.count(ChordState.MINE)
    assert 15 == answers.count(ChordState.WAITING)


def test_a_taken_chord_can_be_given_back(ledger: Ledger) -> None:
    """Somebody else sets off its body then, unless it was set off."""
    with ledger.write() as tx:
        assert chords.take(tx, "g", 0) == ChordState.MINE
        chords.give_back(tx, "g")
        assert chords.take(tx, "g", 0) == ChordState.MINE
        chords.done(tx, "g")
        chords.give_back(tx, "g")
        assert chords.take(tx, "g", 0) == ChordState.DONE


def test_a_chord_knows_whether_jobs_are_among_its_parts(ledger: Ledger) -> None:
    """By the group of the jobs that were entered."""
    enter(ledger, group_id="g", group_index=0)
    with ledger.read() as tx:
        assert chords.has_jobs(tx, "g")
        assert not chords.has_jobs(tx, "other")


def test_a_taker_that_died_is_followed_by_another(ledger: Ledger, clock: ManualClock) -> None:
    """After a minute; but never once the body was set off."""
    job_in(ledger, State.QUEUED, "")
    with ledger.write() as tx:
        assert chords.take(tx, "g", 0) == ChordState.MINE
    clock.advance(59)
    with ledger.write() as tx:
        assert chords.take(tx, "g", 0) == ChordState.TAKEN
    clock.advance(1)
    with ledger.write() as tx:
        assert chords.take(tx, "g", 0) == ChordState.MINE
        assert chords.take(tx, "g", 0, stale_after=0) == ChordState.MINE
        chords.done(tx, "g")
    clock.advance(60)
    with ledger.write() as tx:
        assert chords.take(tx, "g", 0) == ChordState.DONE


def test_a_taker_whose_session_is_over_is_followed_at_once(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Whether it was closed, has lapsed, or was never heard of; not while it lives."""
    first, second = begin(ledger), begin(ledger, "worker-2")
    with ledger.write() as tx:
        assert chords.take(tx, "g", 0, session=first) == ChordState.MINE
        assert chords.take(tx, "g", 0, session=second) == ChordState.TAKEN
        sessions.close(tx, first, crashed=True, reason="died")
        assert chords.take(tx, "g", 0, session=second) == ChordState.MINE
        assert chords.take(tx, "g", 0) == ChordState.TAKEN
    clock.advance(sessions.LEASE_S)
    with ledger.write() as tx:
        assert chords.take(tx, "g", 0) == ChordState.MINE
        assert chords.take(tx, "g", 0, session="unknown") == ChordState.TAKEN
        chords.give_back(tx, "g")
        assert chords.take(tx, "g", 0, session="unknown") == ChordState.MINE
        assert chords.take(tx, "g", 0, session="unknown") == ChordState.MINE
        chords.done(tx, "g")
        assert chords.take(tx, "g", 0) == ChordState.DONE


def test_a_living_taker_has_a_minute_too(ledger: Ledger, clock: ManualClock) -> None:
    """Then somebody else may, as ever."""
    session = begin(ledger)
    with ledger.write() as tx:
        assert chords.take(tx, "g", 0, session=session) == ChordState.MINE
    for state in (ChordState.TAKEN, ChordState.MINE):
        for _ in range(3):
            clock.advance(10)
            with ledger.write() as tx:
                assert sessions.renew(tx, session)
        clock.advance(-1 if state is ChordState.TAKEN else 1)
        with ledger.write() as tx:
            assert chords.take(tx, "g", 0, session=session) == state


def test_a_dead_takers_chord_has_one_next_taker(ledger: Ledger) -> None:
    """Of eight that ask at once."""
    session = begin(ledger)
    living = [begin(ledger, f"living-{number}") for number in range(8)]
    with ledger.write() as tx:
        chords.take(tx, "g", 0, session=session)
    with ledger.write() as tx:
        sessions.close(tx, session, crashed=True, reason="died")

    def ask(name: str) -> ChordState:
        with ledger.write() as tx:
            return chords.take(tx, "g", 0, session=name)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, living))

    assert sorted(answers) == [ChordState.MINE] + [ChordState.TAKEN] * 7


def test_a_chord_may_be_told_its_size_beforehand(ledger: Ledger) -> None:
    """Until then it waits, although parts have ended."""
    with ledger.write() as tx:
        chords.add(tx, "g", part(0))
        assert chords.size(tx, "g") is None
        assert chords.take(tx, "g") == ChordState.WAITING
        chords.expect(tx, "g", 3)
        chords.expect(tx, "g", 2)
        assert chords.size(tx, "g") == 2
        assert chords.take(tx, "g") == ChordState.WAITING
        chords.add(tx, "g", part(1))
        assert chords.take(tx, "g") == ChordState.MINE
        assert chords.take(tx, "g") == ChordState.TAKEN


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE receipts SET canonical = 'x'",
        "UPDATE receipts SET digest = 'x'",
        "UPDATE receipts SET report_digest = 'x'",
        "UPDATE receipts SET created_at = 0",
        "UPDATE receipts SET leaf_index = 8",
        "UPDATE receipts SET leaf_index = NULL",
        "UPDATE receipts SET signature = 'x'",
        "UPDATE receipts SET signature = NULL",
        "DELETE FROM receipts",
        "UPDATE changes SET fence = 9",
    ],
)
def test_what_is_evidence_cannot_be_changed(ledger: Ledger, change: str) -> None:
    """Not even by hand; leaf index and signature can be set, once."""
    job = job_in(ledger, State.SUCCEEDED, begin(ledger))
    with ledger.write() as tx:
        receipts.place(tx, {job.id: 7, "unknown": 8})
        receipts.place(tx, {job.id: 8})
        tx.execute(sa.text("UPDATE receipts SET signature = :it"), {"it": b"SSHSIG"})
    with pytest.raises(LedgerError, match="never"), ledger.write() as tx:
        tx.execute(sa.text(change))
    with ledger.read() as tx:
        kept = receipts.get(tx, job.id)
    assert kept is not None
    assert (kept.leaf_index, kept.signature) == (7, b"SSHSIG")


def test_bytes_are_stored_once_and_come_back_as_they_were(ledger: Ledger) -> None:
    """In the same transaction and later."""
    data = bytes(range(256))
    with ledger.write() as tx:
        digest = bodies.put(tx, data)
        assert digest == bodies.put(tx, data, bodies.TEXT)
        assert bodies.get(tx, digest) == data
    with ledger.write() as tx:
        assert digest == bodies.put(tx, data)
        assert bodies.put(tx, b"") == bodies.digest_of(b"")
    with ledger.read() as tx:
        assert bodies.get(tx, digest) == data
        assert bodies.get(tx, bodies.digest_of(b"")) == b""
        assert bodies.get(tx, "sha256:unknown") is None
        empty = bodies.digest_of(b"")
        both = {digest: data, empty: b""}
        assert bodies.get_many(tx, [digest, "sha256:unknown", empty, digest]) == both
        assert bodies.get_many(tx, []) == {}


def test_damaged_bytes_are_never_served(ledger: Ledger) -> None:
    """Their digest tells; a job with such a request fails instead of running."""
    job = enter(ledger, request=b"as it was entered")
    with ledger.write() as tx:
        tx.execute(sa.text("UPDATE bodies SET data = :other"), {"other": b"something else"})
    with ledger.read() as tx, pytest.raises(BodyMismatch):
        jobs.request(tx, job.id)

    assert try_claim(ledger, job, begin(ledger)) == "ended"
    failed = look(ledger, job.id)
    assert failed.error is not None
    assert (failed.state, failed.error["code"]) == (State.FAILED, "REQUEST_LOST")


def test_a_request_that_is_gone_is_said_to_be_missing(ledger: Ledger) -> None:
    """Whether the job is unknown or its bytes were deleted."""
    job = enter(ledger)
    with ledger.write() as tx:
        tx.execute(sa.text("DELETE FROM bodies"))
    with ledger.read() as tx:
        for job_id in (job.id, "unknown", "\0"):
            with pytest.raises(BodyMissing):
                jobs.request(tx, job_id)


def test_a_value_that_cannot_be_stored_leaves_the_transaction_usable(ledger: Ledger) -> None:
    """It is refused before the store sees it."""
    with ledger.write() as tx:
        for facts in ({"load": float("nan")}, {"what": object()}):
            with pytest.raises(InvalidValue):
                workers.beat(tx, worker="w", session="s", state="ready", facts=facts)
        with pytest.raises(InvalidValue):
            leases.take(tx, "\ud800", "holder", 1)
        (job,) = jobs.submit(tx, [new_job()])
    assert look(ledger, job.id) == job


def test_a_snapshot_cannot_write_and_does_not_move(ledger: Ledger) -> None:
    """What others commit meanwhile is not seen in it."""
    with ledger.read() as tx:
        assert jobs.counts(tx) == {}
        enter(ledger)
        assert jobs.counts(tx) == {}
        with pytest.raises(LedgerError, match=r"(?i)read-?only"):
            jobs.submit(tx, [new_job()])
    with ledger.read() as tx:
        assert sum(jobs.counts(tx).values()) == 1
