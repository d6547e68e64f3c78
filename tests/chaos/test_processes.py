"""Processes are frozen, signalled, starved of memory and brought down by what they run."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence

import psutil
import pytest

from ledger import samples
from routing import list_keys
from tests.chaos.deeds import deeds, endings, set_up
from tests.chaos.faults import freeze
from tests.chaos.harness import MODEL, Cluster, NewCluster, sleep_until
from tests.chaos.reporting import Report, fault
from tests.chaos.scale import scaled
from tests.chaos.workers import ChaosWorker
from tests.stack import TIMING, wait_for

RECLAIM_S = 4.0
RESEND_S = 3.0
GRACE_S = 1.5
LATE_S = 5.0
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


@fault("T02", "the engine dies while its worker lives", required="<= 4 s, counted once, twice 0")
def test_a_dead_engines_job_is_begun_elsewhere(cluster: NewCluster, report: Report) -> None:
    """The worker itself says so before it ends: nobody waits for its lease."""
    home = cluster()
    home.script({"rules": [{"marker": "DIE", "do": "die", "once": str(home.home / "died")}]})
    workers = home.start_workers(2)
    (job_id,) = home.submit(prompt="DIE")

    wait_for((home.home / "died").exists)
    died = time.monotonic()
    wait_for(lambda: home.job(job_id).fence == 2, RECLAIM_S, home.tail)
    begun = time.monotonic() - died
    home.wait_all([job_id])

    job, given = home.job(job_id), home.changes(job_id)[2]
    codes = sorted(wait_for(lambda: [one.process.poll() for one in workers if not one.alive]))
    commits = [move.target for move in home.changes(job_id)].count("succeeded")
    report(f"{begun:.1f} s, {job.crashes} crash, committed {commits} time, exit {codes}")
    assert "the engine died: the script says so" == given.reason
    assert (1, 1, [1]) == (job.crashes, commits, codes)
    assert begun <= RECLAIM_S


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@pytest.mark.timeout(600)
@fault("T03", "SIGKILL between Redis's pop and the claim", required="sent again <= 3 s, every time")
def test_a_message_that_died_in_the_pop_is_sent_again(cluster: NewCluster, report: Report) -> None:
    """It is in no list, no hash and no worker; the ledger still knows its job."""
    home = cluster()
    home.start_worker(options=["--maintenance"])
    kept = home.supervise()
    repeats = scaled(2, 20)
    waits: list[float] = []
    ids: list[str] = []

    while len(waits) < repeats:
        ids += (popped := _popped_by_the_dead(home, kept.worker.wait_ready()))
        waits.append(_sent_again(home, *popped))
        home.wait_all(popped)

    assert {1} == {home.job(one).fence for one in ids}
    report(f"{max(waits):.1f} s, {repeats} of {repeats}, lost {home.lost(ids)}")
    assert max(waits) <= RESEND_S


def _sent_again(home: Cluster, job_id: str) -> float:
    """Seconds until a job whose message died has been sent again."""
    killed = time.monotonic()
    wait_for(lambda: home.job(job_id).sent_number > 1, 10 * RESEND_S, home.tail)
    return time.monotonic() - killed


def _popped_by_the_dead(home: Cluster, victim: ChaosWorker) -> list[str]:
    """Freeze a worker while its BRPOP waits, let it get a job's message, and kill it."""
    redis = home.redis()

    def length() -> int:
        return sum(int(redis.llen(key)) for key in list_keys(f"model.{MODEL}"))  # type: ignore[arg-type]

    for _ in range(20):
        freeze(home, victim)
        ids = home.submit()
        until = time.monotonic() + 0.5
        while length() and time.monotonic() < until:
            time.sleep(0.005)
        if not length():
            victim.kill_group()
            return ids
        # Between two BRPOPs: the message waits where it is safe. Another try.
        victim.thaw()
        home.wait_all(ids)
    raise AssertionError("the worker was never caught while its BRPOP waited")


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@fault(
    "T04", "SIGSTOP for three leases, then SIGCONT", required="fenced, 1 receipt, samples kept 0"
)
def test_what_a_zombie_brings_back_is_refused(cluster: NewCluster, report: Report) -> None:
    """One of its jobs was done elsewhere meanwhile, one still runs there; neither takes its word.

    It has not crashed and is not at fault: it goes on under a new session.
    """
    home = cluster()
    set_up(home, stuck_after_s="60")
    home.script({"rules": [{"answers": [{"text": "zombie"}], "first_token_s": 1.0}]})
    zombie = home.start_worker(env=deeds(home, "endings"))
    (done,), (runs,) = home.submit(prompt="SHORT"), home.submit(prompt="LONG")
    wait_for(lambda: {"running"} == {home.state(done), home.state(runs)})

    freeze(home, zombie)
    frozen = time.monotonic()
    words = {"marker": "LONG", "answers": [{"text": "other " * 12}], "token_s": 0.5}
    home.script({"rules": [words, {"answers": [{"text": "other"}]}]})
    other = home.start_worker()
    home.wait_state(done, "succeeded")
    wait_for(lambda: home.job(runs).fence == 2)
    sleep_until(frozen + 3 * TIMING["lease_s"])
    assert "running" == home.state(runs)
    zombie.thaw()
    told = wait_for(lambda: _both(endings(home)))
    home.wait_all([done, runs])
    other.stop()
    after = home.submit()
    home.wait_all(after)

    kept = 0
    with home.client.ledger.read() as tx:
        for one in (done, runs):
            kept += sum("zombie" in sample.text for sample in samples.of(tx, one))
            assert {2} == {sample.fence for sample in samples.of(tx, one)}
    fenced = sum(state == "fenced" for _, _, state in told)
    report(f"fenced {fenced} of 2, samples kept {kept}, new work done by the same process")
    assert (2, 0) == (fenced, kept)
    assert [(2, 0), (2, 0)] == [
        (home.job(one).fence, home.job(one).crashes) for one in (done, runs)
    ]
    assert zombie.alive


def _both(told: list[tuple[int, str, str]]) -> list[tuple[int, str, str]] | None:
    return told if len(told) == 2 else None


@pytest.mark.chaos_slow
@pytest.mark.timeout(600)
@fault(
    "T06", "SIGTERM, SIGINT, SIGQUIT in any order", required="<= grace + 5 s, orphans 0, exit 0/1"
)
def test_any_signals_in_any_order_end_a_worker(cluster: NewCluster, report: Report) -> None:
    """It ends in time, leaves no process, and what it ran goes on elsewhere; nothing is counted."""
    home = cluster(timing={"grace_s": GRACE_S})
    chance = random.Random(6)
    codes: dict[str, int] = {}
    slowest = 0.0
    ids: list[str] = []
    for orders in _batches(_orders(chance, scaled(4, 24)), 4):
        home.script({"rules": [{"answers": [{"text": "word " * 200}], "token_s": 0.3}]})
        workers = home.start_workers(len(orders))
        ids += home.submit(3 * len(orders))
        wait_for(lambda: all(home.held_by(one) for one in workers), 10, home.tail)  # noqa: B023
        below = [child for one in workers for child in psutil.Process(one.pid).children()]
        for worker, order in zip(workers, orders, strict=True):
            began = time.monotonic()
            _send(worker, order, chance)
            code = worker.wait_exit(60)
            slowest = max(slowest, time.monotonic() - began)
            codes[" ".join(number.name for number in order)] = code
        assert [] == [child for child in below if child.is_running()]
    home.script({})
    home.start_worker()
    home.wait_all(ids)

    crashes = sum(home.job(one).crashes for one in ids)
    report(f"{slowest:.1f} s, orphans 0, exits {sorted(set(codes.values()))}, crashes {crashes}")
    assert slowest <= GRACE_S + LATE_S
    assert {} == {order: code for order, code in codes.items() if code not in _documented(order)}
    assert 0 == crashes


def _documented(order: str) -> set[int]:
    """What `tasks/worker.py` says about the exit code."""
    return {0} if set(order.split()) == {"SIGTERM"} else {0, 1}


def _orders(chance: random.Random, number: int) -> list[tuple[signal.Signals, ...]]:
    """Orders of one to five signals; the first ones are what people and systems do."""
    known: list[tuple[signal.Signals, ...]] = [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGINT, signal.SIGINT),
        (signal.SIGTERM, signal.SIGQUIT),
        (signal.SIGQUIT, signal.SIGTERM, signal.SIGINT),
    ]
    drawn = [
        tuple(chance.choices(SIGNALS, k=chance.randint(1, 5))) for _ in range(number - len(known))
    ]
    return [*known, *drawn][:number]


def _batches(
    orders: Sequence[tuple[signal.Signals, ...]], size: int
) -> list[Sequence[tuple[signal.Signals, ...]]]:
    return [orders[start : start + size] for start in range(0, len(orders), size)]


def _send(worker: ChaosWorker, order: Sequence[signal.Signals], chance: random.Random) -> None:
    for number in order:
        if worker.alive:
            worker.signal(number)
            time.sleep(chance.uniform(0.0, 0.3))


@pytest.mark.chaos_slow
@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        pytest.param([], "process died", id="worker"),
        pytest.param(
            [{"marker": "HOG", "do": "die", "message": "cannot allocate memory"}],
            "the engine died: cannot allocate memory",
            id="engine",
        ),
    ],
)
@fault(
    "T07", "a job that eats all memory", required="dead after 3 crashes, reasons kept, others done"
)
def test_a_job_that_eats_all_memory_is_given_up(
    cluster: NewCluster, report: Report, rules: list[dict[str, object]], reason: str
) -> None:
    """It takes the worker or its engine down each time; what else is there is done."""
    home = cluster()
    home.script({"rules": [*rules, {"answers": [{"text": "yes"}], "first_token_s": 0.3}]})
    kept = home.supervise(env={} if rules else deeds(home, "hog"))
    good = home.submit(6)
    (hog,) = home.submit(prompt="HOG")
    good += home.submit(6)
    home.wait_all([*good, hog], timeout=60)

    job = home.job(hog)
    report(f"{job.state} after {job.crashes} crashes, {kept.restarts} restarts, exits {kept.exits}")
    assert ("dead", 3, [reason] * 3) == (job.state, job.crashes, list(job.crash_reasons or ()))
    assert {("succeeded", 0)} == {(home.state(one), home.job(one).crashes) for one in good}
    assert kept.restarts <= 4


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@pytest.mark.timeout(600)
@fault(
    "T08",
    "poison among long innocent jobs",
    required="innocents dead 0, poison dead with 3 reasons",
)
def test_a_poison_job_harms_no_innocent_one(cluster: NewCluster, report: Report) -> None:
    """The crash that all of them share counts against none; then the suspects run one by one."""
    home = cluster()
    set_up(home, max_num_seqs="64")
    poison = {"marker": "POISON", "do": "kill"}
    home.script({"rules": [poison, {"answers": [{"text": "word " * 300}], "token_s": 0.2}]})
    kept = home.supervise()
    innocent = home.submit(scaled(15, 63), prompt="long")
    wait_for(lambda: len(home.running()) == len(innocent), 20, home.tail)
    home.script({"rules": [poison, {"answers": [{"text": "yes"}], "first_token_s": 0.1}]})
    (culprit,) = home.submit(prompt="POISON")
    home.wait_state(culprit, "dead", timeout=90)
    after = home.submit()
    home.wait_all([*innocent, *after], timeout=60)

    job, moves = home.job(culprit), home.changes(culprit)
    harmed = [one for one in innocent if home.state(one) != "succeeded" or home.job(one).crashes]
    report(
        f"harmed {len(harmed)} of {len(innocent)}, poison {job.state} after {kept.restarts} "
        f"crashes, {job.crashes} alone"
    )
    assert [] == harmed
    assert (3, ["process died"] * 3) == (job.crashes, list(job.crash_reasons or ()))
    assert 4 == kept.restarts == job.fence == sum(move.target == "running" for move in moves)


@pytest.mark.chaos_slow
@pytest.mark.timeout(600)
@fault("T08", "poison among a steady stream of jobs", required="innocents dead 0, poison dead")
def test_a_poison_job_in_a_stream_ends_up_alone(cluster: NewCluster, report: Report) -> None:
    """Whatever is beside it shares its crashes, until it runs apart."""
    home = cluster()
    set_up(home, max_num_seqs="16")
    home.script(
        {
            "rules": [
                {"marker": "POISON", "do": "kill", "first_token_s": 0.3},
                {"answers": [{"text": "yes"}], "first_token_s": 0.3},
            ]
        }
    )
    kept = home.supervise()
    stream = home.submit(8)
    (culprit,) = home.submit(prompt="POISON")
    until = time.monotonic() + 90
    while home.state(culprit) != "dead" and time.monotonic() < until:
        stream += home.submit(2)
        time.sleep(0.2)
    home.wait_all([culprit, *stream], timeout=60)

    job, rows = home.job(culprit), [home.job(one) for one in stream]
    harmed = [row.id for row in rows if row.state != "succeeded" or row.crashes]
    report(
        f"harmed {len(harmed)} of {len(rows)}, poison {job.state} after {kept.restarts} crashes, "
        f"{job.crashes} alone"
    )
    assert [] == harmed
    assert ("dead", 3, 2) == (job.state, job.crashes, job.shared_crashes)
