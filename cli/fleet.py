"""`honeyflow workers`: the whole fleet at a glance, and `forget` for who will not come back."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import redis
import typer
from rich.console import Console
from rich.live import Live

from cli.fleet_table import Line, lines_of, render, totals_of
from cli.workers import unknown_worker
from ledger import LedgerError, standings, workers
from tasks import ledger_id, wiring, worker_hash
from tasks.client import Client

REFRESH_S = 1.0
WIDTH = 160
"""How wide the table is where there is no terminal."""

app = typer.Typer(
    help="Show the fleet, live: each worker, its GPU, its load, its last heartbeat.",
    invoke_without_command=True,
)

Once = Annotated[bool, typer.Option("--once", help="Print the table once and end.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and end.")]
Name = Annotated[str, typer.Argument(help="The worker's name, as `honeyflow workers` shows it.")]


@app.callback()
def show(context: typer.Context, once: Once = False, as_json: AsJson = False) -> None:
    """Show the fleet, live: each worker, its GPU, its load, its last heartbeat."""
    if context.invoked_subcommand is not None:
        return
    client = wiring.client()
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, markup=False, width=None if terminal else WIDTH)
    if as_json:
        typer.echo(json.dumps(_as_json(_look(client)), indent=2, ensure_ascii=False))
    elif once or not terminal:
        console.print(render(_look(client), width=console.width))
    else:
        _watch(client, console)


@app.command()
def forget(name: Name) -> None:
    """Take a worker that is gone for good out of the table; one that is alive stays."""
    client = wiring.client()
    with client.ledger.write() as tx:
        known = workers.forget(tx, name)
    if not known:
        raise unknown_worker(name)
    try:
        with ledger_id.connect(client.settings, timeout_s=1.0) as broker:
            worker_hash.forget(broker, name)
    except (redis.RedisError, OSError):
        typer.echo("Redis does not answer; its copy is gone by itself after a while.", err=True)
    typer.echo(f"{name} is forgotten.")


def _look(client: Client) -> list[Line]:
    with client.ledger.read() as tx:
        return lines_of(standings.read(tx), tx.now)


def _watch(client: Client, console: Console) -> None:
    """Draw the table again every second, until Ctrl-C; a ledger that is away is waited for."""
    lines, trouble = _look(client), ""
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                shown = render(lines, width=console.width, note=trouble or "Ctrl-C ends this.")
                live.update(shown, refresh=True)
                time.sleep(REFRESH_S)
                try:
                    lines, trouble = _look(client), ""
                except LedgerError as error:
                    trouble = f"as last seen; the ledger does not answer: {error}"
        except KeyboardInterrupt:
            live.update(render(lines, width=console.width), refresh=True)


def _as_json(lines: list[Line]) -> dict[str, Any]:
    return {"workers": [line.as_json() for line in lines], "totals": totals_of(lines)}
