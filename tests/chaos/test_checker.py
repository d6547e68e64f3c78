"""The checker: silent on a good history, and each broken promise is caught by its own invariant."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger import Claim, Ledger, jobs, sessions
from tasks import settings
from tests.chaos import apps
from tests.chaos.checker import INVARIANTS, check
from tests.chaos.harness import Cluster
from tests.chaos.history import ACCEPTED, History
from tests.stack import write_config

Line = dict[str, Any]
Edit = Callable[[list[Line]], None]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The history of a real, small run: answers, a failure, a refusal, and what came too late."""
    home = Cluster(tmp_path_factory.mktemp("good") / "home")
    try:
        error = {"marker": "BAD", "do": "error", "code": "NO_GOOD", "retriable": False}
        home.script({"rules": [error, {"answers": [{"text": "yes"}]}]})
        home.submit(3, policy="fixed:3")
        home.submit(prompt="BAD")
        home.client.cancel(home.submit(delay_s=60.0)[0])
        home.submit(expires_s=0.1)
        home.submit(model="nowhere")
        home.start_worker()
        yield home.settle()
    finally:
        home.close()


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history of crashes: two jobs share one, then one of them suffers three more alone."""
    folder = tmp_path_factory.mktemp("crashes")
    client = apps.client_for(settings.read({"HONEYFLOW_CONFIG": str(write_config(folder))}))
    history = History(folder / "history.jsonl")
    try:
        with client.ledger.write() as tx:
            asked = {"model": "fake-a", "prompt": "x", "policy": "fixed:1"}
            poison, innocent = (
                job.id for job in jobs.submit(tx, [client.draft(asked) for _ in range(2)])
            )
        history.told([poison, innocent], ACCEPTED)
        for held in ([poison, innocent], *[[poison]] * 3):
            _crash(client.ledger, held)
        with client.ledger.write() as tx:
            jobs.cancel(tx, job_id=innocent, reason="asked")
            jobs.mark_delivered(tx, [poison, innocent])
        history.record_ledger(client.ledger)
    finally:
        apps.close(client)
    return history.path


def _crash(ledger: Ledger, ids: list[str]) -> None:
    """Let a worker die that runs these jobs."""
    with ledger.write() as tx:
        session = sessions.open(
            tx, worker="w", node="n", pid=1, pid_started=1.0, pid_namespace="p", boot_id="b"
        )
        for job in jobs.get_many(tx, ids):
            number = job.sent_number
            claim = jobs.claim(tx, session=session.id, job_id=job.id, number=number)
            assert isinstance(claim, Claim)
    with ledger.write() as tx:
        sessions.close(tx, session.id, crashed=True, reason="process died")


def test_a_good_history_is_passed(good: Path) -> None:
    """It holds something to check, and nothing is wrong with it."""
    lines = _lines(good)

    assert [] == check(good)
    states = {one["state"] for one in _of(lines, "jobs")}
    assert {"succeeded", "failed", "cancelled", "expired"} == states
    assert {"accepted", "refused"} == {one["told"] for one in _of(lines, "submission")}
    assert 3 == len(_of(lines, "receipts"))
    assert [0] == [one["code"] for one in _of(lines, "worker")]
    assert [[], []] == [one["harmed"] for one in _of(lines, "broker")]


def test_a_history_of_crashes_is_passed(crashes: Path) -> None:
    """One job is dead for three crashes of its own; the one it shared counts against none."""
    rows = _of(_lines(crashes), "jobs")

    assert [] == check(crashes)
    assert {("dead", 3, 1), ("cancelled", 0, 1)} == {
        (one["state"], one["crashes"], one["shared_crashes"]) for one in rows
    }


def lose_a_job(lines: list[Line]) -> None:
    """A client was told that a job is accepted, and the ledger has never heard of it."""
    (known, *_) = _of(lines, "submission")
    lines.append({**known, "id": "00000000-0000-4000-8000-000000000000"})


def commit_without_holding(lines: list[Line]) -> None:
    """Another session than the one that claimed the job has committed it."""
    next(one for one in _of(lines, "changes") if one["target"] == "succeeded")["session"] = "other"


def forge_a_receipt(lines: list[Line]) -> None:
    """A receipt tells of another answer than the one that is stored."""
    (receipt, *_) = _of(lines, "receipts")
    told = json.loads(base64.b64decode(receipt["canonical"]))
    told["output_hash"] = f"sha256:{'0' * 64}"
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    receipt["canonical"] = base64.b64encode(canonical).decode()


def miscount(lines: list[Line]) -> None:
    """A counter is one too high."""
    (metrics,) = _of(lines, "metrics")
    metrics["counts"] = [[model, state, n + 1] for model, state, n in metrics["counts"]]


def leave_an_engine_behind(lines: list[Line]) -> None:
    """An engine outlives its worker."""
    lines.append({"what": "process", "name": "4711 engine"})


def crash_too_often(lines: list[Line]) -> None:
    """A job was tried again after its third crash."""
    (job, *_) = _of(lines, "jobs")
    job["crashes"], job["crash_reasons"] = 4, ["process died"] * 4


SEEDED: dict[str, Edit] = {
    "I1": lose_a_job,
    "I2": commit_without_holding,
    "I3": forge_a_receipt,
    "I4": miscount,
    "I5": leave_an_engine_behind,
    "I6": crash_too_often,
}


@pytest.mark.parametrize("name", list(INVARIANTS))
def test_each_broken_promise_is_caught_by_its_own_invariant(
    good: Path, tmp_path: Path, name: str
) -> None:
    """Exactly that one, and no other."""
    assert {name} == _caught(good, tmp_path, SEEDED[name])


def remove_a_step(lines: list[Line]) -> None:
    """A move is missing."""
    lines.remove(next(one for one in _of(lines, "changes") if one["step"] == 2))


def commit_twice(lines: list[Line]) -> None:
    """A job was committed a second time."""
    done = next(one for one in _of(lines, "changes") if one["target"] == "succeeded")
    lines.append({**done, "step": done["step"] + 1})


def lower_a_fence(lines: list[Line]) -> None:
    """A job was ended under an older fence than it was claimed with."""
    next(one for one in _of(lines, "changes") if one["target"] == "succeeded")["fence"] = 0


def lose_a_receipt(lines: list[Line]) -> None:
    """A job succeeded and has no receipt."""
    lines.remove(_of(lines, "receipts")[0])


def give_a_receipt_for_nothing(lines: list[Line]) -> None:
    """A job failed and has a receipt."""
    (receipt, *_) = _of(lines, "receipts")
    failed = next(one for one in _of(lines, "jobs") if one["state"] == "failed")
    lines.append({**receipt, "job_id": failed["id"]})


def enter_a_refused_job(lines: list[Line]) -> None:
    """A client was told that its job is refused, and it ran."""
    next(one for one in _of(lines, "submission") if one["told"] == "accepted")["told"] = "refused"


def leave_a_session_open(lines: list[Line]) -> None:
    """A worker has ended and its session has not."""
    _of(lines, "sessions")[0]["closed_at"] = None


def begin_too_late(lines: list[Line]) -> None:
    """A job was begun after its deadline."""
    ran = next(one for one in _of(lines, "jobs") if one["state"] == "succeeded")
    ran["deadline"] = ran["claimed_at"] - 1.0


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (remove_a_step, "I2"),
        (commit_twice, "I2"),
        (lower_a_fence, "I2"),
        (lose_a_receipt, "I3"),
        (give_a_receipt_for_nothing, "I3"),
        (enter_a_refused_job, "I1"),
        (leave_a_session_open, "I5"),
        (begin_too_late, "I6"),
    ],
)
def test_other_ways_to_break_a_promise_are_caught(
    good: Path, tmp_path: Path, edit: Edit, name: str
) -> None:
    """At least by the invariant that they break."""
    assert name in _caught(good, tmp_path, edit)


def leave_messages_unacked(lines: list[Line]) -> None:
    """Workers have ended in peace, and Redis still notes messages that they had in hand."""
    lines.append({"what": "unacked", "size": 7, "ids": [_ended(lines)] * 7})


def leave_a_queue_full(lines: list[Line]) -> None:
    """A job was sent once, and its message is in the queue many times."""
    ended = _ended(lines)
    lines.append({"what": "queue", "key": "model.fake-a\x06\x163", "size": 50, "ids": [ended] * 50})


def leave_garbage(lines: list[Line]) -> None:
    """Nobody has taken what is no job's message out of a queue."""
    lines.append({"what": "queue", "key": "celery", "size": 3, "ids": []})


def leave_a_waiting_jobs_message(lines: list[Line]) -> None:
    """After a fault that leaves copies behind, a message names a job that has not ended."""
    _revive(lines)
    lines.append({"what": "queue", "key": "model.fake-a", "size": 1, "ids": [_ended(lines)]})


def leave_a_held_jobs_message(lines: list[Line]) -> None:
    """After such a fault, a message in hand names a job that has not ended."""
    _revive(lines)
    lines.append({"what": "unacked", "size": 1, "ids": [_ended(lines)]})


def end_with_an_error(lines: list[Line]) -> None:
    """A worker did not end as SIGTERM ends it."""
    _of(lines, "worker")[0]["code"] = 1


def end_otherwise_than_expected(lines: list[Line]) -> None:
    """The test expects an error of another worker, and another error of this one."""
    (worker,) = _of(lines, "worker")
    lines.append({"what": "expected", "pid": worker["pid"] + 1, "code": 1})
    lines.append({"what": "expected", "pid": None, "code": -6})
    worker["code"] = 1


def be_ended_by_sigterm(lines: list[Line]) -> None:
    """A worker that had a session died of SIGTERM."""
    _of(lines, "worker")[0]["code"] = -15


def never_end(lines: list[Line]) -> None:
    """A worker has not ended when the drain was over."""
    _of(lines, "worker")[0]["code"] = None


def expire_late(lines: list[Line]) -> None:
    """A job's deadline passed an hour before it expired, under the eyes of a worker."""
    _in_state(lines, "expired")["deadline"] -= 3600.0
    _of(lines, "sessions")[0]["opened_at"] -= 3600.0


def answer_late(lines: list[Line]) -> None:
    """A job was begun in time, and committed an hour after its deadline."""
    done = _in_state(lines, "succeeded")
    done["deadline"] = done["claimed_at"]
    for move in _of(lines, "changes"):
        move["at"] += 3600.0 * ((move["job_id"], move["target"]) == (done["id"], "succeeded"))
    _of(lines, "sessions")[0]["closed_at"] += 3600.0


def expire_early(lines: list[Line]) -> None:
    """A job is expired, and its deadline lies ahead."""
    _in_state(lines, "expired")["deadline"] += 60.0


def expire_without_a_deadline(lines: list[Line]) -> None:
    """A job is expired that had all the time in the world."""
    _in_state(lines, "expired")["deadline"] = None


def die_too_soon(lines: list[Line]) -> None:
    """A job is dead, and has one crash too few."""
    dead = _in_state(lines, "dead")
    dead["crashes"], dead["crash_reasons"] = 2, dead["crash_reasons"][:2]


def outlive_the_last_crash(lines: list[Line]) -> None:
    """A job has suffered its last crash, and was called off afterwards."""
    _in_state(lines, "dead")["state"] = "cancelled"


def die_of_something_else(lines: list[Line]) -> None:
    """A job is dead, and its error is about something else."""
    _in_state(lines, "dead")["error"]["code"] = "ENGINE_DEAD"


def count_a_shared_crash(lines: list[Line]) -> None:
    """A crash counts against a job that was not alone in flight."""
    innocent = _in_state(lines, "cancelled")
    innocent["crashes"], innocent["crash_reasons"] = 1, ["process died"]


def count_a_crash_of_two(lines: list[Line]) -> None:
    """A crash was counted, and another job was in flight under the same session."""
    last = max(_of(lines, "sessions"), key=lambda one: one["closed_at"])
    move = next(one for one in _of(lines, "changes") if one["at"] == last["closed_at"])
    lines.append({**move, "job_id": _in_state(lines, "cancelled")["id"], "step": 4})


def count_what_was_no_crash(lines: list[Line]) -> None:
    """A crash was counted, and its session was closed in peace."""
    _of(lines, "sessions")[-1]["crashed"] = False


def forget_a_shared_crash(lines: list[Line]) -> None:
    """A job shared a crash, and the count of those does not say so."""
    _in_state(lines, "cancelled")["shared_crashes"] = 0


def clear_a_suspect(lines: list[Line]) -> None:
    """A job shared a crash, and is no suspect."""
    _in_state(lines, "cancelled")["suspect"] = False


@pytest.mark.parametrize(
    ("history", "edit", "told"),
    [
        ("good", leave_messages_unacked, "I5: 7 messages are unacked"),
        ("good", leave_a_queue_full, "I5: .* is 50 times in a queue, where 0 copies may be"),
        ("good", leave_garbage, "I5: 3 elements of celery name no job"),
        ("good", leave_a_waiting_jobs_message, "I5: .* is queued and 1 times in a queue"),
        ("good", leave_a_held_jobs_message, "I5: .* is in an unacked message"),
        ("good", end_with_an_error, "I5: the worker w0@testnode ended with 1"),
        ("good", end_otherwise_than_expected, "I5: the worker w0@testnode ended with 1"),
        ("good", be_ended_by_sigterm, "I5: the worker w0@testnode ended with -15"),
        ("good", never_end, "I5: the worker w0@testnode has not ended"),
        ("good", expire_late, "I6: .* is expired 3600.* s after its deadline"),
        ("good", answer_late, "I6: .* is succeeded 3600.* s after its deadline"),
        ("good", expire_early, "I6: .* is expired before its deadline"),
        ("good", expire_without_a_deadline, "I6: .* is expired before its deadline"),
        ("crashes", die_too_soon, "I6: .* is dead after 2 crashes"),
        ("crashes", outlive_the_last_crash, "I6: .* is cancelled after 3 crashes"),
        ("crashes", die_of_something_else, "I6: .* is dead, and its error says ENGINE_DEAD"),
        ("crashes", count_a_shared_crash, r"I6: .* suffered \[\] alone, and \['process died'\]"),
        ("crashes", count_a_crash_of_two, r"I6: .* suffered \['process died', 'process died'\] "),
        ("crashes", count_what_was_no_crash, "I6: .* suffered .* alone, and .* is counted"),
        ("crashes", forget_a_shared_crash, "I6: .* shared 1 crashes, and 0 are counted"),
        ("crashes", clear_a_suspect, "I6: .* shared a crash and is no suspect"),
    ],
)
def test_what_breaks_a_promise_is_told(
    request: pytest.FixtureRequest, tmp_path: Path, history: str, edit: Edit, told: str
) -> None:
    """In a sentence that says what is wrong, which no other rule would have said."""
    found = _told(request.getfixturevalue(history), tmp_path, edit)

    assert 1 == sum(re.match(told, one) is not None for one in found), found


def be_killed(lines: list[Line]) -> None:
    """A worker was killed; what it had in hand stays noted, and nobody reads it again."""
    leave_messages_unacked(lines)
    _of(lines, "worker")[0]["code"] = -9


def lose_the_broker(lines: list[Line]) -> None:
    """Redis was started again; what was in hand has been put back, and the job had gone on."""
    leave_a_queue_full(lines)
    _of(lines, "broker")[-1]["run_id"] = "another"


def flush_the_broker(lines: list[Line]) -> None:
    """Redis was told to forget all, and says so; everything was sent again."""
    leave_a_queue_full(lines)
    _of(lines, "broker")[-1]["harmed"] = ["cmdstat_flushall"]


def cut_the_broker_off(lines: list[Line]) -> None:
    """The test has said that connections are cut."""
    leave_a_queue_full(lines)
    lines.append({"what": "copied", "why": "there is a proxy in front of Redis"})


def send_a_copy(lines: list[Line]) -> None:
    """The ledger has numbered a second copy of a message, and the first one is still there."""
    ended = _ended(lines)
    _of_id(lines, ended)["sent_number"] = 2
    lines.append({"what": "queue", "key": "model.fake-a\x06\x163", "size": 1, "ids": [ended]})


def end_as_expected(lines: list[Line]) -> None:
    """The test has said with which code this worker ends."""
    (worker,) = _of(lines, "worker")
    lines.append({"what": "expected", "pid": worker["pid"], "code": 1})
    worker["code"] = 1


def be_stopped_at_its_start(lines: list[Line]) -> None:
    """A worker was sent SIGTERM while its Python still imported."""
    worker = _of(lines, "worker")[0]
    lines.append({**worker, "pid": worker["pid"] + 1, "code": -15})


def leave_a_tick(lines: list[Line]) -> None:
    """What beat sends expires by itself, and other people's lists are their own."""
    lines += [{"what": "queue", "key": key, "size": 2, "ids": []} for key in ("control", "bare")]


def expire_while_nobody_is_there(lines: list[Line]) -> None:
    """A job's deadline passed an hour before the first worker came."""
    _in_state(lines, "expired")["deadline"] -= 3600.0


@pytest.mark.parametrize(
    "edit",
    [
        be_killed,
        lose_the_broker,
        flush_the_broker,
        cut_the_broker_off,
        send_a_copy,
        end_as_expected,
        be_stopped_at_its_start,
        leave_a_tick,
        expire_while_nobody_is_there,
    ],
)
def test_what_the_history_accounts_for_is_passed(good: Path, tmp_path: Path, edit: Edit) -> None:
    """The same finding is no violation where something else in the history is its cause."""
    assert [] == _told(good, tmp_path, edit)


def test_a_worker_that_ends_by_itself_fails_its_test(tmp_path: Path) -> None:
    """Until the test says that it may: here it says so afterwards."""
    home = Cluster(tmp_path / "home")
    try:
        home.script({"rules": [{"do": "exit", "exit_code": 3, "once": str(tmp_path / "once")}]})
        home.supervise()
        home.wait_all(home.submit())
        path = home.settle()

        told = "I5: the worker s0@testnode ended with 3, which nobody has said it may"
        assert [told] == [str(one) for one in check(path)]
        home.may_end(3)
        assert [] == check(path)
    finally:
        home.close()


def _revive(lines: list[Line]) -> None:
    """Put an ended job back into its queue, in a run whose broker was flushed."""
    job = _of_id(lines, _ended(lines))
    job["state"] = "queued"
    _of(lines, "broker")[-1]["harmed"] = ["cmdstat_flushall"]


def _ended(lines: list[Line]) -> str:
    """The first job to have succeeded: its id."""
    moves = sorted(_of(lines, "changes"), key=lambda one: int(one["seq"]))
    return str(next(one for one in moves if one["target"] == "succeeded")["job_id"])


def _of_id(lines: list[Line], job_id: str) -> Line:
    return next(one for one in _of(lines, "jobs") if one["id"] == job_id)


def _in_state(lines: list[Line], state: str) -> Line:
    return next(one for one in _of(lines, "jobs") if one["state"] == state)


def _caught(good: Path, folder: Path, edit: Edit) -> set[str]:
    return {told.partition(":")[0] for told in _told(good, folder, edit)}


def _told(good: Path, folder: Path, edit: Edit) -> list[str]:
    lines = _lines(good)
    edit(lines)
    bad = folder / "history.jsonl"
    bad.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [str(violation) for violation in check(bad)]


def _lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _of(lines: list[Line], what: str) -> list[Line]:
    return [line for line in lines if line["what"] == what]
