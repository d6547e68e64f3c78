"""`honeyflow worker list|drain|undrain|stop`: what workers say of themselves and are told.

What they are told stands in the ledger, where each looks twice a second, also one that is full.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ledger import WorkerRow, workers
from monitoring.heartbeat import Heartbeat
from monitoring.json_reader import printable
from tasks import wiring
from tasks.errors import HoneyflowError

app = typer.Typer(no_args_is_help=True, help="Look at workers, drain and stop them.")

Name = Annotated[
    str, typer.Argument(help="The worker's name, as `honeyflow worker list` shows it.")
]


@app.command(name="list")
def list_workers() -> None:
    """List the workers that the ledger knows."""
    with wiring.client().ledger.read() as tx:
        rows, now = workers.list(tx), tx.now
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 132)
    table = Table("worker", "state", "model", "device", "in flight", "heard of", "told", box=None)
    for row in rows:
        table.add_row(*_cells(row, now))
    console.print(table)


@app.command()
def drain(name: Name) -> None:
    """Let a worker take nothing more; what it runs it finishes, and its engine stays."""
    _tell(name, drain=True)
    typer.echo(f"{name} was told to drain; `honeyflow worker undrain {name}` takes it back.")


@app.command()
def undrain(name: Name) -> None:
    """Let a drained worker take jobs again."""
    _tell(name, drain=False)
    typer.echo(f"{name} was told to go on.")


@app.command()
def stop(name: Name) -> None:
    """Stop a worker: it finishes within its grace time, hands back the rest, and exits with 0."""
    _tell(name, stop=True)
    typer.echo(f"{name} was told to stop.")


def _tell(name: str, *, drain: bool | None = None, stop: bool | None = None) -> None:
    with wiring.client().ledger.write() as tx:
        known = workers.set_flag(tx, name, drain=drain, stop=stop)
    if not known:
        raise unknown_worker(name)


def unknown_worker(name: str) -> HoneyflowError:
    """The error of a name that no worker has."""
    return HoneyflowError(
        f"The ledger knows no worker {name!r}.",
        code="WORKER_UNKNOWN",
        suggested_action="Look at `honeyflow workers`, which shows all of them.",
        details={"worker": name},
    )


def _cells(row: WorkerRow, now: float) -> list[str]:
    told = Heartbeat.from_facts(row.facts)
    in_flight = f"{told.in_flight or 0}/{told.places}" if told.places is not None else ""
    heard = "" if row.seen_at is None else f"{max(0.0, now - row.seen_at):.0f} s ago"
    order = "stop" if row.stop else "drain" if row.drain else ""
    return [
        printable(row.worker),
        printable(row.state),
        told.model or "",
        told.device or "",
        in_flight,
        heard,
        order,
    ]
