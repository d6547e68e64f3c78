"""Puts together what tells people: channels, the notifier, the judge, and Alertmanager's door."""

from __future__ import annotations

import functools
import os
import uuid
from dataclasses import replace

from ledger import Ledger
from monitoring.alerts.expressions import Compare
from monitoring.alerts.incoming import Incoming
from monitoring.alerts.lookout import Lookout
from monitoring.alerts.notifier import Notifier, Source
from monitoring.alerts.rule import Rule
from monitoring.alerts.rules import BUILTIN
from monitoring.broker_watch import BrokerFacts, BrokerWatch
from tasks import ledger_id, wiring
from tasks.alert_settings import AlertSettings, configured
from tasks.settings import Settings


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
        rules=rules(around.timing.stale_s),
    )


def rules(stale_s: float) -> tuple[Rule, ...]:
    """What is judged here: a worker is stale when the sweep says so, whatever the table has."""
    return tuple(
        replace(rule, expression=replace(rule.expression, limit=stale_s))
        if rule.name == "WorkerStale" and isinstance(rule.expression, Compare)
        else rule
        for rule in BUILTIN
    )
