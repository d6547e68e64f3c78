"""Judges the rules where there is no Prometheus: reads what an exporter would show, and judges it.

What was counted is taken from whoever counts. If nobody does it counts itself, and leaves that to
others again, so that an exporter is never kept waiting.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from ledger import Ledger, Transaction, alerts, totals
from monitoring.alerts.builtin import evaluate
from monitoring.alerts.history import Key, Snapshot
from monitoring.alerts.notifier import Notifier
from monitoring.alerts.rule import Rule
from monitoring.alerts.rules import BUILTIN
from monitoring.broker_watch import BrokerFacts
from monitoring.exporter import Counted, Exporter
from monitoring.follower import Follower
from monitoring.following import BEHIND
from monitoring.metrics import BY_NAME, Kind
from monitoring.series import at_rest
from monitoring.tally import Series, Tally, Total

logger = logging.getLogger(__name__)

STATE = "builtin"
"""The name under which is kept what the judge has to remember."""

COUNTING_S = 5.0


class Lookout:
    """Looks at everything and judges it, each time it is asked; from one thread."""

    def __init__(
        self,
        ledger: Ledger,
        notifier: Notifier,
        *,
        holder: str,
        broker_facts: Callable[[], BrokerFacts],
        models: Iterable[str] = (),
        canaries: bool = False,
        limits: Mapping[str, float] | None = None,
        rules: Sequence[Rule] = BUILTIN,
    ) -> None:
        self._ledger = ledger
        self._notifier = notifier
        self._rules = rules
        self._models = tuple(models)
        self._follower = Follower(ledger, holder=holder, models=self._models)
        self._counted = Counted(totals={}, lag=0)
        self._exporter = Exporter(
            ledger,
            counted=lambda: self._counted,
            broker_facts=broker_facts,
            models=self._models,
            channels=notifier.channel_names,
            version="",
            canaries=canaries,
            limits=limits,
        )

    def look(self) -> int:
        """Judge all rules; gives how much there was to tell.

        Nothing is judged while much is still to be counted: it would be judged as of long ago.

        What is to be remembered, what fires and what is to be told is written in one transaction.

        Raises:
            LedgerError: the ledger does not answer; nothing was written.
        """
        self._counted = self._count()
        if self._counted.lag > BEHIND:
            logger.info("nothing is judged: %d changes are to be counted", self._counted.lag)
            return 0
        values = self._values()
        with self._ledger.write() as tx:
            alerts.take_turn(tx)
            snapshot = Snapshot(at=tx.now, values=values)
            heard, state = evaluate(self._rules, snapshot, alerts.state(tx, STATE), tx.now)
            alerts.note_state(tx, STATE, state)
            return self._notifier.hear_in(tx, heard, complete=True)

    def _count(self) -> Counted:
        """What was counted: by this follower, if no other one does."""
        until = time.monotonic() + COUNTING_S
        while self._follower.advance() and time.monotonic() < until:
            pass
        if self._follower.leads:
            found = Counted(totals=self._follower.totals, lag=self._follower.lag)
            self._follower.release()
            return found
        with self._ledger.read() as tx:
            return Counted(totals=_stored(tx, self._models), lag=0)

    def _values(self) -> Mapping[Key, float]:
        """Every series but those of histograms, which no rule asks for."""
        found: dict[Key, float] = {}
        for family in self._exporter.collect():
            for sample in family.samples:
                table = BY_NAME.get(sample.name)
                if table is not None and table.kind is not Kind.HISTOGRAM:
                    labels = tuple(sample.labels[name] for name in table.labels)
                    found[table.name, labels] = sample.value
        return found


def _stored(tx: Transaction, models: Iterable[str]) -> Mapping[Series, Total]:
    """What another one has counted, with what it shows at 0: else no first failure is a rise."""
    tally = Tally.of_rows(totals.read(tx), models=models)
    return at_rest(models=tally.models.known, workers=tally.workers.known) | tally.totals
