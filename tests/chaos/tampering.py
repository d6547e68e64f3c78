"""A recorded history that is changed by a test, and what the checker says of it then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.checker import check

Line = dict[str, Any]
Edit = Callable[[list[Line]], None]


def load(path: Path) -> list[Line]:
    """The lines of a history."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def told_of(lines: list[Line], what: str) -> list[Line]:
    """The lines that tell of one kind of thing."""
    return [line for line in lines if line["what"] == what]


def of_id(lines: list[Line], job_id: str) -> Line:
    """A job's row."""
    return next(one for one in told_of(lines, "jobs") if one["id"] == job_id)


def in_state(lines: list[Line], state: str) -> Line:
    """The first row of a job in this state."""
    return next(one for one in told_of(lines, "jobs") if one["state"] == state)


def first_answered(lines: list[Line]) -> str:
    """The first job to have succeeded: its id."""
    moves = sorted(told_of(lines, "changes"), key=lambda one: int(one["seq"]))
    return str(next(one for one in moves if one["target"] == "succeeded")["job_id"])


def caught(good: Path, folder: Path, edit: Edit) -> set[str]:
    """The invariants that an edit breaks."""
    return {told.partition(":")[0] for told in violations(good, folder, edit)}


def violations(good: Path, folder: Path, edit: Edit) -> list[str]:
    """What the checker says of a history after an edit, in sentences."""
    lines = load(good)
    edit(lines)
    bad = folder / "history.jsonl"
    bad.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [str(violation) for violation in check(bad)]


def leave_messages_unacked(lines: list[Line]) -> None:
    """Workers have ended in peace, and Redis still notes messages that they had in hand."""
    lines.append({"what": "unacked", "size": 7, "ids": [first_answered(lines)] * 7})


def leave_a_queue_full(lines: list[Line]) -> None:
    """A job was sent once, and its message is in the queue many times."""
    ended = first_answered(lines)
    lines.append({"what": "queue", "key": "model.fake-a\x06\x163", "size": 50, "ids": [ended] * 50})
