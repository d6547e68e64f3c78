"""Many jobs, late workers, slow workers, urgent floods: everything is served, and in its turn."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import pytest
from celery import Celery

from executors import EngineConfig
from ledger import TERMINAL, Job
from ledger import jobs as ledger_jobs
from routing import Priority, list_keys
from tasks.pool import LANE_BACKLOG
from tasks.settings import Timing
from tests.chaos import processes
from tests.chaos.deeds import set_up
from tests.chaos.harness import YES, Cluster, NewCluster
from tests.chaos.reporting import Report, fault
from tests.chaos.scale import THOROUGH, scaled
from tests.stack import BIN, wait_for

BARE = """
import redis, time
from celery import Celery

app = Celery("bare", broker="{url}", backend="{url}")
client = redis.Redis.from_url("{url}")

@app.task(name="bare.work")
def work():
    time.sleep(0.001)
    client.incr("bare.done")
    return "yes"
"""
MAX_WAIT_S = 2.0
JOB_S = 0.2


def claimed(home: Cluster, ids: Sequence[str]) -> list[str]:
    """These jobs in the order in which they were claimed."""
    first = {one: next(c for c in home.changes(one) if c.target == "running") for one in ids}
    return sorted(ids, key=lambda one: first[one].seq)


def still_open(home: Cluster) -> int:
    """How many jobs have not ended."""
    with home.client.ledger.read() as tx:
        counted = ledger_jobs.counts(tx)
    return sum(n for (_, state), n in counted.items() if state not in TERMINAL)


def waits(jobs: Sequence[Job]) -> list[float]:
    """How long each of these jobs waited in its queue, the shortest first."""
    return sorted((job.started_at or job.created_at) - job.created_at for job in jobs)


def p95(values: Sequence[float]) -> float:
    """The value that one in twenty exceeds."""
    return sorted(values)[int(0.95 * len(values))]


@pytest.mark.timeout(900)
@pytest.mark.chaos_slow
@fault(
    "T43",
    "a long queue, four workers, one killed every 5 s",
    required="exact counts, rates >= 0.5 of Celery's",
)
def test_a_long_queue_is_drained_while_workers_die(
    cluster: NewCluster, report: Report, tmp_path: Path
) -> None:
    """Whoever dies, each job is counted once. Rates are those of a worker as it is shipped."""
    home = cluster(timing=asdict(Timing()))
    shipped = EngineConfig(model="fake-a", path=home.home, device="cpu")
    set_up(home, max_num_seqs=str(shipped.max_num_seqs))
    home.script({"rules": [{"answers": [{"text": "yes"}], "first_token_s": 0.001}]})
    number = scaled(1_000, 10_000)
    plain = bare_rates(home, number, tmp_path) if THOROUGH else None
    began = time.monotonic()
    ids = [one for _ in range(number // 500) for one in home.submit(500)]
    submitted = time.monotonic() - began
    kept = [home.supervise(ready=False) for _ in range(4)]
    for one in kept:
        one.worker.wait_ready()
    with killing(lambda n: kept[n % 4].worker.kill_group()) as kills:
        began, before = time.monotonic(), still_open(home)
        # As with Celery alone: until the queue is empty. What a dead worker had in hand comes after
        # that. Looking at every row all the time would take a core from those that are measured.
        while listed(home) and time.monotonic() - began < scaled(60, 600):
            time.sleep(0.25)
        drained, left = time.monotonic() - began, still_open(home)
        rows = home.wait_all(ids)
    rest = time.monotonic() - began - drained
    states = Counter(str(row.state) for row in rows)
    rate = (before - left) / drained
    rates = f"submitted {number / submitted:.0f}/s, drained {rate:.0f}/s, the last {rest:.0f} s on"
    if plain is not None:
        ratios = number / submitted / plain[0], rate / plain[1]
        rates += f"; {ratios[0]:.2f} and {ratios[1]:.2f} of bare Celery's"
    report(f"{states['succeeded']} of {number} with {len(kills)} kills; {rates}")
    assert {"succeeded": number} == states
    if plain is not None:
        assert min(ratios) >= 0.5


def listed(home: Cluster) -> int:
    """How many messages wait in the broker."""
    client = home.redis()
    return sum(int(client.llen(key)) for key in list_keys("model.fake-a"))  # type: ignore[arg-type]


@contextmanager
def killing(kill: Callable[[int], None]) -> Iterator[list[float]]:
    """Call this every 5 s, with a number; gives when it was."""
    over, kills = threading.Event(), []

    def run() -> None:
        while not over.wait(5.0):
            kill(len(kills))
            kills.append(time.monotonic())

    killer = threading.Thread(target=run, daemon=True)
    killer.start()
    try:
        yield kills
    finally:
        over.set()
        killer.join()


def bare_rates(home: Cluster, number: int, folder: Path) -> tuple[float, float]:
    """Messages a second that Celery by itself sends, and works off under the same kills.

    What it loses on the way is not waited for.
    """
    (home.home / "bare.py").write_text(BARE.format(url=home.broker.url))
    began = time.monotonic()
    with Celery(broker=home.broker.url, set_as_current=False) as app:
        for _ in range(number):
            app.send_task("bare.work", queue="bare")
    submitted = time.monotonic() - began

    def start(place: int) -> subprocess.Popen[bytes]:
        words = ["-A", "bare", "worker", "-Q", "bare", "-n", f"bare{place}@testnode"]
        return subprocess.Popen(
            [str(BIN / "celery"), *words],
            # What Celery's own pool leaves there when it is killed is not ours.
            env={"PATH": "/usr/bin:/bin", **home.env, "TMPDIR": str(folder)},
            cwd=home.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    workers = [start(place) for place in range(4)]

    def kill(count: int) -> None:
        processes.send_group(workers[count % 4].pid, signal.SIGKILL)
        workers[count % 4].wait()
        workers[count % 4] = start(count % 4)

    client = home.redis()
    done = lambda: int(client.get("bare.done") or 0)  # type: ignore[arg-type]  # noqa: E731
    try:
        wait_for(done, 60)
        with killing(kill):
            began, before = time.monotonic(), done()
            wait_for(lambda: 0 == client.llen("bare"), 300)
            rate = (done() - before) / (time.monotonic() - began)
    finally:
        for worker in workers:
            processes.send_group(worker.pid, signal.SIGKILL)
            worker.wait()
    return number / submitted, rate


@fault("T44", "a worker starts long after the submitters", required="drained, FIFO per priority")
def test_a_late_worker_keeps_the_order(cluster: NewCluster, report: Report) -> None:
    """First come, first served within a model and a priority; the more urgent ones before."""
    home = cluster()
    home.script(YES)
    number = scaled(10, 100)
    asked: dict[int, list[str]] = {int(one): [] for one in Priority}
    for _ in range(number):
        for priority in asked:
            asked[priority] += home.submit(1, priority=priority)
            asked[priority] += home.submit(2, priority=priority)
    time.sleep(scaled(1.0, 10.0))
    home.start_worker()
    everything = [one for ids in asked.values() for one in ids]
    home.wait_all(everything)

    order = claimed(home, everything)
    turns = {p: [ids.index(one) for one in order if one in ids] for p, ids in asked.items()}
    out_of_turn = {p: turn for p, turn in turns.items() if turn != sorted(turn)}
    ranks = [home.job(one).priority for one in order]
    report(f"{len(order)} jobs, {len(out_of_turn)} of {len(asked)} priorities out of order")
    assert {} == out_of_turn
    assert sorted(ranks) == ranks


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@fault("T45", "urgent jobs without end", required=f"begun <= {MAX_WAIT_S:g} s + one job")
def test_nobody_starves(cluster: NewCluster, report: Report) -> None:
    """A job that has waited long enough is put before the others."""
    home = cluster(timing={"max_wait_s": MAX_WAIT_S})
    home.script({"rules": [{"answers": [{"text": "yes"}], "first_token_s": JOB_S}]})
    home.start_worker()
    urgent: list[str] = home.submit(150, priority=3)
    low = home.submit(20, priority=9)
    over = threading.Event()

    def flood() -> None:
        while not over.wait(0.05):
            if client.llen("model.fake-a\x06\x163") < 150:  # type: ignore[operator]
                urgent.extend(home.submit(50, priority=3))

    client = home.redis()
    flooding = threading.Thread(target=flood, daemon=True)
    flooding.start()
    try:
        wait_for(lambda: all(home.job(one).started_at for one in low), 60, home.tail)
    finally:
        over.set()
        flooding.join()
    home.wait_all([*low, *urgent])

    longest = waits([home.job(one) for one in low])[-1]
    report(f"{longest:.1f} s at most, {len(urgent)} urgent ones meanwhile")
    assert longest <= MAX_WAIT_S + JOB_S + 1.0


@pytest.mark.chaos_slow
@fault("T46", "one worker 20 times slower than the other", required="its share, waits <= 1.5 x")
def test_the_fast_worker_takes_the_share_of_the_slow_one(
    cluster: NewCluster, report: Report
) -> None:
    """Work is pulled, and while there is no backlog nobody keeps more than can start."""
    quick, slow = (
        {"rules": [{"answers": [{"text": "yes"}], "first_token_s": s}]} for s in (0.05, 1.0)
    )
    home = cluster()
    home.script(quick)
    even = home.start_workers(2)
    usual = paced(home, 300)
    even[0].stop()
    home.script(slow)
    snail = home.start_worker()
    jobs = paced(home, 300)

    sessions = Counter(job.session for job in jobs)
    share = max(sessions.values()) / len(jobs)
    before, after = p95(waits(usual)), p95(waits(jobs))
    report(f"{share:.0%} by the fast one, waits p95 {before:.3f} s before and {after:.3f} s after")
    assert snail.alive
    assert share >= 0.5
    # A wait of some milliseconds is one turn of a loop, whoever takes it.
    assert after <= max(1.5 * before, 0.05)


def paced(home: Cluster, number: int) -> list[Job]:
    """Jobs that come one by one, less than one fast worker could do."""
    ids: list[str] = []
    for _ in range(number):
        ids += home.submit(1)
        time.sleep(0.01)
    return home.wait_all(ids)


@fault("T08", "a crash that many jobs share", required="suspects alone, none waits for a re-send")
def test_suspects_are_run_one_by_one_and_at_once(cluster: NewCluster, report: Report) -> None:
    """Each as soon as the one before it has ended, and never two of them together."""
    home = cluster(timing={"resend_after_s": 60.0})
    home.script(
        {
            "rules": [
                {"marker": "CRASH", "once": str(home.home / "once"), "do": "kill"},
                {"answers": [{"text": "yes"}], "first_token_s": JOB_S},
            ]
        }
    )
    kept = home.supervise()
    innocent = home.submit(7)
    wait_for(lambda: len(home.running()) == len(innocent))
    ids = [*innocent, *home.submit(1, prompt="CRASH")]
    began = time.monotonic()
    home.wait_all(ids, timeout=40)

    took = time.monotonic() - began
    lives = [home.changes(one) for one in ids]
    suspects = [life for life in lives if life[-1].fence > 1]
    runs = sorted((life[-2].seq, life[-1].seq) for life in suspects)
    together = sum(later[0] < earlier[1] for earlier, later in pairwise(runs))
    report(f"{len(suspects)} suspects, {together} together, all done after {took:.1f} s")
    assert 1 == kept.restarts
    assert len(suspects) >= 2
    assert 0 == together
    assert took < 10
    assert {0} == {home.job(one).crashes for one in ids}


WAITING = """
import time
from pathlib import Path
from tasks import app

@app.task(name="foreign.wait")
def wait():
    while not Path({go!r}).exists():
        time.sleep(0.05)
"""


@fault("T45", "ordinary tasks that hang fill a worker", required="jobs go on, all tasks end")
def test_ordinary_tasks_that_hang_hold_up_no_job(cluster: NewCluster, report: Report) -> None:
    """Their queue is left alone until one of them has ended."""
    home = cluster()
    home.script(YES)
    go = home.home / "go"
    (home.home / "foreign.py").write_text(WAITING.format(go=str(go)))
    worker = home.start_worker(options=["--device", "cpu", "--model", "fake-a", "-I", "foreign"])
    hung = 3 * LANE_BACKLOG
    for _ in range(hung):
        Celery.send_task(home.client.app, "foreign.wait", queue="celery")
    client = home.redis()
    before = wait_for(lambda: 0 < client.llen("celery") <= hung - LANE_BACKLOG, 20, home.tail)
    ids = home.submit(10)
    home.wait_all(ids, timeout=20)
    left = int(client.llen("celery"))  # type: ignore[arg-type]
    go.touch()
    wait_for(lambda: 0 == client.llen("celery"), 20, home.tail)

    report(f"{len(ids)} jobs done beside {hung - left} hung tasks, {left} left in their queue")
    assert before
    assert worker.alive
    assert 0 < left <= hung - LANE_BACKLOG
