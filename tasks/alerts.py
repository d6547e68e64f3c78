"""What beat has done about alerts: judging the rules where nobody else does, and telling people.

Every worker loads this module, and only the maintenance worker runs it: what it needs is imported
then.
"""

from __future__ import annotations

import functools
import logging
import threading
from typing import TYPE_CHECKING

from ledger import LedgerError, bookmarks
from tasks import wiring
from tasks.celery import app
from tasks.errors import HoneyflowError
from tasks.maintenance import BOOKMARK

if TYPE_CHECKING:
    from monitoring.alerts.exporter_watch import ExporterWatch
    from monitoring.alerts.lookout import Lookout

logger = logging.getLogger(__name__)

_delivering = threading.Lock()
_looking = threading.Lock()


@app.task(name="tasks.deliver_alerts", ignore_result=True)
def deliver_alerts() -> int:
    """Tell people what is new; returns how many messages went out.

    A second call while one runs does nothing.
    """
    if not _delivering.acquire(blocking=False):
        return 0
    try:
        return _deliver()
    except (LedgerError, HoneyflowError) as error:
        logger.warning("this round of alerts was cut short: %s", error)
        return 0
    finally:
        _delivering.release()


@app.task(name="tasks.check_alerts", ignore_result=True)
def check_alerts() -> int:
    """Judge the rules, if that is not Prometheus's; returns how much there was to tell.

    A second call while one runs does nothing.
    """
    if not _looking.acquire(blocking=False):
        return 0
    try:
        return _check()
    except (LedgerError, HoneyflowError) as error:
        logger.warning("the rules were not judged: %s", error)
        return 0
    finally:
        _looking.release()


def _deliver() -> int:
    from monitoring.alerts.notifier import Source
    from tasks import alert_rounds, alert_wiring

    told = alert_wiring.settings()
    if told.source is Source.PROMETHEUS:
        _exporter_watch().look()
    return alert_rounds.round_of(wiring.client().ledger, told)


def _check() -> int:
    from monitoring.alerts.notifier import Source
    from tasks import alert_wiring

    with wiring.client().ledger.write() as tx:
        bookmarks.note(tx, BOOKMARK)
    if alert_wiring.settings().source is not Source.BUILTIN:
        return 0
    return _lookout().look()


@functools.cache
def _exporter_watch() -> ExporterWatch:
    from tasks import alert_wiring

    return alert_wiring.exporter_watch(
        wiring.client().ledger, alert_wiring.settings(), wiring.settings()
    )


@functools.cache
def _lookout() -> Lookout:
    from tasks import alert_wiring

    return alert_wiring.lookout(wiring.client().ledger, alert_wiring.settings(), wiring.settings())
