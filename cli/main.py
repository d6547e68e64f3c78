"""The `honeyflow` command: submit and watch jobs, run a cluster, check a machine."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.main import get_group

# Each is imported when it is called; what they all need together takes long to load.
COMMANDS = {
    "infer": "cli.infer:infer",
    "up": "cli.up:up",
    "doctor": "cli.doctor:doctor",
    "flower": "cli.flower:flower",
    "hash": "cli.files:hash_request",
    "witness": "cli.witness:witness",
    "metrics": "cli.metrics:metrics",
    "demo": "cli.demo:demo",
    "job": "cli.jobs:app",
    "worker": "cli.workers:app",
    "workers": "cli.fleet:app",
    "alerts": "cli.alerts:app",
    "quarantine": "cli.quarantine:app",
    "keys": "cli.keys:app",
    "receipts": "cli.receipts:app",
    "redis": "cli.server:app",
}


class Commands(TyperGroup):
    """The commands of the table, in its order."""

    def list_commands(self, _: Any) -> list[str]:
        """Their names."""
        return [*COMMANDS]

    def get_command(self, _: Any, cmd_name: str) -> Any:
        """One command; where there is none by this name, all are there to be suggested."""
        for name in [cmd_name] if cmd_name in COMMANDS else COMMANDS:
            if name not in self.commands:
                self.add_command(_load(name), name)
        return self.commands.get(cmd_name)


def _load(name: str) -> Any:
    """The command of a function, or the group of a Typer app."""
    module, _, attribute = COMMANDS[name].partition(":")
    # Loading makes many objects and next to no garbage, for which all of them would be looked at.
    gc.disable()
    try:
        found = getattr(import_module(module), attribute)
    finally:
        gc.enable()
    holder = typer.Typer()
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name=name)(found)
    return get_group(holder).commands[name]


app = typer.Typer(
    name="honeyflow",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def honeyflow() -> None:
    """A Celery task-queue cluster for LLM inference."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; an error of ours is a sentence, a code and an action, not a traceback."""
    try:
        app(args=list(argv) if argv is not None else None, standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "suggested_action"):
            raise
        from tasks.errors import describe

        told = describe(error)
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold red]{told['code']}[/]: ", end="")
        console.print(told["message"], markup=False)
        console.print(f"  → {told['suggested_action']}", markup=False)
        sys.exit(getattr(error, "exit_code", 1))
