"""`honeyflow metrics`: what the whole cluster's metrics are scraped from.

One process answers, the holder of the lease `metrics`; others stand by and take over.
"""

from __future__ import annotations

import gc
import importlib.metadata
import logging
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer

from cli.http_routes import Routes
from cli.http_server import HttpServer
from cli.metrics_routes import routes
from ledger import Ledger
from monitoring import logs
from monitoring.alerts.notifier import Source
from monitoring.broker_watch import BrokerWatch
from monitoring.exporter import Counted, Exporter
from monitoring.follower import Follower
from monitoring.following import Following
from monitoring.log_counter import EXPORTER, ErrorCounter
from monitoring.metrics import PORT
from tasks import alert_wiring, ledger_id, wiring
from tasks.alert_rounds import AlertRounds
from tasks.errors import HoneyflowError
from tasks.settings import Settings

ENDING = (signal.SIGTERM, signal.SIGINT)
MAX_BODY_BYTES = 4 * 1024 * 1024
"""What Alertmanager may post at once."""


def metrics(
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The port; 0 is any free one.")
    ] = PORT,
) -> None:
    """Export the cluster's metrics for Prometheus at /metrics, until SIGTERM."""
    # Blocked in every thread and waited for in one: a handler would run only when the main thread
    # happens to wake, for a signal may reach any thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    settings = wiring.settings()
    logs.install(settings.log_format, identity=lambda: {"worker": EXPORTER})
    errors = ErrorCounter()
    errors.attach(logging.getLogger())
    with (
        wiring.open_ledger(migrate=False) as ledger,
        _watching(settings) as watch,
        _following(settings, ledger) as following,
        _telling(settings, ledger),
    ):
        exporter = Exporter(
            ledger,
            counted=lambda: Counted(totals=following.totals, lag=following.lag),
            broker_facts=lambda: watch.facts,
            models=wiring.catalogue().models,
            channels=[channel.name for channel in alert_wiring.settings().channels],
            version=importlib.metadata.version("honeyflow"),
            canaries=settings.canary.every_s > 0,
            limits=alert_wiring.limits(settings),
            logged_errors=lambda: errors.count,
        )
        hooks = {"/alerts": alert_wiring.incoming(ledger, alert_wiring.settings()).handle}
        table = routes(exporter, following, hooks=hooks)
        server = _listening(host, port, table)
        serving = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        serving.start()
        # Or the collector would look through all that was loaded in the middle of some scrape.
        gc.freeze()
        typer.echo(f"metrics at {server.url}/metrics")
        signal.sigwait(ENDING)
        server.stop()
        serving.join()


@contextmanager
def _watching(settings: Settings) -> Iterator[BrokerWatch]:
    watch = BrokerWatch(partial(ledger_id.connect, settings))
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


@contextmanager
def _following(settings: Settings, ledger: Ledger) -> Iterator[Following]:
    holder = f"{settings.node}:{os.getpid()}:{uuid.uuid4()}"
    following = Following(Follower(ledger, holder=holder, models=wiring.catalogue().models))
    following.start()
    try:
        yield following
    finally:
        following.stop()


@contextmanager
def _telling(settings: Settings, ledger: Ledger) -> Iterator[None]:
    """Tell people what Alertmanager posts, also while beat is dead."""
    told = alert_wiring.settings()
    if told.source is not Source.PROMETHEUS or not told.channels:
        yield
        return
    rounds = AlertRounds(ledger, told, every_s=settings.timing.alert_delivery_s)
    rounds.start()
    try:
        yield
    finally:
        rounds.stop()


def _listening(host: str, port: int, table: Routes) -> HttpServer:
    try:
        return HttpServer(
            host, port, table, name="honeyflow-metrics", max_body_bytes=MAX_BODY_BYTES
        )
    except OSError as error:
        raise HoneyflowError(
            f"The metrics cannot be served at {host}:{port}: {error.strerror or error}.",
            code="METRICS_ADDRESS_UNUSABLE",
            suggested_action="Give another --host or --port; port 0 takes any free one.",
            details={"host": host, "port": port},
        ) from error
