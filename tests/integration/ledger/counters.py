"""Followers that count one ledger at the same time, in batches of any size, and are killed."""

from __future__ import annotations

from collections.abc import Callable

from ledger import Ledger, ManualClock, Transaction, events, moves, totals
from monitoring.follower import Follower, _Standing
from monitoring.tally import Series, Tally
from tests.counters import assert_counters_equal_ledger

FIRST, TWIN, OTHER = range(3)
HOLDERS = {FIRST: "first", TWIN: "first", OTHER: "other"}
"""The first two have one name, so that no lease keeps them from each other; only numbers do."""


class Interrupted(Follower):
    """One to which something may happen between reading and writing."""

    meanwhile: Callable[[], object] | None = None

    def _write(self, old: _Standing, new: _Standing) -> None:
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
        super()._write(old, new)


class Killed(BaseException):
    """What ends a process that does not expect it."""


class Counters:
    """Three followers of one ledger."""

    def __init__(self, ledger: Ledger, clock: ManualClock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._followers = {which: self._begin(which, 3) for which in HOLDERS}

    def count(self, which: int) -> int:
        """One counts, if the others let it; what it shows never falls."""
        follower = self._followers[which]
        before = counted(follower)
        number = follower.advance()
        after = counted(follower)
        assert all(total <= after[series] for series, total in before.items())
        return number

    def overtake(self, which: int, other: int) -> None:
        """One has read, and before it writes, another one counts."""
        self._followers[which].meanwhile = self._followers[other].advance
        self.count(which)

    def kill(self, which: int, batch: int) -> None:
        """One is killed when it has read and not written, and another begins in its place."""

        def die() -> None:
            raise Killed

        self._followers[which].meanwhile = die
        try:
            self.count(which)
        except Killed:
            pass
        self._followers[which] = self._begin(which, batch)

    def check(self) -> None:
        """What was counted so is to the last bit what one gets who counts all at once."""
        self._clock.advance(100)
        assert_counters_equal_ledger(self._ledger)
        with self._ledger.read() as tx:
            assert at_once(tx).totals == Tally.of_rows(totals.read(tx), models=()).totals

    def _begin(self, which: int, batch: int) -> Interrupted:
        return Interrupted(self._ledger, holder=HOLDERS[which], batch=batch)


def at_once(tx: Transaction) -> Tally:
    """All moves and events of a ledger, counted in one go."""
    whole = Tally.of_rows((), models=())
    whole.count(moves.after(tx, 0, 1_000_000), events.after(tx, 0, 1_000_000))
    return whole


def counted(follower: Follower) -> dict[Series, float]:
    """The series of a follower that only ever grow: counters, and how often histograms observed."""
    return {
        series: sum(total.counts) if total.counts else total.value
        for series, total in follower.totals.items()
        if total.counts or series[0].endswith("_total")
    }
