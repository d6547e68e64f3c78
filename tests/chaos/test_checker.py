"""The checker: silent on a good history, and each broken promise is caught by its own invariant."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.chaos.checker import INVARIANTS, check
from tests.chaos.harness import Cluster
from tests.chaos.tampering import Edit, Line, caught, load, told_of


def test_a_good_history_is_passed(good: Path) -> None:
    """It holds something to check, and nothing is wrong with it."""
    lines = load(good)

    assert [] == check(good)
    states = {one["state"] for one in told_of(lines, "jobs")}
    assert {"succeeded", "failed", "cancelled", "expired"} == states
    assert {"accepted", "refused"} == {one["told"] for one in told_of(lines, "submission")}
    assert 3 == len(told_of(lines, "receipts"))
    assert [0] == [one["code"] for one in told_of(lines, "worker")]
    assert [[], []] == [one["harmed"] for one in told_of(lines, "broker")]


def test_a_history_of_crashes_is_passed(crashes: Path) -> None:
    """One job is dead for three crashes of its own; the one it shared counts against none."""
    rows = told_of(load(crashes), "jobs")

    assert [] == check(crashes)
    assert {("dead", 3, 1), ("cancelled", 0, 1)} == {
        (one["state"], one["crashes"], one["shared_crashes"]) for one in rows
    }


def lose_a_job(lines: list[Line]) -> None:
    """A client was told that a job is accepted, and the ledger has never heard of it."""
    (known, *_) = told_of(lines, "submission")
    lines.append({**known, "id": "00000000-0000-4000-8000-000000000000"})


def commit_without_holding(lines: list[Line]) -> None:
    """Another session than the one that claimed the job has committed it."""
    next(one for one in told_of(lines, "changes") if one["target"] == "succeeded")["session"] = (
        "other"
    )


def forge_a_receipt(lines: list[Line]) -> None:
    """A receipt tells of another answer than the one that is stored."""
    (receipt, *_) = told_of(lines, "receipts")
    told = json.loads(base64.b64decode(receipt["canonical"]))
    told["output_hash"] = f"sha256:{'0' * 64}"
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    receipt["canonical"] = base64.b64encode(canonical).decode()


def miscount(lines: list[Line]) -> None:
    """A counter is one too high."""
    (metrics,) = told_of(lines, "metrics")
    metrics["counts"] = [[model, state, n + 1] for model, state, n in metrics["counts"]]


def leave_an_engine_behind(lines: list[Line]) -> None:
    """An engine outlives its worker."""
    lines.append({"what": "process", "name": "4711 engine"})


def crash_too_often(lines: list[Line]) -> None:
    """A job was tried again after its third crash."""
    (job, *_) = told_of(lines, "jobs")
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
    assert {name} == caught(good, tmp_path, SEEDED[name])


def remove_a_step(lines: list[Line]) -> None:
    """A move is missing."""
    lines.remove(next(one for one in told_of(lines, "changes") if one["step"] == 2))


def commit_twice(lines: list[Line]) -> None:
    """A job was committed a second time."""
    done = next(one for one in told_of(lines, "changes") if one["target"] == "succeeded")
    lines.append({**done, "step": done["step"] + 1})


def lower_a_fence(lines: list[Line]) -> None:
    """A job was ended under an older fence than it was claimed with."""
    next(one for one in told_of(lines, "changes") if one["target"] == "succeeded")["fence"] = 0


def lose_a_receipt(lines: list[Line]) -> None:
    """A job succeeded and has no receipt."""
    lines.remove(told_of(lines, "receipts")[0])


def give_a_receipt_for_nothing(lines: list[Line]) -> None:
    """A job failed and has a receipt."""
    (receipt, *_) = told_of(lines, "receipts")
    failed = next(one for one in told_of(lines, "jobs") if one["state"] == "failed")
    lines.append({**receipt, "job_id": failed["id"]})


def enter_a_refused_job(lines: list[Line]) -> None:
    """A client was told that its job is refused, and it ran."""
    next(one for one in told_of(lines, "submission") if one["told"] == "accepted")["told"] = (
        "refused"
    )


def leave_a_session_open(lines: list[Line]) -> None:
    """A worker has ended and its session has not."""
    told_of(lines, "sessions")[0]["closed_at"] = None


def begin_too_late(lines: list[Line]) -> None:
    """A job was begun after its deadline."""
    ran = next(one for one in told_of(lines, "jobs") if one["state"] == "succeeded")
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
    assert name in caught(good, tmp_path, edit)


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
