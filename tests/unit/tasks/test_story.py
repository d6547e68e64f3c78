"""Attempts as they follow from a job's moves."""

from __future__ import annotations

from ledger import Change, State
from tasks.story import attempts


def change(
    at: float, source: State | None, target: State, fence: int = 0, session: str | None = None
) -> Change:
    return Change(
        seq=int(at),
        at=at,
        job_id="j",
        step=int(at),
        source=source,
        target=target,
        fence=fence,
        reason=f"to {target}",
        session=session,
    )


def test_each_claim_is_an_attempt_with_its_wait_and_its_end() -> None:
    """The wait runs from the last time it was queued: a deliberate pause is none."""
    history = [
        change(10, None, State.QUEUED),
        change(12, State.QUEUED, State.RUNNING, 1, "one"),
        change(15, State.RUNNING, State.SCHEDULED, 1),
        change(20, State.SCHEDULED, State.QUEUED, 1),
        change(21, State.QUEUED, State.RUNNING, 2, "two"),
        change(29, State.RUNNING, State.SUCCEEDED, 2),
    ]

    first, second = attempts(history, {"one": ("w1", ("GPU-a",)), "two": ("w2", ())})

    assert (1, "w1", ("GPU-a",), 2, 3) == (
        first.number,
        first.worker,
        first.gpus,
        first.waited_s,
        first.run_s,
    )
    assert ("scheduled", "to scheduled") == (first.ended, first.why)
    assert (2, "w2", 1, 8, "succeeded") == (
        second.number,
        second.worker,
        second.waited_s,
        second.run_s,
        second.ended,
    )


def test_one_that_runs_has_no_end_and_one_that_waits_is_no_attempt() -> None:
    """A session that is no longer kept is an unknown worker."""
    waiting = [change(1, None, State.SCHEDULED), change(2, State.SCHEDULED, State.QUEUED)]
    running = [*waiting, change(5, State.QUEUED, State.RUNNING, 1, "gone")]

    (one,) = attempts(running, {})

    assert [] == attempts(waiting, {})
    assert (None, 3, None, None) == (one.worker, one.waited_s, one.run_s, one.ended)
