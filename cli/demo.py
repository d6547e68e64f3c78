"""`honeyflow demo`: the main job on this machine, in a folder of its own, shown as it happens."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live

from cli import cluster
from cli.board import Board
from cli.supervisor import Supervisor
from tasks.errors import HoneyflowError

MODEL = "queenbee-spine"
START_LIMIT_S = 180.0
RUN_LIMIT_S = 180.0


def demo(
    folder: Annotated[
        Path, typer.Option("--dir", help="Folder for Redis, the ledger and the logs.")
    ] = Path(".demo"),
    keep: Annotated[bool, typer.Option("--keep", help="Keep what an earlier demo left.")] = False,
) -> None:
    """Run a dozen lumbar-spine findings through a real worker and show what happens."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")
    console = Console(highlight=False)
    folder = folder.resolve()
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    _configure(folder)
    from tasks import redis_server, wiring

    settings = wiring.settings()
    supervisor = Supervisor(cluster.children(settings, log_dir=folder / "logs"), grace_s=20)
    redis_server.ensure(settings)
    try:
        supervisor.start()
        board = _run(console, supervisor, folder)
    finally:
        supervisor.stop()
        redis_server.stop_detached(settings.redis_dir)
    board.summary(console)
    _next_steps(console, board.first_job)


def _configure(folder: Path) -> None:
    """A honeyflow.toml of the demo's own; this process and its children go by it."""
    file = folder / "honeyflow.toml"
    file.write_text(
        f'data_dir = "{folder / "data"}"\n'
        f'cpu_model_assignments = ["{MODEL}"]\n\n'
        # The logs in its folder are there to be read by people.
        '[timing]\ngrace_s = 5\n\n[logs]\nformat = "text"\n',
        encoding="utf-8",
    )
    for name in [name for name in os.environ if name.startswith("HONEYFLOW_")]:
        del os.environ[name]
    os.environ["HONEYFLOW_CONFIG"] = str(file)
    # The demo's processes share two kinds of log: their files, and nothing on this terminal.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")


def _run(console: Console, supervisor: Supervisor, folder: Path) -> Board:
    from tasks import wiring

    board = Board(model=MODEL)
    began = time.monotonic()
    with Live(board, console=console, refresh_per_second=8, transient=False) as live:
        _wait_for_worker(board, supervisor, folder, began)
        client = wiring.client()
        board.submit(client)
        until = time.monotonic() + RUN_LIMIT_S
        while not board.finished:
            board.update(client)
            live.refresh()
            supervisor.watch()
            if time.monotonic() > until:
                raise HoneyflowError(
                    f"The demo's jobs did not end within {RUN_LIMIT_S:g} s.",
                    code="DEMO_TIMEOUT",
                    suggested_action=f"Look into {folder / 'logs'}.",
                )
            time.sleep(0.05)
        board.update(client)
    return board


def _wait_for_worker(board: Board, supervisor: Supervisor, folder: Path, began: float) -> None:
    """Wait until the worker has said in the ledger that its engine answers."""
    from ledger import workers
    from tasks import wiring
    from tasks.errors import LedgerAway

    ledger = None
    while True:
        seconds = time.monotonic() - began
        board.say(
            f"starting Redis, the ledger, {MODEL} on the CPU, maintenance, beat … {seconds:.0f} s"
        )
        if ledger is None:
            try:
                ledger = wiring.client().ledger
            except (LedgerAway, HoneyflowError):
                wiring.client.cache_clear()
        if ledger is not None:
            with ledger.read() as tx:
                rows = workers.list(tx)
            if any(
                row.state in ("idle", "busy") and row.facts.get("model") == MODEL for row in rows
            ):
                board.say(f"ready after {seconds:.1f} s")
                return
        failed = [child.name for child in supervisor.watch()]
        if failed or seconds > START_LIMIT_S:
            raise HoneyflowError(
                f"{', '.join(failed) or 'The worker'} did not start.",
                code="DEMO_FAILED",
                suggested_action=f"Look into {folder / 'logs'}.",
            )
        time.sleep(0.2)


def _next_steps(console: Console, job_id: str | None) -> None:
    config = os.environ["HONEYFLOW_CONFIG"]
    honeyflow = Path(sys.executable).with_name("honeyflow")
    shown = honeyflow.relative_to(Path.cwd()) if honeyflow.is_relative_to(Path.cwd()) else honeyflow
    console.print("\nTry next:", style="bold")
    for command in (
        f"export HONEYFLOW_CONFIG={config}",
        f"{shown} job show {job_id}",
        f"{shown} up    # the same cluster, until Ctrl-C; then, beside it:",
        f'{shown} infer {MODEL} --findings "L4-L5: moderate central canal stenosis."',
    ):
        console.print(f"  {command}", markup=False, soft_wrap=True)
