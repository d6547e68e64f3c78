"""The `honeyflow` command: submit and watch jobs, run a cluster, check a machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from cli import (
    demo,
    doctor,
    files,
    infer,
    jobs,
    key_changes,
    keys,
    quarantine,
    receipts,
    server,
    up,
    witness,
    workers,
)
from tasks.errors import describe

app = typer.Typer(
    name="honeyflow",
    help="A Celery task-queue cluster for LLM inference.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(jobs.app, name="job", help="Look at jobs and cancel them.")
app.add_typer(workers.app, name="worker", help="Look at workers, drain and stop them.")
app.add_typer(
    quarantine.app, name="quarantine", help="What came out of a queue and was no message."
)
keys.bee.command()(key_changes.rotate)
keys.bee.command()(key_changes.revoke)
app.add_typer(keys.app, name="keys", help="The keys that receipts and logs are signed with.")
app.add_typer(receipts.app, name="receipts", help="What is proved of jobs, and whether it holds.")
app.add_typer(server.app, name="redis", help="The embedded Redis server.")
app.command(name="infer")(infer.infer)
app.command(name="up")(up.up)
app.command(name="doctor")(doctor.doctor)
app.command(name="hash")(files.hash_request)
app.command(name="witness")(witness.witness)
app.command(name="demo")(demo.demo)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; an error of ours is a sentence, a code and an action, not a traceback."""
    try:
        app(args=list(argv) if argv is not None else None, standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "suggested_action"):
            raise
        told = describe(error)
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold red]{told['code']}[/]: ", end="")
        console.print(told["message"], markup=False)
        console.print(f"  → {told['suggested_action']}", markup=False)
        sys.exit(getattr(error, "exit_code", 1))
