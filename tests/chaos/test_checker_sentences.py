"""What breaks a promise is told in a sentence: of messages, workers, deadlines and crashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.chaos.tampering import (
    Edit,
    Line,
    first_answered,
    in_state,
    leave_a_queue_full,
    leave_messages_unacked,
    of_id,
    told_of,
    violations,
)


def revive(lines: list[Line]) -> None:
    """Put an ended job back into its queue, in a run whose broker was flushed."""
    job = of_id(lines, first_answered(lines))
    job["state"] = "queued"
    told_of(lines, "broker")[-1]["harmed"] = ["cmdstat_flushall"]


def leave_garbage(lines: list[Line]) -> None:
    """Nobody has taken what is no job's message out of a queue."""
    lines.append({"what": "queue", "key": "celery", "size": 3, "ids": []})


def leave_a_waiting_jobs_message(lines: list[Line]) -> None:
    """After a fault that leaves copies behind, a message names a job that has not ended."""
    revive(lines)
    lines.append(
        {"what": "queue", "key": "model.fake-a", "size": 1, "ids": [first_answered(lines)]}
    )


def leave_a_held_jobs_message(lines: list[Line]) -> None:
    """After such a fault, a message in hand names a job that has not ended."""
    revive(lines)
    lines.append({"what": "unacked", "size": 1, "ids": [first_answered(lines)]})


def end_with_an_error(lines: list[Line]) -> None:
    """A worker did not end as SIGTERM ends it."""
    told_of(lines, "worker")[0]["code"] = 1


def end_otherwise_than_expected(lines: list[Line]) -> None:
    """The test expects an error of another worker, and another error of this one."""
    (worker,) = told_of(lines, "worker")
    lines.append({"what": "expected", "pid": worker["pid"] + 1, "code": 1})
    lines.append({"what": "expected", "pid": None, "code": -6})
    worker["code"] = 1


def be_ended_by_sigterm(lines: list[Line]) -> None:
    """A worker that had a session died of SIGTERM."""
    told_of(lines, "worker")[0]["code"] = -15


def never_end(lines: list[Line]) -> None:
    """A worker has not ended when the drain was over."""
    told_of(lines, "worker")[0]["code"] = None


def expire_late(lines: list[Line]) -> None:
    """A job's deadline passed an hour before it expired, under the eyes of a worker."""
    in_state(lines, "expired")["deadline"] -= 3600.0
    told_of(lines, "sessions")[0]["opened_at"] -= 3600.0


def answer_late(lines: list[Line]) -> None:
    """A job was begun in time, and committed an hour after its deadline."""
    done = in_state(lines, "succeeded")
    done["deadline"] = done["claimed_at"]
    for move in told_of(lines, "changes"):
        move["at"] += 3600.0 * ((move["job_id"], move["target"]) == (done["id"], "succeeded"))
    told_of(lines, "sessions")[0]["closed_at"] += 3600.0


def expire_early(lines: list[Line]) -> None:
    """A job is expired, and its deadline lies ahead."""
    in_state(lines, "expired")["deadline"] += 60.0


def expire_without_a_deadline(lines: list[Line]) -> None:
    """A job is expired that had all the time in the world."""
    in_state(lines, "expired")["deadline"] = None


def die_too_soon(lines: list[Line]) -> None:
    """A job is dead, and has one crash too few."""
    dead = in_state(lines, "dead")
    dead["crashes"], dead["crash_reasons"] = 2, dead["crash_reasons"][:2]


def outlive_the_last_crash(lines: list[Line]) -> None:
    """A job has suffered its last crash, and was called off afterwards."""
    in_state(lines, "dead")["state"] = "cancelled"


def die_of_something_else(lines: list[Line]) -> None:
    """A job is dead, and its error is about something else."""
    in_state(lines, "dead")["error"]["code"] = "ENGINE_DEAD"


def count_a_shared_crash(lines: list[Line]) -> None:
    """A crash counts against a job that was not alone in flight."""
    innocent = in_state(lines, "cancelled")
    innocent["crashes"], innocent["crash_reasons"] = 1, ["process died"]


def count_a_crash_of_two(lines: list[Line]) -> None:
    """A crash was counted, and another job was in flight under the same session."""
    last = max(told_of(lines, "sessions"), key=lambda one: one["closed_at"])
    move = next(one for one in told_of(lines, "changes") if one["at"] == last["closed_at"])
    lines.append({**move, "job_id": in_state(lines, "cancelled")["id"], "step": 4})


def count_what_was_no_crash(lines: list[Line]) -> None:
    """A crash was counted, and its session was closed in peace."""
    told_of(lines, "sessions")[-1]["crashed"] = False


def forget_a_shared_crash(lines: list[Line]) -> None:
    """A job shared a crash, and the count of those does not say so."""
    in_state(lines, "cancelled")["shared_crashes"] = 0


def clear_a_suspect(lines: list[Line]) -> None:
    """A job shared a crash, and is no suspect."""
    in_state(lines, "cancelled")["suspect"] = False


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
    found = violations(request.getfixturevalue(history), tmp_path, edit)

    assert 1 == sum(re.match(told, one) is not None for one in found), found
