"""One process counts, another goes on where it stopped, and the figures are true."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from itertools import accumulate

import pytest

from ledger import (
    Ledger,
    LedgerError,
    ManualClock,
    bookmarks,
    events,
    jobs,
    leases,
    samples,
    totals,
    workers,
)
from monitoring import tally
from monitoring.follower import BATCHES, LEASE, LEASE_S, Follower, _Standing
from monitoring.metrics import ATTEMPT_BUCKETS, JOB_BUCKETS, PREFIX, STATUSES
from monitoring.tally import Total
from tests.counters import assert_counters_equal_ledger
from tests.integration.ledger.counters import Interrupted
from tests.integration.ledger.support import (
    ERROR,
    begin,
    commit,
    enter,
    new_job,
    receipt_of,
    run,
    sample,
    take,
)

SPINE = "queenbee-spine"


def value(follower: Follower, name: str, *labels: str) -> float:
    """What one series shows."""
    return follower.totals[PREFIX + name, labels].value


def counted_whole(ledger: Ledger) -> Follower:
    """A follower that has counted everything."""
    follower = Follower(ledger, holder="f")
    while follower.advance():
        pass
    return follower


def test_a_failure_is_seen_because_its_series_was_there(ledger: Ledger) -> None:
    """At 0 for each known model and status; one that nobody knows comes with its first job."""
    follower = Follower(ledger, holder="f", models=["small-one"])
    assert {} == follower.totals
    assert 0 == follower.advance()
    before = follower.totals
    assert {0} == {value(follower, "jobs_total", status, "small-one") for status in STATUSES}
    assert (PREFIX + "jobs_total", ("failed", SPINE)) not in before
    session = begin(ledger)
    for model in ("small-one", SPINE):
        job = run(ledger, session, model=model)
        with ledger.write() as tx:
            assert jobs.fail(tx, job_id=job.id, fence=1, error=ERROR)

    assert 6 == follower.advance()

    assert 1 == value(follower, "jobs_total", "failed", "small-one")
    assert 1 == value(follower, "jobs_total", "failed", SPINE)
    assert 0 == value(follower, "jobs_total", "dead", SPINE)
    assert 0 == before[PREFIX + "jobs_total", ("failed", "small-one")].value
    assert_counters_equal_ledger(ledger, models=["small-one"])


def test_what_is_counted_agrees_with_the_rows(ledger: Ledger, clock: ManualClock) -> None:
    """Of jobs in every state, of several priorities, with samples and crashes."""
    session = begin(ledger)
    for priority in (0, 3, 7, 9):
        enter(ledger, priority=priority)
        enter(ledger, priority=priority, not_before=2e9)
        job = run(ledger, session, priority=priority)
        with ledger.write() as tx:
            samples.add_many(tx, [sample(job, 0), sample(job, 1, valid=False)])
        clock.advance(1)
        assert commit(ledger, job, review=priority > 3)
    lost = run(ledger, session)
    with ledger.write() as tx:
        jobs.refuse(tx, new_job(model="never heard of"), ERROR)
        jobs.cancel(tx, job_id=lost.id, reason="asked")
    canary = enter(ledger, origin="canary")
    clock.advance(2)
    assert commit(ledger, take(ledger, canary.id, session))

    assert_counters_equal_ledger(ledger)

    follower = counted_whole(ledger)
    assert 2 == value(follower, "low_confidence_streak_jobs", SPINE)
    assert 1 == value(follower, "jobs_total", "failed", "other")
    assert 4 == value(follower, "jobs_total", "succeeded", SPINE)
    assert 2 == value(follower, "canary_duration_seconds", SPINE)
    assert canary.created_at + 2 == value(follower, "canary_last_success_timestamp_seconds", SPINE)


def test_a_total_that_is_wrong_is_found_out(ledger: Ledger) -> None:
    """The comparison with the rows can fail."""
    session = begin(ledger)
    assert commit(ledger, run(ledger, session))
    counted_whole(ledger).release()
    with ledger.write() as tx:
        ended = f"{PREFIX}jobs_total"
        (row,) = [row for row in totals.read(tx) if row.metric == ended]
        totals.write(tx, [type(row)(metric=ended, labels=row.labels, value=2)])
    with pytest.raises(AssertionError, match=r"jobs_total.* is 2"):
        assert_counters_equal_ledger(ledger)


def test_a_second_follower_waits_and_then_goes_on(ledger: Ledger, clock: ManualClock) -> None:
    """Where the first one stopped, as soon as that one lets go or is not heard of any more."""
    first, second = Follower(ledger, holder="first"), Follower(ledger, holder="second")
    enter(ledger)
    assert (1, 0) == (first.advance(), second.advance())
    assert (True, False) == (first.leads, second.leads)
    enter(ledger)
    first.release()
    assert not first.leads
    assert (1, 0) == (second.advance(), first.advance())
    assert 2 == value(second, "queue_length", SPINE)
    enter(ledger)
    clock.advance(LEASE_S + 1)
    assert (1, 0) == (first.advance(), second.advance())
    assert 3 == value(first, "queue_length", SPINE)
    assert (True, False) == (first.leads, second.leads)


def test_who_lost_the_lease_while_it_counted_writes_nothing(
    ledger: Ledger, clock: ManualClock
) -> None:
    """It was stopped for long; another one has counted meanwhile, or only has the lease."""
    slow, other = Interrupted(ledger, holder="slow"), Follower(ledger, holder="other")
    assert 0 == slow.advance()

    def lose() -> None:
        clock.advance(LEASE_S + 1)
        with ledger.write() as tx:
            assert leases.take(tx, LEASE, "other", LEASE_S)

    enter(ledger)
    slow.meanwhile = lose
    assert 0 == slow.advance()
    assert not slow.leads
    with ledger.read() as tx:
        assert [] == totals.read(tx)
    assert 1 == other.advance()
    assert 1 == value(other, "queue_length", SPINE)


def test_who_was_overtaken_goes_on_from_there(ledger: Ledger) -> None:
    """Of two under one name, whom no lease keeps apart."""
    slow, quick = Interrupted(ledger, holder="f"), Follower(ledger, holder="f")
    enter(ledger)
    slow.meanwhile = quick.advance
    assert 0 == slow.advance()
    assert 1 == value(slow, "queue_length", SPINE) == value(quick, "queue_length", SPINE)
    enter(ledger)
    assert (1, 0) == (slow.advance(), quick.advance())
    assert 2 == value(slow, "queue_length", SPINE) == value(quick, "queue_length", SPINE)


@pytest.mark.parametrize("written", [False, True], ids=["not written", "written"])
def test_an_error_neither_loses_nor_doubles(ledger: Ledger, written: bool) -> None:
    """Whether the batch had been written before it or not."""

    class Unsure(Follower):
        away = True

        def _write(self, old: _Standing, new: _Standing) -> None:
            if written or not self.away:
                super()._write(old, new)
            if self.away:
                raise LedgerError("It is away.", suggested_action="Wait.")

    follower = Unsure(ledger, holder="f")
    enter(ledger)
    with pytest.raises(LedgerError):
        follower.advance()
    assert (PREFIX + "queue_length", (SPINE,)) not in follower.totals
    follower.away = False
    assert (0 if written else 1) == follower.advance()
    assert 1 == value(follower, "queue_length", SPINE)


def test_the_lag_is_what_is_left_to_count(ledger: Ledger, clock: ManualClock) -> None:
    """One call counts so much and no more, moves and events alike."""
    follower = Follower(ledger, holder="f", batch=2)
    for _ in range(2 * BATCHES + 3):
        clock.advance(0.001)
        enter(ledger)
    with ledger.write() as tx:
        for _ in range(2 * BATCHES + 1):
            events.add(tx, kind="worker_started", subject="w", details={})
    assert (4 * BATCHES, 4) == (follower.advance(), follower.lag)
    assert (4, 0) == (follower.advance(), follower.lag)
    assert (0, 0) == (follower.advance(), follower.lag)
    assert 2 * BATCHES + 1 == value(follower, "worker_starts_total", "w")
    assert 0 == value(follower, "worker_stale_total", "w")


def test_what_was_counted_of_a_forgotten_worker_is_nobodys(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are gone, its sums are not; and so does whoever counts next show it."""

    def started(follower: Follower) -> dict[str, float]:
        name = f"{PREFIX}worker_starts_total"
        return {
            labels[0]: t.value for (metric, labels), t in follower.totals.items() if metric == name
        }

    def begin_one(name: str, state: str = "idle") -> None:
        with ledger.write() as tx:
            workers.beat(tx, worker=name, session="s", state=state, facts={})
            events.add(tx, kind="worker_started", subject=name, details={})

    begin_one("a")
    begin_one("b")
    follower = counted_whole(ledger)
    assert {"a": 1, "b": 1} == started(follower)
    with ledger.write() as tx:
        assert workers.forget(tx, "a")
    follower.advance()
    assert {"forgotten": 1, "b": 1} == started(follower)
    assert (PREFIX + "worker_stale_total", ("a",)) not in follower.totals
    follower.release()
    assert {"forgotten": 1, "b": 1} == started(counted_whole(ledger))
    with ledger.read() as tx:
        assert {"b", "forgotten"} == {row.labels[0] for row in totals.read(tx)}

    monkeypatch.setattr(tally, "MAX_WORKERS", 2)
    begin_one("b", "stopped")
    begin_one("c")
    begin_one("d")
    assert {"forgotten": 3, "c": 1, "d": 1} == started(counted_whole(ledger))


def test_nothing_is_written_when_nothing_is_new(ledger: Ledger, clock: ManualClock) -> None:
    """Only the lease, now and then."""
    enter(ledger)
    follower = Follower(ledger, holder="f")
    assert 1 == follower.advance()
    clock.advance(5)
    shown = follower.totals
    assert 0 == follower.advance()
    assert shown is follower.totals
    with ledger.read() as tx:
        bookmark = bookmarks.get(tx, "metrics.moves")
    assert bookmark is not None
    assert clock.now - 5 == bookmark.at


def test_histograms_tell_the_truth(sqlite_url: str, clock: ManualClock) -> None:
    """A thousand jobs of known durations: the right bucket for each quantile, and the exact sum."""
    chance = random.Random(7)
    # In groups that are claimed at once; each job has a run of its own.
    waits = [wait for _ in range(40) for wait in [chance.lognormvariate(1.0, 1.2)] * 25]
    runs = [chance.lognormvariate(2.0, 1.0) for _ in range(1_000)]
    with Ledger.open(sqlite_url, clock=clock) as ledger:
        lived, ran = _live(ledger, clock, waits, runs)
        follower = counted_whole(ledger)
    ended = follower.totals[f"{PREFIX}job_duration_seconds", (SPINE, "succeeded")]
    inference = follower.totals[f"{PREFIX}inference_duration_seconds", (SPINE,)]

    for total, values, buckets in (
        (ended, lived, JOB_BUCKETS),
        (inference, ran, ATTEMPT_BUCKETS),
    ):
        assert 1_000 == len(values) == sum(total.counts)
        assert math.isclose(total.value, sum(values), rel_tol=1e-3)
        for share in (0.5, 0.95, 0.99):
            assert _bucket_of(total, share) == bisect_left(buckets, _quantile(values, share))


def _live(
    ledger: Ledger, clock: ManualClock, waits: list[float], runs: list[float]
) -> tuple[list[float], list[float]]:
    """Let each job wait and run for so long; gives how long each lived and ran, as it was told."""
    began = clock.now
    with ledger.write() as tx:
        entered = jobs.submit(tx, [new_job() for _ in waits])
    moments = sorted(
        [(wait, -1) for wait in set(waits)]
        + [(wait + ran, at) for at, (wait, ran) in enumerate(zip(waits, runs, strict=True))]
    )
    session, claimed = begin(ledger), dict.fromkeys(waits, 0.0)
    lived, ran = [], []
    for moment, at in moments:
        clock.now = began + moment
        with ledger.write() as tx:
            if at < 0:
                claimed[moment] = clock.now
                for job, wait in zip(entered, waits, strict=True):
                    if wait == moment:
                        jobs.claim(tx, session=session, job_id=job.id, number=1)
                continue
            assert jobs.commit(
                tx,
                job_id=entered[at].id,
                fence=1,
                result=b"{}",
                report=b"{}",
                receipt=receipt_of(entered[at].id),
                confidence=0.8,
                k=1,
                rounds=1,
            )
        lived.append(clock.now - began)
        ran.append(clock.now - claimed[waits[at]])
    return lived, ran


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _bucket_of(total: Total, share: float) -> int:
    """The bucket in which so large a share of the values has come together."""
    return bisect_left([*accumulate(total.counts)], math.ceil(share * sum(total.counts)))
