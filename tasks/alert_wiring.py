"""Puts together what tells people: channels, the notifier, the judge, and Alertmanager's door."""

from __future__ import annotations

import functools
import os
import uuid
from collections.abc import Mapping

from ledger import Ledger
from monitoring.alerts.exporter_watch import ExporterWatch
from monitoring.alerts.incoming import Incoming
from monitoring.alerts.lookout import Lookout
from monitoring.alerts.notifier import Notifier, Source
from monitoring.broker_watch import BrokerFacts, BrokerWatch
from tasks import ledger_id, wiring
from tasks.alert_settings import AlertSettings, configured
from tasks.settings import Settings

LEAST_CANARY_S, CANARY_SLACK_S = 300.0, 60.0
"""How long no canary may come back at least, and beyond twice the time between two of them."""


@functools.cache
def settings() -> AlertSettings:
    """Who judges and who is told, as this process's settings say.

    Raises:
        SettingsInvalid: a key is missing, unknown or wrong.
    """
    return configured(wiring.settings())


def notifier(ledger: Ledger, told: AlertSettings) -> Notifier:
    """A notifier for these settings."""
    return Notifier(ledger, told.channels, source=told.source, repeat_after_s=told.repeat_after_s)


def incoming(ledger: Ledger, told: AlertSettings) -> Incoming:
    """What stands behind `POST /alerts`; it takes nothing unless Alertmanager is to judge."""
    wanted = told.source is Source.PROMETHEUS
    return Incoming(notifier(ledger, told).hear if wanted else None, token=told.token)


def exporter_watch(ledger: Ledger, told: AlertSettings, around: Settings) -> ExporterWatch:
    """Who notices that nobody takes Alertmanager's posts, after as long as for a worker."""
    return ExporterWatch(ledger, notifier(ledger, told), away_s=around.timing.stale_s)


def lookout(ledger: Ledger, told: AlertSettings, around: Settings) -> Lookout:
    """The judge for a cluster without Prometheus."""
    watch = BrokerWatch(functools.partial(ledger_id.connect, around))

    def facts() -> BrokerFacts:
        watch.look()
        return watch.facts

    return Lookout(
        ledger,
        notifier(ledger, told),
        holder=f"{around.node}:{os.getpid()}:{uuid.uuid4()}",
        broker_facts=facts,
        models=wiring.catalogue().models,
        canaries=around.canary.every_s > 0,
        limits=limits(around),
    )


def limits(around: Settings) -> Mapping[str, float]:
    """The limits of rules that follow a setting, in seconds, whoever judges.

    A worker is stale when the sweep says so. A canary may take until the next one is sent: after
    one that was answered at once, the next answer may take twice as long as that.
    """
    every_s = around.canary.every_s
    found = {"WorkerStale": around.timing.stale_s}
    if every_s > 0:
        found["CanaryStale"] = max(LEAST_CANARY_S, 2 * every_s + CANARY_SLACK_S)
    return found
