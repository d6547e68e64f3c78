"""What the ledger promises, in plain Python: the model that `machine.py` holds beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger import TERMINAL, State
from ledger.endings import MAX_TRIES

NEVER = float("inf")


@dataclass
class Model:
    """What the machine believes of one job; all of them ask for the same."""

    id: str
    state: State
    created: float
    priority: int = 3
    shared: bool = False
    follows: str | None = None
    fence: int = 0
    tries: int = 0
    crashes: int = 0
    suspect: bool = False
    shared_crashes: int = 0
    cancel: bool = False
    promoted: bool = False
    session: str | None = None
    queued: float = 0.0
    due: float = 0.0
    deadline: float = NEVER
    copies: int = 1
    kept: set[int] = field(default_factory=set)

    @property
    def age(self) -> tuple[float, str]:
        """Who comes first."""
        return self.created, self.id

    @property
    def waits_for_leader(self) -> bool:
        """Scheduled, without a time of its own."""
        return self.state is State.SCHEDULED and self.due == NEVER

    def queue(self, now: float) -> None:
        """To its queue, again or at last."""
        self.state, self.queued, self.copies = State.QUEUED, now, self.copies + 1

    def give_back(self, now: float) -> None:
        """Back to its queue, or cancelled where that was asked for."""
        if self.cancel:
            self.state = State.CANCELLED
        else:
            self.queue(now)

    def end(self, what: str, now: float) -> None:
        """What its worker does with it, that has it."""
        if what == "hand back":
            self.give_back(now)
        elif what == "retry" and self.cancel:
            self.state = State.CANCELLED
        elif what == "retry" and self.tries < MAX_TRIES:
            self.state, self.tries, self.due = State.SCHEDULED, self.tries + 1, now + 2
        else:
            self.state = {
                "commit": State.SUCCEEDED,
                "fail": State.FAILED,
                "retry": State.FAILED,
                "cancel": State.CANCELLED,
                "expire": State.EXPIRED,
            }[what]

    def may_lead(self, other: Model) -> bool:
        """Whether another one, due now, follows it."""
        under_way = self.state in (State.QUEUED, State.RUNNING) or (
            self.state is State.SCHEDULED and self.tries > 0
        )
        later = self.state is State.QUEUED and self.priority > other.priority
        return self.shared and self.follows is None and under_way and not later and not self.cancel


def refusal(job: Model, held: list[Model], behind: int, now: float) -> str | None:
    """Why a live session, which holds these, does not get a job."""
    checks = {
        "ended": job.state in TERMINAL,
        "running": job.state is State.RUNNING,
        "expired": job.deadline <= now,
        "not_due": job.state is State.SCHEDULED,
        "stale_copy": bool(behind),
        "suspect_busy": job.suspect and any(other.suspect for other in held),
        "apart": job.shared_crashes > 1 and bool(held),
    }
    found = next((reason for reason, holds in checks.items() if holds), None)
    return "suspect_busy" if found == "apart" else found


def crash(held: list[Model], now: float) -> None:
    """The crash rule."""
    for job in held:
        if not job.cancel:
            job.suspect = True
            job.crashes += len(held) == 1
            job.shared_crashes += len(held) > 1
        job.give_back(now)
        if job.crashes == 3:
            job.state = State.DEAD


def release(jobs: dict[str, Model], now: float) -> set[str]:
    """The followers whose leader has ended: of a success all, else the oldest, which leads."""
    waiting = [job for job in jobs.values() if job.waits_for_leader]
    released = set()
    for leader_id in {job.follows for job in waiting}:
        assert leader_id is not None
        leader = jobs[leader_id]
        followers = sorted(_led(waiting, leader_id), key=lambda job: job.age)
        if leader.state is State.SUCCEEDED:
            going = [job for job in followers if job.deadline > now]
        elif leader.state in TERMINAL and followers[0].deadline > now:
            going = followers[:1]
            for job in followers:
                job.follows = going[0].id
            going[0].follows = None
        else:
            going = []
        for job in going:
            job.queue(now)
        released |= {job.id for job in going}
    return released


def _led(waiting: Iterable[Model], leader_id: str) -> list[Model]:
    return [job for job in waiting if job.follows == leader_id]
