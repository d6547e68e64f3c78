"""A Celery app and a client for one home, beside those that this process has in `tasks.wiring`.

`tasks.wiring` keeps one client for the life of a process, which suits programs. A chaos test has a
home of its own, so it builds the same parts from the home's settings. Canvas and result backend ask
`tasks.wiring` for the client; while `wired` lasts they are given the home's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kombu.pools

from ledger import Ledger
from tasks import catalogue, wiring
from tasks.celery import HoneyflowCelery
from tasks.client import Client
from tasks.settings import Settings


def app_for(settings: Settings) -> HoneyflowCelery:
    """The app as `tasks.celery` makes it, on these settings' broker."""
    app = HoneyflowCelery("tasks", set_as_current=False)
    app.config_from_object("celeryconfig")
    url = settings.redis_url
    app.conf.update(
        broker_url=url,
        result_backend="ledger+" + url.replace("redis+socket://", "socket://"),
    )
    return app


def client_for(settings: Settings) -> Client:
    """A client with a ledger and an app of its own; migrates the ledger."""
    return Client(
        settings=settings,
        catalogue=catalogue.build(settings),
        ledger=Ledger.open(settings.ledger_url, migrate=True),
        app=app_for(settings),
    )


def close(client: Client) -> None:
    """Close what a client has open."""
    client.ledger.close()
    app = client.app
    if (consumer := getattr(app.backend, "result_consumer", None)) is not None:
        # Results that are collected later would ask Redis to forget them.
        consumer.stop()
        consumer._pubsub = None
    pools: tuple[Any, ...] = (app.producer_pool, app.pool)
    for pool in pools:
        pool.force_close_all()
    # kombu keeps them by address, and another home may have this one's port.
    for group in (kombu.pools.connections, kombu.pools.producers):
        for key in [key for key, pool in group.items() if pool in pools]:
            dict.__delitem__(group, key)
    app.close()


@contextmanager
def wired(client: Client) -> Iterator[None]:
    """Let canvas and results of this process use this client."""
    before = wiring.settings, wiring.catalogue, wiring.client
    wiring.settings = lambda: client.settings
    wiring.catalogue = lambda: client.catalogue  # type: ignore[assignment]
    wiring.client = lambda: client  # type: ignore[assignment]
    try:
        yield
    finally:
        wiring.settings, wiring.catalogue, wiring.client = before
