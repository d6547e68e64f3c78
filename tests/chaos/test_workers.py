"""Workers are killed, stopped and frozen; their jobs go on, and count once."""

from __future__ import annotations

import functools
import random
import signal
import time

import pytest

from tests.chaos.harness import YES, Cluster, NewCluster
from tests.chaos.reporting import Report, fault
from tests.chaos.scale import scaled
from tests.stack import TIMING, wait_for

RECLAIM_S = 4.0


@pytest.mark.timeout(900)
@fault("T01", "kill -9 of a worker's process group mid-job", required="<= 4 s, lost 0, twice 0")
def test_a_killed_workers_jobs_go_on_within_its_lease(cluster: NewCluster, report: Report) -> None:
    """Each kill hits running jobs; whoever is left begins them all again before the time is over.

    The last of them counts, though those that crashed together are suspects and take turns.
    """
    home = cluster()
    home.script({"rules": [{"answers": [{"text": "yes"}], "first_token_s": 0.6}]})
    kept = [home.supervise(ready=False) for _ in range(2)]
    for one in kept:
        one.worker.wait_ready()
    kills, chance = scaled(1, 50), random.Random(1)
    ids: list[str] = []
    waits: list[float] = []

    for number in range(kills):
        kept[0].worker.wait_ready()
        kept[1].worker.wait_ready()
        ids += (asked := home.submit(4))
        victim = kept[number % 2].worker
        held = wait_for(functools.partial(home.held_by, victim))
        time.sleep(chance.uniform(0.0, 0.4))
        victim.kill_group()
        waits.append(_reclaimed(home, held))
        home.wait_all(asked, timeout=30)

    commits = [[str(move.target) for move in home.changes(one)].count("succeeded") for one in ids]
    twice = sum(number > 1 for number in commits)
    report(f"{max(waits):.1f} s over {kills} kills, lost {home.lost(ids)}, twice {twice}")
    assert [1] * len(ids) == commits
    assert max(waits) <= RECLAIM_S


def _reclaimed(home: Cluster, ids: list[str]) -> float:
    """Seconds until the last of these jobs, which were held, was claimed again; ended ones are."""
    killed = time.monotonic()

    def claimed() -> bool:
        return all(row.fence > 1 or row.ended for row in map(home.job, ids))

    wait_for(claimed, 3 * RECLAIM_S, home.tail)
    return time.monotonic() - killed


@fault("T05", "SIGTERM during a short and a long job", required="exit 0, handed back, begun <= 2 s")
def test_a_stopped_worker_finishes_or_hands_back(cluster: NewCluster, report: Report) -> None:
    """A job shorter than the grace time ends there; a longer one goes on elsewhere, uncounted."""
    home = cluster(timing={"grace_s": 1.5})
    once, words = str(home.home / "long-once"), [{"text": "word " * 100}]
    home.script(
        {
            "rules": [
                {"marker": "LONG", "once": once, "answers": words, "token_s": 0.3},
                {"marker": "SHORT", "first_token_s": 0.8},
                {"answers": [{"text": "yes"}]},
            ]
        }
    )
    first = home.start_worker()
    (short,) = home.submit(prompt="SHORT")
    (long,) = home.submit(prompt="LONG")
    wait_for(lambda: {"running"} == {home.state(short), home.state(long)})
    session = home.job(long).session
    home.start_worker()

    stopped = time.time()
    first.signal(signal.SIGTERM)
    later = home.submit(5)
    code = first.wait_exit(10)
    home.wait_all([short, long, *later])

    given, begun = (
        next(move for move in home.changes(long) if move.step == step).at for step in (3, 4)
    )
    report(f"exit {code}, handed back after {given - stopped:.1f} s, begun {begun - given:.2f} s")
    assert (0, "succeeded") == (code, home.state(short))
    assert session == home.job(short).session
    assert ("queued", "drain") == (home.changes(long)[2].target, home.changes(long)[2].reason)
    assert (2, 0, 0) == (home.job(long).fence, home.job(long).tries, home.job(long).crashes)
    assert session not in {home.job(one).session for one in later}
    assert begun - given <= 2.0


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@fault("T04", "jobs arrive while a worker sleeps past its lease", required="done <= 10 s, lost 0")
def test_a_worker_that_wakes_up_runs_what_it_finds(cluster: NewCluster, report: Report) -> None:
    """It takes them before it notices that its session is over; the next session runs them."""
    home = cluster()
    home.script(YES)
    sleeper = home.start_worker()
    # It closes the sleeper's session meanwhile.
    home.start_worker(options=["--maintenance"])
    home.wait_all(home.submit(3))

    ids: list[str] = []
    waits: list[float] = []
    # Whether its keeper or its hub is the first to wake is a matter of chance.
    for _ in range(scaled(1, 4)):
        sleeper.freeze()
        time.sleep(2.5 * TIMING["lease_s"])
        ids += (asked := home.submit(10))
        sleeper.thaw()
        woken = time.monotonic()
        home.wait_all(asked, timeout=20)
        waits.append(time.monotonic() - woken)

    report(f"done after {max(waits):.1f} s, lost {home.lost(ids)}")
    assert {1} == {home.job(one).fence for one in ids}
    assert max(waits) <= 10.0
