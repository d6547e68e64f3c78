"""Rounds of telling people: what is new is written down, and what waits is delivered.

The maintenance worker makes one whenever beat asks, and looks before it whether an exporter is
there (`monitoring.alerts.exporter_watch`). Where Prometheus judges, `honeyflow metrics` makes them
as well, so that people also hear of a dead beat or a dead maintenance worker: leases and turns in
the ledger let nobody tell anything twice.
"""

from __future__ import annotations

import logging
import threading

from ledger import Ledger, LedgerError
from monitoring.alerts.delivery import Deliverer
from monitoring.alerts.reporter import report
from tasks import alert_wiring
from tasks.alert_settings import AlertSettings
from tasks.errors import HoneyflowError

logger = logging.getLogger(__name__)


def round_of(ledger: Ledger, told: AlertSettings) -> int:
    """Make one round; gives how many messages went out.

    Raises:
        LedgerError: the ledger does not answer; what was sent meanwhile is sent again.
    """
    report(ledger, told.channels)
    alert_wiring.notifier(ledger, told).hear()
    return Deliverer(ledger, told.channels).run()


class AlertRounds:
    """Makes rounds on a thread of its own, from `start` to `stop`."""

    def __init__(self, ledger: Ledger, told: AlertSettings, *, every_s: float) -> None:
        self._ledger = ledger
        self._told = told
        self._every_s = every_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Make no further round, and wait a while for the one under way."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            try:
                round_of(self._ledger, self._told)
            except (LedgerError, HoneyflowError) as error:
                logger.warning("this round of alerts was cut short: %s", error)
            except Exception:
                logger.exception("a round of alerts met something unexpected")
