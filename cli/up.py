"""`honeyflow up`: Redis if none is configured, workers as assigned, maintenance, beat, metrics."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import cluster
from cli.readiness import Readiness
from cli.supervisor import Supervisor
from ledger import Ledger, LedgerError, addresses
from monitoring import logs
from monitoring.metrics import PORT
from tasks import ledger_id, redis_server
from tasks import settings as settings_module
from tasks.errors import SettingsInvalid


def up(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The honeyflow.toml to go by.")
    ] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics/--no-metrics", help="Whether metrics are exported.")
    ] = True,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The port they are at; 0 is any free one.")
    ] = PORT,
) -> None:
    """Start everything this machine's honeyflow.toml asks for; Ctrl-C drains and stops it.

    A worker that ends is started again, unless its configuration lets none ever start. Metrics are
    at http://127.0.0.1:9464/metrics; where that port is taken everything else runs.
    """
    if config is not None:
        if not config.is_file():
            raise SettingsInvalid(f"{config} is not a file.")
        os.environ["HONEYFLOW_CONFIG"] = str(config.resolve())
    settings = settings_module.load()
    logs.install(settings.log_format)
    cluster.check(settings)
    ledger_place = addresses.shown(addresses.parsed(settings.ledger_url))
    readiness = Readiness(settings)
    taken = metrics and cluster.is_taken(metrics_port)
    exporters = [cluster.exporter(metrics_port)] if metrics and not taken else []
    supervisor = Supervisor(
        [*cluster.children(settings), *exporters],
        grace_s=settings.timing.grace_s + 20,
        on_circuit_open=readiness.note_open_circuit,
    )
    console = Console(highlight=False, soft_wrap=True)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    own_redis = settings.redis_embedded and redis_server.ensure(settings)
    try:
        # The exporter never does; the workers wait for whoever is first.
        with contextlib.suppress(LedgerError):
            Ledger.open(settings.ledger_url, migrate=True).close()
        supervisor.start()
        console.print(f"Redis   {ledger_id.address(settings)}", markup=False)
        console.print(f"ledger  {ledger_place}", markup=False)
        for child in supervisor.children:
            console.print(f"started {child.name}", markup=False)
        if taken:
            console.print(
                f"metrics are not exported: port {metrics_port} is taken by another program. "
                "Give another one with --metrics-port, or run `honeyflow metrics --port PORT`.",
                markup=False,
            )
        while not stopping.wait(0.5):
            readiness.mark(supervisor.children)
            supervisor.watch()
            readiness.tell_open_circuits()
            readiness.refuse_false_starts(supervisor.children)
        console.print("stopping: running jobs finish or go back to the queue")
    finally:
        supervisor.stop()
        readiness.close()
        if own_redis:
            redis_server.stop_detached(settings.redis_dir)
