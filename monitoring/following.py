"""Following the ledger on a thread of its own, and whether what was counted may be shown.

What is not counted up to now is not served as if it were: a standby, one that still counts what was
there before it, and one whose ledger is away give a reason instead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ledger import LedgerError
from monitoring.follower import Follower
from monitoring.tally import Series, Total

logger = logging.getLogger(__name__)

EVERY_S = 1.0
BEHIND = 2_000
"""How many moves may be left to count while it is still said to be up to date."""

STALE_S = 30.0
"""After so many seconds without a look at the ledger the totals are old."""

NOTED_EVERY_S = 2.0
"""How often is looked at what else was noted in the ledger."""


class Role(StrEnum):
    """What a follower is doing."""

    LEADER = "leader"
    """It counts, and has counted all."""
    CATCHING_UP = "catching_up"
    """It counts what was there before."""
    STANDBY = "standby"
    """Another one counts."""
    CUT_OFF = "cut_off"
    """The ledger is away, or was not looked at for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a follower is doing, and, unless it leads, a sentence that says why nothing is shown."""

    role: Role
    reason: str = ""


class Following:
    """Drives a follower from `start` to `stop`; everything else may be asked from any thread."""

    def __init__(self, follower: Follower, *, every_s: float = EVERY_S) -> None:
        self._follower = follower
        self._every_s = every_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="following", daemon=True)
        self._looked_at = time.monotonic()
        self._noted: tuple[float, Mapping[str, float]] = (0.0, {})
        self._error: LedgerError | None = None
        self._caught_up = False
        self._looked = False

    @property
    def totals(self) -> Mapping[Series, Total]:
        """What was counted so far."""
        return self._follower.totals

    @property
    def lag(self) -> int:
        """How many moves and events are still to be counted."""
        return self._follower.lag

    @property
    def standing(self) -> Standing:
        """Whether the totals may be shown, and if not, why."""
        error, silent_s = self._error, time.monotonic() - self._looked_at
        if error is not None:
            return Standing(
                role=Role.CUT_OFF,
                reason=f"The ledger cannot be followed: {error.message} {error.suggested_action}",
            )
        if silent_s > STALE_S:
            return Standing(
                role=Role.CUT_OFF,
                reason=f"The ledger has not been followed for {silent_s:.0f} s.",
            )
        if self._ending.is_set():
            return Standing(role=Role.CUT_OFF, reason="This process is about to end.")
        if not self._follower.leads:
            return self._without_lease(silent_s)
        if not self._caught_up:
            return Standing(
                role=Role.CATCHING_UP,
                reason=f"{self._follower.lag} moves and events of before are still to be counted.",
            )
        return Standing(role=Role.LEADER)

    def age_of(self, bookmark: str) -> float | None:
        """How many seconds ago a bookmark was noted, as last seen; None if it never was."""
        seen_at, ages = self._noted
        return None if bookmark not in ages else ages[bookmark] + time.monotonic() - seen_at

    def start(self) -> None:
        """Follow from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Count no further, and let a standby take over at once."""
        self._ending.set()
        self._thread.join()
        try:
            self._follower.release()
        except LedgerError as error:
            logger.warning("the lease stays until it lapses: %s", error)

    def _without_lease(self, silent_s: float) -> Standing:
        if self._follower.stands_by:
            return Standing(
                role=Role.STANDBY,
                reason="Another process exports the metrics; this one stands by and takes over.",
            )
        if not self._looked:
            return Standing(role=Role.CATCHING_UP, reason="The ledger has not been looked at yet.")
        return Standing(
            role=Role.CUT_OFF,
            reason=f"This process has hung for {silent_s:.0f} s and has lost its lease; if it goes "
            "on, it takes it again or stands by.",
        )

    def _run(self) -> None:
        while not self._ending.is_set():
            if not self._advance():
                self._ending.wait(self._every_s)

    def _advance(self) -> bool:
        """Count what is new; whether there is more at once."""
        try:
            counted = self._follower.advance()
            if time.monotonic() - self._noted[0] >= NOTED_EVERY_S:
                self._noted = (time.monotonic(), self._follower.noted())
        except LedgerError as error:
            if self._error is None:
                logger.warning("the ledger cannot be followed: %s", error)
            self._error = error
            return False
        except Exception:
            # The totals then grow old, which `standing` says.
            logger.exception("the ledger could not be followed")
            return False
        if self._error is not None:
            logger.info("the ledger is followed again")
        self._error, self._looked_at, self._looked = None, time.monotonic(), True
        leads, behind = self._follower.leads, self._follower.lag > BEHIND
        self._caught_up = leads and (self._caught_up or not behind)
        return counted > 0 and behind
