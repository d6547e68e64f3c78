"""What only a server can do to us: other writers at the same row, lost connections, a restart."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ledger import (
    Claim,
    Ledger,
    LedgerBusy,
    LedgerUnavailable,
    State,
    Transaction,
    bodies,
    jobs,
    sessions,
)
from tests.integration.ledger.support import ERROR, begin, commit, enter, look, new_job, run
from tests.postgres import PostgresServer, find_binaries


@pytest.fixture
def opened(postgres_url: str) -> Iterator[Ledger]:
    """A PostgreSQL ledger with the server's own clock."""
    ledger = Ledger.open(postgres_url)
    yield ledger
    ledger.close()


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """What several threads give that start together."""
    results: list[Any] = [None] * len(actions)
    ready = threading.Barrier(len(actions))

    def act(number: int) -> None:
        ready.wait()
        try:
            results[number] = actions[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=act, args=(number,)) for number in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_a_commit_is_on_the_servers_disk(postgres_server: PostgresServer) -> None:
    """Even where the server is set to answer earlier."""
    name = postgres_server.create_database()
    postgres_server.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    ledger = Ledger.open(postgres_server.url(name), migrate=True)
    with ledger.write() as tx:
        assert tx.execute(sa.text("SHOW synchronous_commit")).scalar_one() == "on"
        assert tx.execute(sa.text("SHOW lock_timeout")).scalar_one() == "10s"
    ledger.close()


def test_the_servers_clock_is_the_clock(opened: Ledger) -> None:
    """Read once per transaction, for times and for leases."""
    with opened.write() as tx:
        before = tx.now
        tx.execute(sa.text("SELECT pg_sleep(0.01)"))
        assert tx.now == before == tx.lease_now
        assert tx.boot_id is None
    with opened.write() as tx:
        assert tx.now > before


def test_claimers_at_once_have_one_winner(opened: Ledger) -> None:
    """Of eight, ten times over."""
    names = [begin(opened, f"worker-{number}") for number in range(8)]
    for _ in range(10):
        job = enter(opened)

        def claim(session: str, job_id: str = job.id) -> bool:
            with opened.write() as tx:
                return isinstance(jobs.claim(tx, session=session, job_id=job_id, number=1), Claim)

        won = at_once(*(lambda name=name: claim(name) for name in names))
        assert sorted(won) == [False] * 7 + [True]
        assert look(opened, job.id).fence == 1


def test_a_session_that_is_being_closed_takes_no_more_jobs(opened: Ledger) -> None:
    """A claim either comes first and is handed back, or is refused; none is left behind."""
    for number in range(15):
        session = begin(opened, f"worker-{number}")
        made = [enter(opened) for _ in range(3)]

        def claim(job_id: str, session: str = session) -> object:
            with opened.write() as tx:
                return jobs.claim(tx, session=session, job_id=job_id, number=1)

        def close(session: str = session) -> object:
            with opened.write() as tx:
                return sessions.close(tx, session, crashed=False, reason="drain")

        results = at_once(close, *(lambda job=job: claim(job.id) for job in made))
        assert not [result for result in results if isinstance(result, Exception)]
        assert [look(opened, job.id).state for job in made] == [State.QUEUED] * 3


def test_one_session_never_gets_two_suspects_at_once(opened: Ledger) -> None:
    """Not even from two threads."""
    for number in range(10):
        crashing = begin(opened, f"crashing-{number}")
        suspects = [run(opened, crashing) for _ in range(2)]
        with opened.write() as tx:
            sessions.close(tx, crashing, crashed=True, reason="died")
        session = begin(opened, f"worker-{number}")

        def claim(job_id: str, session: str = session) -> bool:
            with opened.write() as tx:
                return isinstance(jobs.claim(tx, session=session, job_id=job_id, number=2), Claim)

        won = at_once(*(lambda job=job: claim(job.id) for job in suspects))
        assert sorted(won) == [False, True]


def test_a_worker_id_is_given_to_one_of_two_at_once(opened: Ledger) -> None:
    """The other hears whose it is."""
    for number in range(10):

        def start(worker: str = f"worker-{number}") -> str:
            return begin(opened, worker)

        results = at_once(start, start)
        assert sorted(isinstance(result, str) for result in results) == [False, True]


def test_two_who_submit_the_same_jobs_at_once_get_the_same(opened: Ledger) -> None:
    """Each job is created once, whatever the order in which they name them."""
    new = [new_job(idempotency_key=f"key-{number}") for number in range(50)]

    def submit(batch: list[Any]) -> list[bool]:
        with opened.write() as tx:
            return [job.created for job in jobs.submit(tx, batch)]

    first, second = at_once(lambda: submit(new), lambda: submit(new[::-1]))
    assert [a != b for a, b in zip(first, second[::-1], strict=True)] == [True] * 50


def test_writers_of_the_same_answers_do_not_end_each_other(opened: Ledger) -> None:
    """Bodies are written in one order everywhere."""

    for number in range(10):

        def write(step: int, number: int = number) -> None:
            with opened.write() as tx:
                for index in range(30)[::step]:
                    bodies.put(tx, b"%d-%d" % (number, index))

        assert at_once(partial(write, 1), partial(write, -1)) == [None, None]


def test_sweeps_of_two_reconcilers_do_not_wait_for_each_other(opened: Ledger) -> None:
    """A row in other hands is left for the next time."""
    made = [enter(opened, deadline=1.0) for _ in range(4)]
    with opened.write() as tx:
        jobs.cancel(tx, job_id=made[0].id, reason="asked")
        with opened.write() as other:
            swept = jobs.expire_due(other)
    assert {job.id for job in swept} == {job.id for job in made[1:]}


def test_two_reconcilers_at_once_release_each_follower_once(opened: Ledger) -> None:
    """All of a success, and one heir of a failure, whom the others follow."""
    session = begin(opened)
    for number in range(10):
        leader = run(opened, session, dedupe=True)
        made = {enter(opened, dedupe=True).id for _ in range(4)}
        if number % 2:
            commit(opened, leader)
        else:
            with opened.write() as tx:
                jobs.fail(tx, job_id=leader.id, fence=leader.fence, error=ERROR)

        def release() -> list[str]:
            with opened.write() as tx:
                return [job.id for job in jobs.release_followers(tx)]

        first, second = at_once(release, release)
        released = sorted([*first, *second])
        assert released == sorted(made) if number % 2 else len(released) == 1
        led = {look(opened, job_id).follows for job_id in made}
        assert led == ({leader.id} if number % 2 else {None, *released})
        with opened.write() as tx:
            for job_id in made:
                jobs.cancel(tx, job_id=job_id, reason="asked")


def test_writers_in_a_ring_are_told_to_try_again(opened: Ledger) -> None:
    """One is ended by the server, the other goes on."""
    first, second = enter(opened), enter(opened)
    met = threading.Barrier(2)

    def cancel(one: str, other: str) -> None:
        with opened.write() as tx:
            jobs.cancel(tx, job_id=one, reason="asked")
            met.wait(20)
            jobs.cancel(tx, job_id=other, reason="asked")

    results = at_once(lambda: cancel(first.id, second.id), lambda: cancel(second.id, first.id))
    assert [type(result) for result in results if result] == [LedgerBusy]
    assert look(opened, first.id).state == State.CANCELLED


def test_a_server_that_restarts_is_unavailable_and_then_not(tmp_path: Path) -> None:
    """The transaction under way is lost, with an error that may be retried; the next one works."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    home = Path(tempfile.mkdtemp(prefix="honeyflow-pg-"))
    server = PostgresServer(binaries, home)
    try:
        server.start()
        ledger = Ledger.open(server.url(server.create_database()), migrate=True)
        kept = enter(ledger)

        def cut_off() -> None:
            with ledger.write() as tx:
                jobs.submit(tx, [new_job()])
                server.stop()
                jobs.submit(tx, [new_job()])

        with pytest.raises(LedgerUnavailable) as caught:
            cut_off()
        assert caught.value.retriable
        with pytest.raises(LedgerUnavailable):
            enter(ledger)
        server.launch()
        with ledger.read() as tx:
            assert sum(jobs.counts(tx).values()) == 1
        assert look(ledger, kept.id) == kept
        enter(ledger)
        ledger.close()
    finally:
        server.stop()
        shutil.rmtree(home)


def test_a_row_that_is_held_too_long_is_busy(opened: Ledger) -> None:
    """The server's lock timeout is ours."""
    job = enter(opened)

    def cancel_hastily(tx: Transaction) -> None:
        tx.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
        jobs.cancel(tx, job_id=job.id, reason="asked")

    with opened.write() as tx:
        jobs.cancel(tx, job_id=job.id, reason="asked")
        with pytest.raises(LedgerBusy), opened.write() as other:
            cancel_hastily(other)
