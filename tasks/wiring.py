"""The composition root: settings to catalogue, ledger and client, each built once on first use."""

from __future__ import annotations

import functools

from ledger import Ledger, LedgerError
from monitoring import tracing
from monitoring.errors import TracingUnavailable
from monitoring.tracing import Tracer
from tasks import catalogue as catalogues
from tasks import settings as settings_module
from tasks.catalogue import Catalogue
from tasks.client import Client
from tasks.errors import SettingsInvalid, adopt
from tasks.settings import Settings


def settings() -> Settings:
    """This process's settings."""
    return settings_module.load()


@functools.cache
def catalogue() -> Catalogue:
    """The models and profiles this process knows."""
    return catalogues.build(settings())


@functools.cache
def client() -> Client:
    """The client of this process; it never migrates the ledger.

    Raises:
        LedgerAway: and its kinds, when the ledger cannot be opened.
    """
    return build_client(open_ledger(migrate=False))


@functools.cache
def tracer() -> Tracer:
    """Where this worker's spans go.

    Raises:
        SettingsInvalid: spans are asked for and cannot be sent.
    """
    from tasks import naming

    wanted = settings().tracing
    try:
        return tracing.open_tracer(
            wanted.endpoint, worker=naming.worker_name(), sample=wanted.sample
        )
    except TracingUnavailable as error:
        raise SettingsInvalid(
            error.message, code=error.code, suggested_action=error.suggested_action
        ) from error


def open_ledger(*, migrate: bool) -> Ledger:
    """The ledger of the settings; workers migrate it, clients do not."""
    try:
        return Ledger.open(settings().ledger_url, migrate=migrate)
    except LedgerError as error:
        raise adopt(error) from error


def build_client(ledger: Ledger) -> Client:
    """A client on an open ledger."""
    from tasks.celery import app

    return Client(settings=settings(), catalogue=catalogue(), ledger=ledger, app=app)
