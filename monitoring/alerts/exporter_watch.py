"""Watches whoever takes Alertmanager's posts, and tells people itself when nobody does.

What Prometheus judges reaches people through `honeyflow metrics` alone. If that hangs or is gone,
neither its end nor anything else can come from there; the maintenance worker says it.
"""

from __future__ import annotations

from dataclasses import replace

from ledger import Ledger, Transaction, alerts, leases
from monitoring.alerts import stored
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.notifier import Notifier
from monitoring.alerts.rule import LINKS
from monitoring.alerts.units import Unit
from monitoring.follower import LEASE

NAME = "ExporterAway"
RUNBOOK = f"{LINKS.runbooks}#{NAME.lower()}"
AWAY_S = 60.0
MOST_S = 15.0
"""What counts at most between two looks: whoever stood still itself has seen nothing meanwhile."""


class ExporterWatch:
    """Looks, each time it is asked, whether an exporter counts; from one thread.

    Only what it has seen itself counts, from its first look on. So it also fires where no exporter
    was ever there, and in good time where one has just been replaced.
    """

    def __init__(self, ledger: Ledger, notifier: Notifier, *, away_s: float = AWAY_S) -> None:
        self._ledger = ledger
        self._notifier = notifier
        self._away_s = away_s
        self._looked_at: float | None = None
        self._away = 0.0

    def look(self) -> int:
        """Tell that nobody counts, or that somebody does again; gives how much there was to tell.

        Raises:
            LedgerError: the ledger does not answer; nothing was written.
        """
        with self._ledger.read() as tx:
            there = leases.is_held(tx, LEASE)
            self._note(tx, there=there)
            known = [row for row in alerts.list(tx, firing=True) if row.rule == NAME]
            now = tx.now
        if there:
            heard = [_over(stored.from_json(row.alert), now) for row in known]
        else:
            heard = [_alert(now, self._away)] if self._away >= self._away_s else []
        return self._notifier.hear(heard) if heard else 0

    def _note(self, tx: Transaction, *, there: bool) -> None:
        before, self._looked_at = self._looked_at, None if there else tx.lease_now
        if there:
            self._away = 0.0
        elif before is not None:
            self._away += min(max(0.0, tx.lease_now - before), MOST_S)


def _alert(now: float, away: float) -> Alert:
    told = Unit.DURATION.told(away)
    return Alert(
        rule=NAME,
        severity=Severity.PAGE,
        firing=True,
        since=now,
        value=away,
        summary=f"No honeyflow metrics has run for {told}",
        description=(
            f"For {told} nobody has counted, shown metrics or taken what Alertmanager posts: until "
            "one runs, people hear of no rule that Prometheus judges."
        ),
        runbook=RUNBOOK,
    )


def _over(alert: Alert, now: float) -> Alert:
    return replace(alert, firing=False, ended=max(now, alert.since))
