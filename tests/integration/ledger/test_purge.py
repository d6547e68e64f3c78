"""A purge erases what a job said, keeps what it was, and touches nobody else's texts."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ledger import (
    ChordPart,
    Job,
    JobInUse,
    Ledger,
    ManualClock,
    Purged,
    State,
    bodies,
    chords,
    jobs,
    purge,
    receipts,
    reviews,
    samples,
)
from ledger.log_tables import uploads
from ledger.tables import metadata
from tests.integration.ledger.support import (
    begin,
    commit,
    enter,
    job_in,
    look,
    new_job,
    receipt_of,
    run,
    sample,
    take,
)

INPUT, OUTPUT = ("sha256:" + digit * 64 for digit in "ab")
SECRET = "SECRET"


def erase(ledger: Ledger, job_id: str, **options: Any) -> Purged | None:
    """Purge with a receipt's hashes."""
    with ledger.write() as tx:
        given = {"input_hash": INPUT, "output_hash": OUTPUT, **options}
        return purge.purge(tx, job_id, **given)


def answered(ledger: Ledger, *, told: bool = True, secret: str = SECRET, **columns: Any) -> Job:
    """A job that has said a secret everywhere where it can."""
    text = secret.encode()
    given = {"request": b'{"prompt":"%s"}' % text, "canvas": {"chain": [secret]}, **columns}
    job = run(ledger, begin(ledger, str(uuid.uuid4())), **given)
    with ledger.write() as tx:
        drawn = [
            sample(job, index, text=f"{secret} {index}", answer_class=secret) for index in range(2)
        ]
        assert all(samples.add_many(tx, drawn))
    report = b'{"salt":"%s"}' % text
    done = commit(
        ledger,
        job,
        review=True,
        result=b'{"answer":"%s"}' % text,
        output=text,
        report=report,
        receipt=receipt_of(job.id, report),
    )
    assert done
    if told:
        with ledger.write() as tx:
            jobs.mark_delivered(tx, [job.id])
    return look(ledger, job.id)


def everything(ledger: Ledger) -> str:
    """All rows of all tables, as text."""
    with ledger.read() as tx:
        rows = [row for table in metadata.sorted_tables for row in tx.rows(sa.select(table))]
    return "\n".join(map(str, rows))


def test_no_text_is_left_and_the_row_and_the_receipt_are(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Request, samples, answer, result, report, canvas, the review's classes."""
    job = answered(ledger)
    with ledger.read() as tx:
        receipt, history = receipts.get(tx, job.id), jobs.history(tx, job.id)
    assert SECRET in everything(ledger)
    clock.advance(5)

    assert erase(ledger, job.id) == Purged(job_id=job.id, erased=6)

    assert SECRET not in everything(ledger)
    row = look(ledger, job.id)
    expected = replace(
        job,
        canvas=None,
        request_digest=INPUT,
        output_digest=OUTPUT,
        result_digest=None,
        report_digest=None,
        purged_at=clock.now,
    )
    assert expected == row
    with ledger.read() as tx:
        assert (receipt, history) == (receipts.get(tx, job.id), jobs.history(tx, job.id))
        assert [] == samples.of(tx, job.id)
        review = reviews.get(tx, job.id)
    assert review is not None
    assert (["low agreement"], []) == (review.reasons, review.classes)


def test_no_bare_digest_of_a_text_is_left(ledger: Ledger) -> None:
    """A short text could be found by trying."""
    job = answered(ledger)
    guessed = [bodies.digest_of(text) for text in (b'{"prompt":"SECRET"}', b"SECRET", b"SECRET 0")]
    assert all(digest in everything(ledger) for digest in guessed)

    erase(ledger, job.id)

    assert not any(digest in everything(ledger) for digest in guessed)


def test_a_second_purge_does_nothing(ledger: Ledger, clock: ManualClock) -> None:
    """And says when the first one was."""
    job = answered(ledger)
    erase(ledger, job.id)
    row, first = look(ledger, job.id), clock.now
    clock.advance(5)

    again = erase(ledger, job.id, input_hash=None)

    assert Purged(job_id=job.id, before=first) == again
    assert row == look(ledger, job.id)


def test_what_other_jobs_use_stays(ledger: Ledger) -> None:
    """The same request, the same sample, the same answer: each counts for itself."""
    mine, other = answered(ledger), answered(ledger, told=False)

    assert Purged(job_id=mine.id, shared=6) == erase(ledger, mine.id)

    with ledger.read() as tx:
        assert b'{"prompt":"SECRET"}' == jobs.request(tx, other.id)
        assert 2 == len(samples.of(tx, other.id))
        assert b"SECRET" == bodies.get(tx, other.output_digest or "")
        assert [] == samples.of(tx, mine.id)
    with ledger.write() as tx:
        jobs.mark_delivered(tx, [other.id])
    assert Purged(job_id=other.id, erased=6) == erase(ledger, other.id)


def test_what_only_purged_jobs_have_had_goes(ledger: Ledger) -> None:
    """The receipt of one that was not sensitive has the bare digests, and so has its row."""
    first, second = answered(ledger), answered(ledger)
    for job, left in ((first, 6), (second, 0)):
        hashes = {"input_hash": job.request_digest, "output_hash": job.output_digest}
        purged = erase(ledger, job.id, **hashes)
        assert Purged(job_id=job.id, erased=6 - left, shared=left) == purged
    with ledger.read() as tx:
        assert bodies.get(tx, bodies.digest_of(SECRET.encode())) is None
        assert bodies.get(tx, first.request_digest) is None


def test_what_another_is_about_to_use_stays(ledger: Ledger) -> None:
    """A job that is being entered at this moment has found its request stored already."""
    job = answered(ledger)
    purged: list[Purged | None] = []
    purging = threading.Thread(target=lambda: purged.append(erase(ledger, job.id)))
    with ledger.write() as tx:
        other = jobs.submit(tx, [new_job(request=b'{"prompt":"SECRET"}')])[0]
        tx.flush()
        purging.start()
        purging.join(0.3)
        assert [] == purged
    purging.join(10)

    assert [Purged(job_id=job.id, erased=5, shared=1)] == purged
    with ledger.read() as tx:
        assert b'{"prompt":"SECRET"}' == jobs.request(tx, other.id)


def test_a_job_without_a_receipt_has_a_digest_that_tells_nothing(ledger: Ledger) -> None:
    """Its error keeps its code and no word of the text."""
    error = {"code": "TOO_LONG", "message": SECRET, "details": {"got": SECRET}, "retriable": True}
    with ledger.write() as tx:
        job = jobs.refuse(tx, new_job(request=b"SECRET"), error)
        jobs.mark_delivered(tx, [job.id])
        jobs.count_delivery(tx, job.id, error=SECRET)

    purged = erase(ledger, job.id, input_hash=None, output_hash=None)

    assert Purged(job_id=job.id, erased=1) == purged
    row = look(ledger, job.id)
    assert row.error is not None
    assert ("TOO_LONG", True, {}) == tuple(
        row.error[name] for name in ("code", "retriable", "details")
    )
    assert bodies.digest_of(b"SECRET") != row.request_digest
    assert len(INPUT) == len(row.request_digest)
    assert SECRET not in everything(ledger)


@pytest.mark.parametrize("state", [State.SCHEDULED, State.QUEUED])
def test_a_job_that_has_not_ended_is_refused(ledger: Ledger, state: State) -> None:
    """By force too."""
    job = job_in(ledger, state, begin(ledger))

    for force in (False, True):
        with pytest.raises(JobInUse, match=f"is {state}; only a job that has ended"):
            erase(ledger, job.id, force=force)
    assert job == look(ledger, job.id)


def test_a_running_job_is_refused(ledger: Ledger) -> None:
    """Its worker would write its texts again."""
    job = run(ledger, begin(ledger))

    with pytest.raises(JobInUse, match="is running"):
        erase(ledger, job.id, force=True)


def test_a_job_whose_end_nobody_was_told_is_refused_but_by_force(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Its callbacks are in the row; by force they are never sent."""
    job = answered(ledger, told=False)

    with pytest.raises(JobInUse, match="its end has not been delivered yet"):
        erase(ledger, job.id)
    assert job == look(ledger, job.id)

    assert Purged(job_id=job.id, erased=6) == erase(ledger, job.id, force=True)
    assert clock.now == look(ledger, job.id).delivered_at
    with ledger.read() as tx:
        assert [] == jobs.undelivered(tx)


def test_a_part_of_an_unfinished_chord_is_refused_but_by_force(ledger: Ledger) -> None:
    """The chord's body needs its answer."""
    job = answered(ledger)
    part = ChordPart(id=job.id, index=0, state="FAILURE", result=SECRET)
    with ledger.write() as tx:
        chords.add(tx, "group-1", part)

    with pytest.raises(JobInUse, match="a chord waits for its other parts"):
        erase(ledger, job.id)

    assert Purged(job_id=job.id, erased=6) == erase(ledger, job.id, force=True)
    with ledger.read() as tx:
        assert [replace(part, result=None)] == chords.parts(tx, "group-1")


def test_a_leader_whose_samples_are_awaited_is_refused_but_by_force(ledger: Ledger) -> None:
    """The job that shares its execution would draw by itself, and say that it had not."""
    session = begin(ledger)
    request = b'{"prompt":"SECRET"}'
    leader = run(ledger, session, request=request, dedupe=True)
    follower = enter(ledger, request=request, dedupe=True)
    assert leader.id == follower.follows
    with ledger.write() as tx:
        assert all(samples.add_many(tx, [sample(leader, text=SECRET)]))
    assert commit(ledger, leader)
    with ledger.write() as tx:
        jobs.mark_delivered(tx, [leader.id])
        jobs.release_followers(tx)

    with pytest.raises(JobInUse, match=f"job {follower.id} shares its execution"):
        erase(ledger, leader.id)
    taken = take(ledger, follower.id, session)

    assert Purged(job_id=leader.id, erased=3, shared=2) == erase(ledger, leader.id)
    with ledger.read() as tx:
        assert [SECRET] == [one.text for one in samples.of(tx, taken.id)]
        assert request == jobs.request(tx, taken.id)
    assert commit(ledger, taken)


def test_a_leader_that_was_purged_by_force_leaves_its_followers_the_request(ledger: Ledger) -> None:
    """They draw by themselves."""
    session = begin(ledger)
    leader = run(ledger, session, dedupe=True)
    follower = enter(ledger, dedupe=True)
    with ledger.write() as tx:
        assert all(samples.add_many(tx, [sample(leader)]))
    assert commit(ledger, leader)

    assert erase(ledger, leader.id, force=True)
    with ledger.write() as tx:
        (released,) = jobs.release_followers(tx)
    taken = take(ledger, follower.id, session)

    assert released.id == taken.id
    with ledger.read() as tx:
        assert [] == samples.of(tx, taken.id)
        assert jobs.request(tx, taken.id) is not None


@pytest.mark.parametrize("job_id", ["unknown", "nul\0", "\ud800"])
def test_an_unknown_job_is_none(ledger: Ledger, job_id: str) -> None:
    """Whatever is asked for."""
    assert erase(ledger, job_id) is None


@pytest.mark.parametrize(
    ("state", "rows", "published"),
    [("pending", 0, False), ("refused", 0, False), ("done", 1, True)],
)
def test_what_waits_to_be_published_is_never_published(
    ledger: Ledger, state: str, rows: int, published: bool
) -> None:
    """What has been, is told; the ciphertext goes in either case."""
    job = answered(ledger)
    with ledger.write() as tx:
        digest = bodies.put(tx, b"ciphertext of SECRET")
        tx.flush()
        tx.execute(sa.insert(uploads), [_upload("bafy-mine", digest, state, tx.now)])
        tx.execute(sa.insert(uploads), [_upload("bafy-other", job.request_digest, state, tx.now)])

    purged = erase(ledger, job.id, cids=["bafy-mine"])

    assert Purged(job_id=job.id, erased=6, shared=1, published=published) == purged
    with ledger.read() as tx:
        left = tx.rows(sa.select(uploads.c.cid).where(uploads.c.cid == "bafy-mine"))
        assert (rows, None) == (len(left), bodies.get(tx, digest))


@pytest.mark.parametrize(
    ("state", "tries", "uploading", "perhaps"),
    [
        ("pending", 0, False, False),
        ("pending", 0, True, True),
        ("pending", 1, False, True),
        ("refused", 3, False, True),
        ("refused", 0, True, False),
        ("done", 1, True, False),
    ],
)
def test_what_may_have_been_published_is_told(
    ledger: Ledger, state: str, tries: int, *, uploading: bool, perhaps: bool
) -> None:
    """An upload under way has read the report; one that failed may have arrived all the same."""
    job = answered(ledger)
    with ledger.write() as tx:
        digest = bodies.put(tx, b"ciphertext of SECRET")
        tx.flush()
        mine = _upload("bafy-mine", digest, state, tx.now, tries=tries)
        other = _upload("bafy-other", job.request_digest, "pending", tx.now, tries=9)
        tx.execute(sa.insert(uploads), [mine, other])

    purged = erase(ledger, job.id, cids=["bafy-mine"], uploading=uploading)

    assert purged is not None
    assert (perhaps, state == "done") == (purged.perhaps, purged.published)


def _upload(cid: str, digest: str, state: str, now: float, *, tries: int = 0) -> Mapping[str, Any]:
    told = {"cid": cid, "kind": "report", "body_digest": digest, "profile": "unixfs-v0-2015"}
    return {**told, "state": state, "tries": tries, "next_at": now, "created_at": now}


def test_on_sqlite_freed_pages_are_overwritten(sqlite_url: str, clock: ManualClock) -> None:
    """After a checkpoint the file itself holds the text no more."""
    with Ledger.open(sqlite_url, clock=clock) as ledger:
        job = answered(ledger, secret="UNMISTAKABLE")
        enter(ledger)
        erase(ledger, job.id)
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()

    assert b"UNMISTAKABLE" not in path.read_bytes()
