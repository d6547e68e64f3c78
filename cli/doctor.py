"""`honeyflow doctor`: what is wrong with this machine, and how to mend each."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import monitoring.doctor as checks
from tasks import ledger_id, wiring


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check Redis, the ledger, the engines, the GPU, the key and the disk."""
    settings = wiring.settings()
    found = checks.examine(
        redis_client=ledger_id.connect(settings),
        redis_address=ledger_id.address(settings),
        ledger_url=settings.ledger_url,
        data_dir=settings.data_dir,
    )
    if as_json:
        typer.echo(checks.as_json(found))
    else:
        _print(found)
    if any(check.ok is False for check in found):
        raise typer.Exit(1)


def _print(found: list[checks.Check]) -> None:
    table = Table("", "check", "finding", "how to mend it", box=None, pad_edge=False)
    marks = {True: "[green]ok[/]", False: "[red]bad[/]", None: "[yellow]note[/]"}
    for check in found:
        # honeyflow[cpu] is no style of Rich's.
        table.add_row(marks[check.ok], check.name, escape(check.message), escape(check.how_to_mend))
    Console(highlight=False).print(table)
