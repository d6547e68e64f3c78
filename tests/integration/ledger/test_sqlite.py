"""What SQLite has to keep: settings in force, one winner, nothing lost when a process is killed."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from ledger import (
    Claim,
    Ledger,
    LedgerBusy,
    LedgerDamaged,
    LedgerFull,
    bodies,
    changes,
    jobs,
    sessions,
    sqlite,
)
from tests.integration.ledger.support import begin, enter, look, new_job, open_session


@pytest.fixture
def opened(sqlite_url: str) -> Ledger:
    """A SQLite ledger with the machine's own clock."""
    return Ledger.open(sqlite_url)


@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("auto_vacuum", 2),
        ("foreign_keys", 1),
        ("busy_timeout", 10_000),
        ("application_id", sqlite.APPLICATION_ID),
        ("integrity_check", "ok"),
    ],
)
def test_every_connection_has_the_promised_settings(
    opened: Ledger, pragma: str, value: object
) -> None:
    """Read back from a writer and from a reader: 2 is FULL, and INCREMENTAL."""
    for begun in (opened.write, opened.read):
        with begun() as tx:
            assert tx.execute(sa.text(f"PRAGMA {pragma}")).scalar_one() == value
    opened.close()


def test_a_commit_reaches_the_disk_before_it_returns(
    opened: Ledger, sqlite_url: str, tmp_path: Path
) -> None:
    """The system calls show the sync of the log after the last write to it."""
    code = (
        "import sys; from ledger import Ledger, bodies;"
        "ledger = Ledger.open(sys.argv[1]);\n"
        "with ledger.write() as tx: bodies.put(tx, b'x' * 100)\n"
        "print('committed', flush=True)"
    )
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-y", "-e", "trace=pwrite64,fdatasync,fsync,write", "-o", str(trace)]
    if shutil.which("strace") is None or subprocess.run([*strace, "true"], check=False).returncode:
        pytest.skip("strace is not installed, or may not trace here")
    subprocess.run([*strace, sys.executable, "-c", code, sqlite_url], check=True)
    told = trace.read_text()
    calls = [line for line in told[: told.index("committed")].splitlines() if "-wal" in line]
    assert "sync(" in calls[-1]
    opened.close()


def test_readers_do_not_wait_for_a_writer(opened: Ledger) -> None:
    """They see what was committed before."""
    with opened.write() as tx:
        jobs.submit(tx, [new_job()])
        with opened.read() as other:
            assert jobs.counts(other) == {}
    opened.close()


def test_threads_that_claim_the_same_job_have_one_winner(opened: Ledger) -> None:
    """Of eight."""
    job = enter(opened)
    names = [begin(opened, f"worker-{number}") for number in range(8)]
    won: list[str] = []
    ready = threading.Barrier(8)

    def claim(session: str) -> None:
        ready.wait()
        with opened.write() as tx:
            taken = jobs.claim(tx, session=session, job_id=job.id, number=1)
        if isinstance(taken, Claim):
            won.append(session)

    threads = [threading.Thread(target=claim, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert look(opened, job.id).session == won[0]
    opened.close()


def _claim_all(
    url: str, worker: str, ids: list[str], won: multiprocessing.Queue[list[str]]
) -> None:
    ledger = Ledger.open(url)
    session = begin(ledger, worker)
    mine = []
    for job_id in ids:
        with ledger.write() as tx:
            if isinstance(jobs.claim(tx, session=session, job_id=job_id, number=1), Claim):
                mine.append(job_id)
    won.put(mine)


def test_processes_that_claim_the_same_jobs_share_them_out(opened: Ledger, sqlite_url: str) -> None:
    """Each job is one process's, and none is left."""
    with opened.write() as tx:
        ids = [job.id for job in jobs.submit(tx, [new_job() for _ in range(40)])]
    context = multiprocessing.get_context("spawn")
    won: multiprocessing.Queue[list[str]] = context.Queue()
    arguments = [(sqlite_url, f"worker-{n}", ids, won) for n in range(3)]
    processes = [context.Process(target=_claim_all, args=each) for each in arguments]
    for process in processes:
        process.start()
    shares = [won.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()

    assert sorted(itertools.chain(*shares)) == sorted(ids)
    opened.close()


_WITH_TESTS = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
_WRITER = """
import sys
from ledger import Ledger, jobs
from tests.integration.ledger.support import new_job
ledger = Ledger.open(sys.argv[1])
while True:
    with ledger.write() as tx:
        ids = [job.id for job in jobs.submit(tx, [new_job(), new_job()])]
    sys.stdout.write(" ".join(ids) + "\\n")
    sys.stdout.flush()
"""


def test_a_process_killed_at_any_moment_loses_nothing_it_was_told(
    opened: Ledger, sqlite_url: str
) -> None:
    """Every job whose commit returned is there, whole transactions only, and the file is sound."""
    told: list[str] = []
    for lines in (1, 7, 20):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, sqlite_url],
            stdout=subprocess.PIPE,
            text=True,
            env=_WITH_TESTS,
        )
        assert process.stdout is not None
        for _ in range(lines):
            told += process.stdout.readline().split()
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().split("\n")[0].split()
        process.wait()
        process.stdout.close()

    with opened.read() as tx:
        there = [change.job_id for change in changes.after(tx, 0, 10_000)]
        assert tx.execute(sa.text("PRAGMA integrity_check")).scalar_one() == "ok"
    assert set(told) <= set(there)
    assert len(there) % 2 == 0
    opened.close()


def test_a_writer_that_waits_too_long_is_told_so(
    opened: Ledger, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether another process holds the file or another thread the turn."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
    hasty = Ledger.open(sqlite_url)
    # A ledger of its own has connections of its own, as another process has.
    with opened.write(), pytest.raises(LedgerBusy, match="process is writing") as caught:
        enter(hasty)
    assert (caught.value.retriable, caught.value.http_status) == (True, 503)
    with hasty.write(), pytest.raises(LedgerBusy, match="thread of this process"):
        enter(hasty)
    enter(hasty)
    hasty.close()
    opened.close()


def test_a_thread_that_waits_behind_a_thread_that_waits_blames_the_process(
    opened: Ledger, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread before it holds the turn and no lock."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 1.0)
    waiting = Ledger.open(sqlite_url)
    told: list[str] = []

    def behind() -> None:
        with pytest.raises(LedgerBusy) as caught:
            enter(waiting)
        told.append(str(caught.value))

    with opened.write():
        first = threading.Thread(target=behind)
        first.start()
        while not waiting._turn.locked():
            time.sleep(0.01)
        monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
        behind()
        first.join()

    assert "Another process has kept the threads of this one" in told[0]
    assert "Another process is writing" in told[1]
    waiting.close()
    opened.close()


def test_a_full_disk_is_said_and_nothing_is_half_written(opened: Ledger) -> None:
    """And when there is room again, work goes on."""
    job = enter(opened)

    def fill() -> None:
        with opened.write() as tx:
            pages = tx.execute(sa.text("PRAGMA page_count")).scalar_one()
            tx.execute(sa.text(f"PRAGMA max_page_count = {pages}"))
            jobs.cancel(tx, job_id=job.id, reason="asked")
            bodies.put(tx, os.urandom(1_000_000))

    with pytest.raises(LedgerFull, match="full"):
        fill()
    assert look(opened, job.id) == job
    with opened.write() as tx:
        tx.execute(sa.text("PRAGMA max_page_count = 1000000"))
        bodies.put(tx, os.urandom(1_000_000))
    opened.close()


def test_a_torn_file_is_said_to_be_damaged(opened: Ledger, sqlite_url: str) -> None:
    """With what to do about it."""
    with opened.write() as tx:
        jobs.submit(tx, [new_job() for _ in range(200)])
    opened.close()
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    sound = path.read_bytes()
    path.write_bytes(sound[:4096] + b"\xff" * (len(sound) - 4096))
    with pytest.raises(LedgerDamaged, match="malformed"):
        Ledger.open(sqlite_url)


def test_a_lease_runs_on_the_boots_clock(opened: Ledger) -> None:
    """It counts sleep, nobody can set it, and the session knows its boot."""
    with opened.write() as tx:
        session = sessions.get(tx, open_session(tx))
        assert session is not None
        assert session.boot_id == tx.boot_id
        assert session.lease_until == tx.lease_now + sessions.LEASE_S
        assert abs(tx.lease_now - float(Path("/proc/uptime").read_text().split()[0])) < 5
    opened.close()


_FORKING = """
import os, sys
from ledger import Ledger, jobs
from tests.integration.ledger.support import enter, new_job

def in_child(act):
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0

def look():
    with ledger.read() as tx:
        assert sum(jobs.counts(tx).values()) == 1

ledger = Ledger.open(sys.argv[1])
enter(ledger)
with ledger.write() as tx:
    in_child(look)
    jobs.submit(tx, [new_job()])
in_child(lambda: enter(ledger))
enter(ledger)
"""


def test_a_forked_child_has_connections_of_its_own(opened: Ledger, sqlite_url: str) -> None:
    """A web server may open the ledger first and fork then, even from the middle of a write."""
    command = [sys.executable, "-c", _FORKING, sqlite_url]
    subprocess.run(command, check=True, env=_WITH_TESTS)

    with opened.read() as tx:
        assert sum(jobs.counts(tx).values()) == 4
        assert tx.execute(sa.text("PRAGMA integrity_check")).scalar_one() == "ok"
    opened.close()


def test_deleted_rows_give_their_space_back(opened: Ledger, sqlite_url: str) -> None:
    """Because the file was made to be vacuumed step by step."""
    with opened.write() as tx:
        bodies.put(tx, os.urandom(2_000_000))
    with opened.write() as tx:
        tx.execute(sa.text("DELETE FROM bodies"))
    opened.close()
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    before = path.stat().st_size
    plain = sqlite3.connect(path)
    plain.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")
    plain.close()
    assert path.stat().st_size < before - 1_900_000
