"""What a follower shows was so at some moment, wherever its pages end; on both stores."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from ledger import Claim, Ledger, ManualClock, Transaction, events, jobs
from monitoring import follower as module
from monitoring.follower import Follower
from monitoring.metrics import PREFIX
from tests.counters import assert_counters_equal_ledger
from tests.integration.ledger.support import begin, new_job

SPINE = "queenbee-spine"
AS_IT_WAS = [(4, 0), (3, 1), (2, 2)]
"""How many are queued, and how many run, after each transaction."""


def current(follower: Follower) -> tuple[float, float]:
    """Jobs that are shown as queued, and as running."""
    found = {"queued": 0.0, "running": 0.0}
    for (name, labels), total in follower.totals.items():
        if name == f"{PREFIX}jobs_current" and labels[1] in found:
            found[labels[1]] += total.value
    return found["queued"], found["running"]


class Watched(Follower):
    """Keeps what it showed after each page."""

    def __init__(self, ledger: Ledger, *, batch: int) -> None:
        super().__init__(ledger, holder="f", batch=batch)
        self.shown: list[tuple[float, float]] = []

    def _advance(self) -> tuple[int, bool]:
        found = super()._advance()
        self.shown.append(current(self))
        return found


def claim(tx: Transaction, session: str, job_id: str) -> None:
    """Have a job claimed in a transaction."""
    taken = jobs.claim(tx, session=session, job_id=job_id, number=1)
    assert isinstance(taken, Claim), taken


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_a_transaction_is_shown_whole_or_not_at_all(
    ledger: Ledger, clock: ManualClock, batch: int
) -> None:
    """However small the pages are; nothing is left out."""
    session = begin(ledger)
    with ledger.write() as tx:
        made = [job.id for job in jobs.submit(tx, [new_job() for _ in range(4)])]
    for number in range(2):
        clock.advance(1)
        with ledger.write() as tx:
            claim(tx, session, made[number])
    follower = Watched(ledger, batch=batch)
    while follower.advance():
        pass
    seen = [shown for shown in follower.shown if shown != (0, 0)]
    assert set(seen) <= set(AS_IT_WAS)
    assert seen[-1] == AS_IT_WAS[-1]
    assert_counters_equal_ledger(ledger)


def test_a_transaction_without_an_end_is_shown_in_part(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than never, and no page grows without bounds."""
    monkeypatch.setattr(module, "LONGEST", 2)
    with ledger.write() as tx:
        jobs.submit(tx, [new_job() for _ in range(11)])
    follower = Watched(ledger, batch=2)
    assert 11 == follower.advance()
    assert [4, 8, 11] == [queued for queued, _ in follower.shown][:3]


@pytest.fixture
def another(postgres_url: str) -> Iterator[Ledger]:
    """The PostgreSQL ledger by its own clock, for several writers."""
    opened = Ledger.open(postgres_url)
    yield opened
    opened.close()


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_no_job_is_counted_out_of_a_state_before_it_was_counted_into_it(
    another: Ledger, batch: int
) -> None:
    """On PostgreSQL the claim has the lower number, for its transaction began first."""
    session = begin(another)
    follower = Watched(another, batch=batch)
    with another.write() as early:
        # So that it has its number before the job's.
        events.add(early, kind="some_kind", subject="s", details={})
        with another.write() as late:
            (job,) = jobs.submit(late, [new_job()])
        claim(early, session, job.id)
    while follower.advance():
        pass
    assert set(follower.shown) <= {(0, 0), (0, 1)}
    assert (0, 1) == current(follower)
    assert_counters_equal_ledger(another)


def test_a_move_waits_for_the_one_before_it_which_no_reader_sees_yet(another: Ledger) -> None:
    """A third transaction that still runs hides the job's entry, and not the claim of it."""
    session = begin(another)
    follower = Watched(another, batch=10)
    open_now, finish = threading.Event(), threading.Event()

    def hold() -> None:
        with another.write() as tx:
            events.add(tx, kind="some_kind", subject="s", details={})
            open_now.set()
            assert finish.wait(30)

    thread = threading.Thread(target=hold)
    with another.write() as early:
        events.add(early, kind="some_kind", subject="s", details={})
        thread.start()
        assert open_now.wait(30)
        with another.write() as late:
            (job,) = jobs.submit(late, [new_job()])
        claim(early, session, job.id)
    follower.advance()
    held = (current(follower), follower.lag)
    finish.set()
    thread.join()
    while follower.advance():
        pass
    assert ((0, 0), 1) == held
    assert ((0, 1), 0) == (current(follower), follower.lag)
    assert set(follower.shown) <= {(0, 0), (0, 1)}
