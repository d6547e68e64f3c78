"""Follows the ledger's moves and events, and keeps the totals that the exporter shows.

What is new is read in batches. Each batch's totals are written in one transaction with the place
up to which was counted, by compare-and-set on that place: a process that dies in between loses
nothing, and of two that count the same only one writes. It costs what is new, and no more. What is
shown was so at some moment (`monitoring.pages`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ledger import (
    Ledger,
    Move,
    Transaction,
    bookmarks,
    changes,
    events,
    leases,
    moves,
    totals,
    workers,
)
from monitoring import pages
from monitoring.series import at_rest
from monitoring.tally import Series, Tally, Total

logger = logging.getLogger(__name__)

LEASE = "metrics"
LEASE_S = 15.0
"""How long a follower that does not come back keeps others from counting."""

MOVES = "metrics.moves"
EVENTS = "metrics.events"
"""The bookmarks: the numbers of the last move and of the last event that were counted."""

BATCH = 2_000
BATCHES = 10
"""How many batches one call counts at most, so that its caller can look after other things."""
LONGEST = 32
"""To how many batches a page grows that has no end; what is longer is shown in part."""


class Overtaken(Exception):
    """Another follower has counted what this one was about to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What has been counted, and how far."""

    tally: Tally
    moves: int
    events: int


class Follower:
    """Counts while it holds the lease; `advance` from one thread, the rest from any.

    `holder` names this process and no other. `models` are those that the configuration knows; their
    series are there from the start, and others come with their first job.
    """

    def __init__(
        self, ledger: Ledger, *, holder: str, models: Iterable[str] = (), batch: int = BATCH
    ) -> None:
        self._ledger = ledger
        self._holder = holder
        self._models = tuple(models)
        self._batch = batch
        self._standing: _Standing | None = None
        self._lease_until = 0.0
        self._refused = False
        self._names: tuple[frozenset[str], frozenset[str]] | None = None
        self._at_rest: dict[Series, Total] = {}
        self._totals: Mapping[Series, Total] = MappingProxyType({})
        self._lag = 0
        self._held = 0

    @property
    def totals(self) -> Mapping[Series, Total]:
        """All counted series as they were when the last batch was written; never changed again."""
        return self._totals

    @property
    def lag(self) -> int:
        """How many moves and events there were to count when `advance` returned."""
        return self._lag

    @property
    def leads(self) -> bool:
        """Whether this follower counts, and not another one."""
        return time.monotonic() < self._lease_until

    @property
    def stands_by(self) -> bool:
        """Whether another follower had the lease when this one last asked for it."""
        return self._refused

    def advance(self) -> int:
        """Count what is new, up to `BATCHES` batches; gives how many moves and events that were.

        Nothing is counted while another follower holds the lease. An error leaves open whether the
        batch was written; the next call finds out.

        Raises:
            LedgerError: the ledger cannot be read or written now.
        """
        counted, more = 0, True
        for _ in range(BATCHES):
            if not (more and self._lead()):
                break
            try:
                new, more = self._advance()
            except Overtaken as error:
                logger.info("%s", error)
                self._standing = None
            else:
                counted += new
        self._lag = self._behind() if more else self._held
        return counted

    def release(self) -> None:
        """Let another follower go on at once.

        Raises:
            LedgerError: the ledger cannot be written now; the lease ends by itself.
        """
        self._lease_until, self._standing, self._refused = 0.0, None, False
        with self._ledger.write() as tx:
            leases.release(tx, LEASE, self._holder)

    def noted(self) -> dict[str, float]:
        """How many seconds ago each bookmark of the ledger was last moved or noted.

        Raises:
            LedgerError: the ledger cannot be read now.
        """
        with self._ledger.read() as tx:
            return {mark.name: max(0.0, tx.now - mark.at) for mark in bookmarks.list(tx)}

    def _lead(self) -> bool:
        """Hold the lease, renewed in good time."""
        if self._lease_until - time.monotonic() > LEASE_S / 2:
            return True
        with self._ledger.write() as tx:
            return self._take(tx)

    def _take(self, tx: Transaction) -> bool:
        now = time.monotonic()
        held = leases.take(tx, LEASE, self._holder, LEASE_S)
        self._lease_until = now + LEASE_S if held else 0.0
        self._refused = not held
        return held

    def _advance(self) -> tuple[int, bool]:
        """Count one batch; gives how many that were, and whether there may be more.

        Raises:
            Overtaken: somebody else has counted them; nothing was written.
        """
        with self._ledger.read() as tx:
            old = self._standing or self._stored(tx)
            moved, more = self._page(tx, old.moves)
            happened = events.after(tx, old.events, self._batch)
            there = workers.list(tx) if old.tally.is_full(happened) else []
        if moved or happened:
            tally = old.tally.copy()
            tally.count(moved, happened, there)
            new = _Standing(
                tally=tally,
                moves=moved[-1].seq if moved else old.moves,
                events=happened[-1].id if happened else old.events,
            )
            self._write(old, new)
        else:
            new = old
        if new is not self._standing:
            self._standing = new
            self._totals = self._shown(new.tally)
        return len(moved) + len(happened), more or len(happened) == self._batch

    def _page(self, tx: Transaction, position: int) -> tuple[list[Move], bool]:
        """The next moves that can be counted together, and whether there may be more at once."""
        most = self._batch
        while True:
            found = moves.after(tx, position, most + 1)
            end, cut = pages.whole(found, most), len(found) > most
            if end or not cut:
                # What is held back comes after moves that no reader is shown yet.
                self._held = 0 if cut else len(found) - end
                return found[:end], cut
            if most >= LONGEST * self._batch:
                return found[:most], cut
            most *= 2

    def _stored(self, tx: Transaction) -> _Standing:
        return _Standing(
            tally=Tally.of_rows(totals.read(tx), models=self._models),
            moves=_position(tx, MOVES),
            events=_position(tx, EVENTS),
        )

    def _write(self, old: _Standing, new: _Standing) -> None:
        with self._ledger.write() as tx:
            # Both, also where only one moves: a total may be made of moves and of events.
            if not (
                self._take(tx)
                and bookmarks.move(tx, MOVES, expected=old.moves, to=new.moves)
                and bookmarks.move(tx, EVENTS, expected=old.events, to=new.events)
            ):
                raise Overtaken(f"Somebody else has counted what came after move {old.moves}.")
            totals.delete(tx, new.tally.gone)
            totals.write(tx, new.tally.rows())

    def _shown(self, tally: Tally) -> Mapping[Series, Total]:
        names = (frozenset(tally.models.known), frozenset(tally.workers.known))
        if names != self._names:
            self._at_rest = at_rest(models=names[0], workers=names[1])
            self._names = names
        return MappingProxyType(self._at_rest | tally.totals)

    def _behind(self) -> int:
        if self._standing is None:
            return self._lag
        with self._ledger.read() as tx:
            left = changes.count_after(tx, self._standing.moves)
            return left + events.count_after(tx, self._standing.events)


def _position(tx: Transaction, name: str) -> int:
    found = bookmarks.get(tx, name)
    return 0 if found is None else found.position
