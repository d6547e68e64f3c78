"""Engines die, fall silent, answer nonsense and do not start; loops stand still."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from ledger import samples
from routing import list_keys
from tasks import stream
from tests.chaos import processes
from tests.chaos.deeds import deeds, set_up
from tests.chaos.harness import MODEL, Cluster, NewCluster
from tests.chaos.reporting import Report, fault
from tests.integration.executors.conftest import need
from tests.stack import TIMING, wait_for

REQUEUE_S = 5.0
STUCK_S = 2.0
LOST_S = 4.0
NAMED = ("OUT_OF_MEMORY", "ENGINE_START_FAILED")
GIB = 1024**3


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@fault("T60", "the engine dies mid-generation", required="queued <= 5 s, partial tokens 0, exit 1")
def test_what_a_dying_engine_had_begun_is_not_committed(
    cluster: NewCluster, report: Report
) -> None:
    """Finished samples stay, the one that was cut off is drawn anew, and its reader is told."""
    home = cluster()
    whole = [{"text": "one two three four five six seven eight"}]
    cut = {"do": "die", "answers": whole, "token_s": 0.2, "after_tokens": 5}
    home.script(
        {
            "rules": [
                {"until_request": 2, "answers": whole},
                {**cut, "once": str(home.home / "died")},
                {"answers": whole},
            ]
        }
    )
    kept = home.supervise()
    (job_id,) = home.submit(policy="fixed:3", stream=True)
    home.wait_all([job_id])

    given = next(move for move in home.changes(job_id) if move.target == "queued" and move.step > 1)
    events = _events(home, job_id)
    died = max(at for at, kind, _ in events if kind == "token" and at < given.at)
    ends = [told["state"] for _, kind, told in events if kind == "end"]
    with home.client.ledger.read() as tx:
        drawn = samples.of(tx, job_id)
    job = home.job(job_id)
    partial = sum(len(one.text.split()) != 8 for one in drawn)
    report(
        f"queued after {given.at - died:.1f} s, exit {kept.exits}, partial {partial}, "
        f"reader: {ends}"
    )
    assert [(1, 8), (1, 8), (2, 8)] == [(one.fence, len(one.text.split())) for one in drawn]
    assert ("succeeded", 2, 1) == (job.state, job.fence, job.crashes)
    assert ([1], "succeeded") == (kept.exits, ends[-1])
    assert "fenced" not in ends
    assert given.at - died <= REQUEUE_S


@pytest.mark.chaos_slow
@pytest.mark.timeout(600)
@fault("T60", "kill -9 of vLLM's EngineCore", required="queued <= 5 s, partial tokens 0, exit 1")
def test_a_killed_engine_core_costs_one_crash(
    cluster: NewCluster, report: Report, tmp_path: Path
) -> None:
    """The real engine on the CPU: its worker sees it die, says so, ends, and is started again."""
    need("vllm")
    from benchmarks.models import make_model

    make_model(tmp_path / "model")
    home = cluster()
    options = "{ max_model_len = 512, kv_cache_memory_bytes = 268435456 }"
    set_up(
        home,
        path=f'"{tmp_path / "model"}"',
        engine='"vllm"',
        options=options,
        stuck_after_s="60",
    )
    # A socket's address has room for a short path only.
    sockets = Path(tempfile.mkdtemp(prefix="hf-"))
    kept = home.supervise(ready=False, env={"VLLM_RPC_BASE_PATH": str(sockets)})
    kept.worker.wait_ready(240)
    first = kept.worker
    (job_id,) = home.submit(stream=True)
    wait_for(lambda: _events(home, job_id), 60, home.tail)
    below = psutil.Process(first.pid).children(recursive=True)
    (core,) = (one for one in below if "EngineCore" in one.name() + " ".join(one.cmdline()))

    killed = time.monotonic()
    core.send_signal(signal.SIGKILL)
    wait_for(lambda: home.state(job_id) == "queued", 10 * REQUEUE_S, home.tail)
    queued = time.monotonic() - killed
    code = first.wait_exit(60)
    home.wait_all([job_id], timeout=240)
    kept.stop()
    kept.worker.stop(60)
    # Python's own helper notices a moment later that its process is gone.
    left = ("resource_tracker", "EngineCore", "guard_process")
    wait_for(lambda: not any(word in _processes(home) for word in left), 5.0)

    shutil.rmtree(sockets, ignore_errors=True)
    job = home.job(job_id)
    with home.client.ledger.read() as tx:
        drawn = samples.of(tx, job_id)
    report(f"queued after {queued:.1f} s, exit {code}, done after {kept.restarts} restart")
    assert [2] == [one.fence for one in drawn]
    assert ("succeeded", 1, 1) == (job.state, job.crashes, code)
    assert "SIGKILL" in (job.crash_reasons or ("",))[0]
    assert [] == [one for one in below if one.is_running()]
    assert queued <= REQUEUE_S


@pytest.mark.chaos_slow
@fault(
    "T61", "an engine that answers health and makes no tokens", required="stuck <= 3 s (2 s set)"
)
def test_a_silent_engine_is_stuck_and_a_slow_one_is_not(
    cluster: NewCluster, report: Report
) -> None:
    """What counts is that tokens come, however slowly."""
    home = cluster()
    home.script({"rules": [{"do": "hang", "once": str(home.home / "hung")}]})
    slowly = {"answers": [{"text": "a b c d e"}], "first_token_s": 1.3, "token_s": 1.3}
    home.script({"rules": [slowly]}, model="fake-b")
    slow = home.start_worker(model="fake-b", ready=False)
    kept = home.supervise()
    slow.wait_ready()
    (long,) = home.submit(model="fake-b")
    (hung,) = home.submit()
    mark = home.home / "hung"
    wait_for(mark.exists)

    wait_for(lambda: len(home.changes(hung)) > 2, 5 * STUCK_S, home.tail)
    given = home.changes(hung)[2]
    home.wait_all([hung, long])

    after = given.at - mark.stat().st_mtime
    report(
        f"stuck after {after:.1f} s, exit {kept.exits}; a slow one is {home.state(long)} "
        f"after {home.job(long).fence} claim"
    )
    assert "no progress" in str(given.reason)
    assert ([1], 2, "succeeded") == (kept.exits, home.job(hung).fence, home.state(hung))
    assert (1, "succeeded", True) == (home.job(long).fence, home.state(long), slow.alive)
    assert STUCK_S <= after <= STUCK_S + 1.0


@fault("T62", "errors, garbage, a trickle from the engine", required="classified, deadlines kept")
def test_what_an_engine_answers_wrongly_is_told_apart(cluster: NewCluster, report: Report) -> None:
    """A passing error is tried again, a final one is not, and no trickle outlasts its time."""
    home = cluster()
    passing = {"do": "error", "code": "ENGINE_BUSY", "after_tokens": 1}
    drip = {"answers": [{"text": "drip " * 100}], "token_s": 0.5}
    home.script(
        {
            "rules": [
                {**passing, "marker": "PASSING", "once": str(home.home / "passed")},
                {"marker": "FINAL", "do": "error", "code": "NOT_POSSIBLE", "retriable": False},
                {"marker": "GARBAGE", "do": "garbage"},
                {"marker": "DRIP", **drip},
                {"answers": [{"text": "yes"}]},
            ]
        }
    )
    worker = home.start_worker()
    (passed,), (final,) = home.submit(prompt="PASSING"), home.submit(prompt="FINAL")
    (garbage,) = home.submit(prompt="GARBAGE", policy="fixed:5")
    (dripped,) = home.submit(prompt="DRIP", run_timeout_s=2.0)
    (late,) = home.submit(prompt="DRIP", expires_s=2.0)
    ids = [passed, final, garbage, dripped, late]
    home.wait_all(ids)

    states = [str(home.state(one)) for one in ids]
    errors = [(home.job(one).error or {}).get("code") for one in (final, dripped)]
    drops = [_last(home, one) - _claimed(home, one) for one in (dripped, late)]
    report(f"{', '.join(states)}; 2 s limits kept within {max(drops) - 2.0:.1f} s")
    assert ["succeeded", "failed", "succeeded", "failed", "expired"] == states
    assert [(1, 2), (0, 1)] == [(home.job(one).tries, home.job(one).fence) for one in ids[:2]]
    assert ["NOT_POSSIBLE", "TIMEOUT"] == errors
    assert home.job(garbage).review
    assert max(drops) <= 2.5
    assert worker.alive


@pytest.mark.chaos_slow
@fault("T63", "out of memory at load, an engine that refuses", required="exit 1, code, figures")
def test_an_engine_that_does_not_start_says_why(cluster: NewCluster, report: Report) -> None:
    """Its worker takes no job and looks for no other device; the jobs wait for a better one."""
    home = cluster()
    sizes = {"required_bytes": 8 * GIB, "available_bytes": 6 * GIB}
    home.script({"load": {"fails": "memory", **sizes}})
    home.script({"load": {"fails": "start", "message": "no such kernel"}}, model="fake-b")
    small = home.start_worker(ready=False)
    refused = home.start_worker(model="fake-b", ready=False)
    ids = [*home.submit(2), *home.submit(model="fake-b")]
    codes = [small.wait_exit(), refused.wait_exit()]
    told = [small.text(), refused.text()]

    assert {"queued"} == {home.state(one) for one in ids}
    queue = list_keys(f"model.{MODEL}")
    assert 2 == sum(int(home.redis().llen(key)) for key in queue)  # type: ignore[arg-type]
    home.script({})
    home.script({}, model="fake-b")
    home.start_worker(ready=False)
    home.start_worker(model="fake-b", ready=False)
    home.wait_all(ids)

    named = [word for word in NAMED if any(f"[{word}]" in text for text in told)]
    report(f"exit {codes}; {', '.join(named)}; lost {home.lost(ids)}")
    assert [1, 1] == codes
    assert all(word in told[0] for word in ("[OUT_OF_MEMORY]", "8.0 GiB", "6.0 GiB"))
    assert all(word in told[1] for word in ("[ENGINE_START_FAILED]", "no such kernel"))
    assert not any(word in text for text in told for word in (" ready.", "answers;", "Traceback"))


@pytest.mark.chaos_slow
@fault("T67", "the engine's loop stands still", required="lost <= 4 s, exit 1, dead after 3 alone")
def test_a_worker_without_progress_loses_its_jobs_and_ends(
    cluster: NewCluster, report: Report
) -> None:
    """Its keeper still runs, and renews nothing: the lease is tied to progress.

    The job goes on elsewhere, and one that stops every loop it meets is given up.
    """
    home = cluster(timing={"stall_s": 1.0, "stall_exit_s": 4.0})
    still = home.supervise(env=deeds(home, "block"))
    (job_id,) = home.submit(prompt="BLOCK")
    wait_for(lambda: len(home.changes(job_id)) > 2, 20, home.tail)
    home.wait_state(job_id, "dead", timeout=60)
    wait_for(lambda: still.restarts == 3, 20, home.tail)
    (after,) = home.submit()
    home.wait_all([after])

    job, moves = home.job(job_id), home.changes(job_id)
    waits = [b.at - a.at for a, b in pairwise(moves) if a.target == "running"]
    report(f"lost after {max(waits):.1f} s, exits {still.exits}, dead after {job.crashes}")
    assert ["the engine's loop stands still"] * 3 == list(job.crash_reasons or ())
    assert [1, 1, 1] == still.exits
    assert max(waits) <= LOST_S


@pytest.mark.chaos_slow
@fault("T67", "heartbeats stop, the job goes on", required="kept for three leases and more")
def test_a_job_that_makes_progress_is_kept_without_heartbeats(
    cluster: NewCluster, report: Report
) -> None:
    """A heartbeat is for people; what holds a job is its session's lease."""
    home = cluster()
    home.script({"rules": [{"answers": [{"text": "word " * 14}], "token_s": 0.5}]})
    worker = home.start_worker(env=deeds(home, "mute"))
    (job_id,) = home.submit()
    home.wait_all([job_id])

    took = _last(home, job_id) - _claimed(home, job_id)
    leases = took / TIMING["lease_s"]
    report(f"kept for {took:.1f} s, {leases:.1f} leases, fence {home.job(job_id).fence}")
    assert "the lease could not be renewed" in worker.text()
    assert (1, True) == (home.job(job_id).fence, worker.alive)
    assert took >= 3 * TIMING["lease_s"]


def _processes(home: Cluster) -> str:
    return "\n".join(processes.shown(one) for one in processes.of_home(home.home))


def _claimed(home: Cluster, job_id: str) -> float:
    return next(move.at for move in home.changes(job_id) if move.target == "running")


def _last(home: Cluster, job_id: str) -> float:
    return home.changes(job_id)[-1].at


def _events(home: Cluster, job_id: str) -> list[tuple[float, str, dict[str, object]]]:
    """A job's live events so far: when Redis got them, of what kind, and what they say."""
    found = []
    for event in stream.read(home.redis(), job_id, block_s=0.01):
        if event is None:
            return found
        found.append((int(event.number.partition("-")[0]) / 1000, event.kind, event.data))
    return found
