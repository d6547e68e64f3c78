"""The states of a job and the moves between them, as published in ARCHITECTURE.md.

Nothing else may move a job: `ledger.transitions` refuses to build a move that is not in `EDGES`,
and a trigger in the database refuses it once more.
"""

from __future__ import annotations

from enum import StrEnum

from ledger.errors import IllegalTransition


class State(StrEnum):
    """Where a job is in its life."""

    SCHEDULED = "scheduled"
    """Waits for its time: an eta, or the wait before a retry."""
    QUEUED = "queued"
    """Due; a message with its id is, or will be, in its queue."""
    RUNNING = "running"
    """Claimed by a session."""
    SUCCEEDED = "succeeded"
    """Has a result and a receipt."""
    FAILED = "failed"
    """Has a final error."""
    CANCELLED = "cancelled"
    """Was called off."""
    EXPIRED = "expired"
    """Its deadline passed first."""
    DEAD = "dead"
    """Crashed its worker three times."""


APART_AFTER = 2
"""How many crashes a job shares with others before it runs alone; see `ledger.crashes`."""
TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED, State.DEAD})

EDGES: frozenset[tuple[State | None, State]] = frozenset(
    {
        (None, State.QUEUED),
        (None, State.SCHEDULED),
        (None, State.FAILED),
        (State.SCHEDULED, State.QUEUED),
        (State.SCHEDULED, State.FAILED),
        (State.SCHEDULED, State.CANCELLED),
        (State.SCHEDULED, State.EXPIRED),
        (State.QUEUED, State.RUNNING),
        (State.QUEUED, State.FAILED),
        (State.QUEUED, State.CANCELLED),
        (State.QUEUED, State.EXPIRED),
        (State.QUEUED, State.DEAD),
        (State.RUNNING, State.QUEUED),
        (State.RUNNING, State.SCHEDULED),
        (State.RUNNING, State.SUCCEEDED),
        (State.RUNNING, State.FAILED),
        (State.RUNNING, State.CANCELLED),
        (State.RUNNING, State.EXPIRED),
    }
)


def check(source: State | None, target: State) -> None:
    """Refuse a move that is not published.

    Raises:
        IllegalTransition: `(source, target)` is not in `EDGES`.
    """
    if (source, target) not in EDGES:
        raise IllegalTransition(
            f"A job cannot go from {source or 'nothing'} to {target}.",
            suggested_action="Use one of the moves in ledger.states.EDGES.",
            details={"from": source, "to": target},
        )
