"""`honeyflow quarantine list|show|drop`: what came out of a queue and was no message."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ledger import quarantine
from tasks import wiring
from tasks.errors import HoneyflowError, RequestInvalid

app = typer.Typer(no_args_is_help=True, help="What came out of a queue and was no message.")


class QuarantineUnknown(HoneyflowError):
    """There is no such element in quarantine."""

    code = "QUARANTINE_UNKNOWN"
    http_status = 404
    suggested_action = "Look at `honeyflow quarantine list`."


@app.command(name="list")
def list_kept(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """List what is kept, the newest first, and how many there ever were of each kind."""
    with wiring.client().ledger.read() as tx:
        rows, totals = quarantine.list(tx, limit=limit), quarantine.totals(tx)
    if as_json:
        for row in rows:
            told = {"id": row.id, "at": row.at, "queue": row.queue, "reason": row.reason}
            told |= {"detail": row.detail, "size": row.size, "digest": row.digest}
            typer.echo(json.dumps({**told, "worker": row.worker}, ensure_ascii=False))
        return
    # Where nobody watches, nothing is cut.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    table = Table("id", "when (UTC)", "queue", "why", "bytes", "details", box=None)
    for row in rows:
        at = datetime.fromtimestamp(row.at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        detail = ascii(row.detail)[1:-1][:120]
        table.add_row(str(row.id), at, ascii(row.queue)[1:-1], row.reason, str(row.size), detail)
    console.print(table)
    counted = ", ".join(f"{reason} {total}" for reason, total in totals.items())
    console.print(f"ever kept: {counted or 'nothing'}")


@app.command()
def show(number: Annotated[int, typer.Argument(help="Its id, from the list.")]) -> None:
    """Print the bytes of one element, as they were in the queue (the first 64 KiB)."""
    with wiring.client().ledger.read() as tx:
        row = quarantine.get(tx, number)
    if row is None:
        raise QuarantineUnknown(f"There is no {number} in quarantine.")
    sys.stdout.buffer.write(row.data)


@app.command()
def drop(
    numbers: Annotated[list[int] | None, typer.Argument(help="Ids, from the list.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all of it.")] = False,
) -> None:
    """Delete elements from quarantine; the counts stay."""
    if bool(numbers) is everything:
        raise RequestInvalid(
            "Name what to drop by its id, or give --all.",
            code="OPTIONS_EXCLUSIVE",
            suggested_action="honeyflow quarantine drop 12 13, or honeyflow quarantine drop --all",
        )
    with wiring.client().ledger.write() as tx:
        dropped = quarantine.drop(tx, None if everything else numbers)
    typer.echo(f"{dropped} dropped.")
