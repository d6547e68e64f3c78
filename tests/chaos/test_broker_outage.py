"""The broker is away, forgets, cuts all off or is set up wrongly; the ledger holds the jobs."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable

import pytest

from ledger import jobs
from tasks.client import Client
from tasks.errors import HoneyflowError
from tests.chaos.harness import YES, Cluster, NewCluster, sleep_until
from tests.chaos.history import ACCEPTED, answer_of
from tests.chaos.reporting import Report, fault
from tests.chaos.scale import scaled
from tests.stack import wait_for

ANSWER_S = 2.0
BUSY = {
    "rules": [
        {"marker": "BUSY", "answers": [{"text": "word " * 8}], "token_s": 0.25},
        {"answers": [{"text": "yes"}], "first_token_s": 0.1},
    ]
}


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@fault("T22", "broker restarted without persistence", required="<= 30 s, lost 0")
def test_a_broker_that_comes_back_empty_loses_nothing(cluster: NewCluster, report: Report) -> None:
    """Every waiting job is sent again by the same worker, and what ran has not stopped."""
    home = cluster(redis={"appendonly": "no"}, config={"unsafe_redis": "true"})
    home.script(BUSY)
    worker = home.start_worker()
    running = home.submit(2, prompt="BUSY", policy="fixed:9")
    wait_for(lambda: 2 == len(home.running()))
    queued = home.submit(scaled(40, 500))

    home.broker.kill()
    waiting = sum(home.state(one) == "queued" for one in queued)
    home.broker.start()
    back = time.monotonic()
    home.wait_all(queued, timeout=60)
    taken = time.monotonic() - back
    home.wait_all(running)

    assert worker.alive
    assert waiting >= len(queued) // 2
    assert {1} == {home.job(one).fence for one in running}
    report(f"{taken:.1f} s until {waiting} queued were done, lost {home.lost(queued)}")
    assert taken <= 30


@fault("T22", "a worker starts on a broker without AOF", required="exit 1, setting and fix named")
def test_a_worker_refuses_a_broker_that_would_forget(cluster: NewCluster, report: Report) -> None:
    """Its start check says which setting it is and how to mend it, and nothing is left running."""
    home = cluster(redis={"appendonly": "no"})

    worker = home.start_worker(ready=False)

    assert 1 == worker.wait_exit(20)
    assert "REDIS_NO_AOF" in worker.text()
    assert "Set `appendonly yes` in redis.conf" in worker.text()
    report("exit 1, `appendonly yes` named")


@fault("T29", "a worker starts on allkeys-lru", required="exit 1, setting and fix; override works")
def test_a_worker_refuses_a_broker_that_evicts(cluster: NewCluster, report: Report) -> None:
    """Unless somebody has said that it is meant so."""
    home = cluster(redis={"maxmemory-policy": "allkeys-lru"})

    refused = home.start_worker(ready=False)
    meant = home.start_worker(ready=False, env={"HONEYFLOW_UNSAFE_REDIS": "1"})

    assert 1 == refused.wait_exit(20)
    assert "maxmemory-policy allkeys-lru" in refused.text()
    assert "Set `maxmemory-policy noeviction` in redis.conf" in refused.text()
    meant.wait_ready()
    home.wait_all(home.submit(3))
    report("exit 1, `maxmemory-policy noeviction` named, override works")


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["dead", "silent"])
@fault("T23", "broker down while clients submit", required="each told <= 2 s, difference 0")
def test_clients_are_answered_while_the_broker_is_away(
    cluster: NewCluster, report: Report, how: str
) -> None:
    """Those that know their ledger are accepted into it; those that do not are refused at once."""
    home = cluster()
    home.start_worker()
    proxy = home.proxy()
    seasoned, fresh = home.client_via(proxy), [home.client_via(proxy) for _ in range(4)]
    home.submit(client=seasoned)
    down_s = scaled(5.0, 60.0)

    _take_away(home, proxy.hold, how)
    until = time.monotonic() + down_s
    told = _submit_until(home, [seasoned, *fresh], until, rate=scaled(40.0, 100.0))
    sleep_until(until)
    _bring_back(home, proxy.heal, how)
    back = time.monotonic()
    after = home.submit(client=seasoned)
    home.wait_all(after, timeout=30)
    recovered = time.monotonic() - back

    accepted = [one.job_id for one in told if one.answer == ACCEPTED]
    home.wait_all(accepted, timeout=scaled(30, 120))
    with home.client.ledger.read() as tx:
        entered = {job.id for job in jobs.list(tx, limit=100_000)}
    difference = {one.job_id for one in told if (one.job_id in entered) != (one.answer == ACCEPTED)}
    slowest = max(one.took_s for one in told)
    kinds = Counter(one.code or one.answer for one in told)
    report(f"slowest {slowest:.2f} s of {dict(kinds)}, difference {len(difference)}")
    assert {"BROKER_UNAVAILABLE", ACCEPTED} == set(kinds)
    assert {503} == {one.status for one in told if one.answer != ACCEPTED}
    assert set() == difference
    assert slowest <= ANSWER_S
    assert recovered <= 10


@pytest.mark.chaos_slow
@fault("T27", "all connections killed every 0.5 s", required="<= 10 s, same process")
def test_a_storm_of_resets_passes(cluster: NewCluster, report: Report) -> None:
    """Jobs go on all through it, and the same process consumes when it is over."""
    home = cluster()
    home.script(BUSY)
    worker = home.start_worker()
    redis = home.redis()
    running = home.submit(2, prompt="BUSY", policy="fixed:3")
    wait_for(lambda: 2 == len(home.running()))
    asked, rounds = list[str](), scaled(10, 40)

    for _ in range(rounds):
        asked += home.submit(2)
        for kind in ("normal", "pubsub"):
            redis.client_kill_filter(_type=kind, skipme=True)
        time.sleep(0.5)  # the rhythm of the storm
    over = time.monotonic()
    home.wait_all(home.submit(), timeout=30)
    taken = time.monotonic() - over
    home.wait_all([*running, *asked], timeout=30)

    assert worker.alive
    assert {1} == {home.job(one).fence for one in running}
    report(f"consuming {taken:.1f} s after {rounds} kills, lost {home.lost(asked)}")
    assert taken <= 10


@fault("T21", "results come while the broker is dead", required="told <= 10 s after, lost 0")
def test_what_ends_without_a_broker_is_told_later(cluster: NewCluster, report: Report) -> None:
    """By the reconciler, from the ledger: a copy for each, and whoever asks has its answer."""
    home = cluster()
    home.script({"rules": [{"answers": [{"text": "yes"}], "first_token_s": 0.8}]})
    worker = home.start_worker()
    ids = home.submit(8)
    wait_for(lambda: 8 == len(home.running()))

    home.broker.kill()
    home.wait_all(ids)
    told = [one for one in ids if home.job(one).delivered_at is not None]
    time.sleep(0.5)  # longer than the worker's note of what was told may wait
    told += [one for one in ids if home.job(one).delivered_at is not None]
    home.broker.start()
    back = time.monotonic()
    wait_for(lambda: all(home.job(one).delivered_at for one in ids))
    taken = time.monotonic() - back

    redis = home.redis()
    copies = sum(int(redis.exists(f"celery-task-meta-{one}")) for one in ids)  # type: ignore[arg-type]
    answers = [home.client.app.AsyncResult(one).get(timeout=5)["answer"] for one in ids]
    report(f"told after {taken:.1f} s, {copies} of 8 copies, lost {home.lost(ids)}")
    assert worker.alive
    assert [] == told
    assert (8, ["yes"] * 8) == (copies, answers)
    assert taken <= 10


@pytest.mark.chaos_slow
@pytest.mark.parametrize("ends", [True, False])
@fault("T05", "SIGTERM while the broker is silent", required="exit 0 <= grace + 20 s, lost 0")
def test_a_worker_ends_in_time_though_the_broker_is_silent(
    cluster: NewCluster, report: Report, *, ends: bool
) -> None:
    """Whether its jobs end within the grace time or not, each of whose results waits for Redis."""
    grace_s = 1.5
    home = cluster(timing={"grace_s": grace_s})
    slow_s = 1.0 if ends else 30.0
    home.script({"rules": [{"answers": [{"text": "yes"}], "first_token_s": slow_s}]})
    worker = home.start_worker()
    ids = home.submit(8)
    wait_for(lambda: 8 == len(home.running()))

    os.kill(home.broker.pid, signal.SIGSTOP)
    try:
        time.sleep(0.2)
        stopped = time.monotonic()
        worker.signal(signal.SIGTERM)
        code = worker.wait_exit(60)
        taken = time.monotonic() - stopped
        states = {home.state(one) for one in ids}
    finally:
        os.kill(home.broker.pid, signal.SIGCONT)
    home.script(YES)
    home.start_worker()
    home.wait_all(ids)

    report(f"exit {code} after {taken:.1f} s, {sorted(states)}, lost {home.lost(ids)}")
    assert 0 == code
    assert taken <= grace_s + 20.0
    assert {"succeeded" if ends else "queued"} == states
    assert {1 if ends else 2} == {home.job(one).fence for one in ids}


@fault("T33", "the result backend's keys are lost", required="results from the ledger, unchanged")
def test_results_outlive_their_copies(cluster: NewCluster, report: Report) -> None:
    """Whoever asks is answered from the ledger, also one that was waiting already."""
    home = cluster()
    home.script(BUSY)
    home.start_worker()
    ended = [home.infer(f"{number}").apply_async() for number in range(5)]
    before = [one.get(timeout=20) for one in ended]
    waited_for = home.infer("BUSY").apply_async()
    answers: list[str] = []
    waiting = threading.Thread(
        target=lambda: answers.append(waited_for.get(timeout=20)["answer"]), daemon=True
    )
    waiting.start()
    wait_for(lambda: home.state(waited_for.id) == "running")
    home.tell([*(one.id for one in ended), waited_for.id], ACCEPTED)

    redis = home.redis()

    def flush() -> None:
        for key in redis.scan_iter("celery-task-meta-*"):
            redis.delete(key)

    flush()
    home.wait_state(waited_for.id, "succeeded")
    flush()
    waiting.join(20)

    assert ["word"] == [answer.split()[0] for answer in answers]
    asked_again = [home.client.app.AsyncResult(one.id) for one in [*ended, waited_for]]
    after = [one.get(timeout=5) for one in asked_again]
    assert before == after[:5]
    assert ["SUCCESS"] * 6 == [one.status for one in asked_again]
    report(f"{len(after)} of 6 results, status {asked_again[0].status}")


class Told:
    """What one client was told of one submission, and how long it took."""

    def __init__(self, job_id: str, took_s: float, error: Exception | None) -> None:
        self.job_id = job_id
        self.took_s = took_s
        self.answer, self.code = (ACCEPTED, None) if error is None else answer_of(error)
        self.status = error.http_status if isinstance(error, HoneyflowError) else None


def _submit_until(home: Cluster, clients: list[Client], until: float, *, rate: float) -> list[Told]:
    """Let each client submit in a thread of its own, together at a rate, until a moment."""
    told: list[Told] = []

    def submit(client: Client) -> None:
        due = time.monotonic()
        while time.monotonic() < until:
            sleep_until(due)
            due = max(due + len(clients) / rate, time.monotonic())
            told.append(_submit_one(client))

    threads = [threading.Thread(target=submit, args=(one,), daemon=True) for one in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=max(0.0, until - time.monotonic()) + 120)
        assert not thread.is_alive(), "a submission hangs"
    for one in told:
        home.tell([one.job_id], one.answer, one.code)
    return told


def _submit_one(client: Client) -> Told:
    job_id, began = str(uuid.uuid4()), time.monotonic()
    error: Exception | None = None
    try:
        client.submit(model="fake-a", prompt="x", policy="fixed:1", job_id=job_id)
    except Exception as raised:
        error = raised
    return Told(job_id, time.monotonic() - began, error)


def _take_away(home: Cluster, hold: Callable[[], None], how: str) -> None:
    """Kill the broker, or let it stand still, unheard behind a network that holds everything."""
    if how == "dead":
        home.broker.kill()
    else:
        hold()
        os.kill(home.broker.pid, signal.SIGSTOP)


def _bring_back(home: Cluster, heal: Callable[[], None], how: str) -> None:
    if how == "dead":
        home.broker.start()
    else:
        os.kill(home.broker.pid, signal.SIGCONT)
        heal()
