"""What is no violation where something else in the history is its cause."""

from __future__ import annotations

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


def be_killed(lines: list[Line]) -> None:
    """A worker was killed; what it had in hand stays noted, and nobody reads it again."""
    leave_messages_unacked(lines)
    told_of(lines, "worker")[0]["code"] = -9


def lose_the_broker(lines: list[Line]) -> None:
    """Redis was started again; what was in hand has been put back, and the job had gone on."""
    leave_a_queue_full(lines)
    told_of(lines, "broker")[-1]["run_id"] = "another"


def flush_the_broker(lines: list[Line]) -> None:
    """Redis was told to forget all, and says so; everything was sent again."""
    leave_a_queue_full(lines)
    told_of(lines, "broker")[-1]["harmed"] = ["cmdstat_flushall"]


def cut_the_broker_off(lines: list[Line]) -> None:
    """The test has said that connections are cut."""
    leave_a_queue_full(lines)
    lines.append({"what": "copied", "why": "there is a proxy in front of Redis"})


def send_a_copy(lines: list[Line]) -> None:
    """The ledger has numbered a second copy of a message, and the first one is still there."""
    ended = first_answered(lines)
    of_id(lines, ended)["sent_number"] = 2
    lines.append({"what": "queue", "key": "model.fake-a\x06\x163", "size": 1, "ids": [ended]})


def end_as_expected(lines: list[Line]) -> None:
    """The test has said with which code this worker ends."""
    (worker,) = told_of(lines, "worker")
    lines.append({"what": "expected", "pid": worker["pid"], "code": 1})
    worker["code"] = 1


def be_stopped_at_its_start(lines: list[Line]) -> None:
    """A worker was sent SIGTERM while its Python still imported."""
    worker = told_of(lines, "worker")[0]
    lines.append({**worker, "pid": worker["pid"] + 1, "code": -15})


def leave_a_tick(lines: list[Line]) -> None:
    """What beat sends expires by itself, and other people's lists are their own."""
    lines += [{"what": "queue", "key": key, "size": 2, "ids": []} for key in ("control", "bare")]


def expire_while_nobody_is_there(lines: list[Line]) -> None:
    """A job's deadline passed an hour before the first worker came."""
    in_state(lines, "expired")["deadline"] -= 3600.0


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
    assert [] == violations(good, tmp_path, edit)
