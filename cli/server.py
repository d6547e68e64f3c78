"""`honeyflow redis start|stop`: the embedded Redis server, for those who have none running."""

from __future__ import annotations

import typer

from tasks import ledger_id, redis_server, wiring
from tasks.errors import SettingsInvalid

app = typer.Typer(no_args_is_help=True, help="The embedded Redis server.")


@app.command()
def start() -> None:
    """Start the embedded Redis in the data directory; it goes on after this command."""
    settings = wiring.settings()
    if not settings.redis_embedded:
        raise SettingsInvalid(
            f"This installation uses the Redis at {ledger_id.address(settings)}.",
            suggested_action="Unset HONEYFLOW_REDIS_URL and redis_url to use the embedded one.",
        )
    redis_server.ensure(settings)
    typer.echo(f"Redis answers at {ledger_id.address(settings)}.")


@app.command()
def stop() -> None:
    """Stop the embedded Redis."""
    stopped = redis_server.stop_detached(wiring.settings().redis_dir)
    typer.echo("Redis is stopped." if stopped else "Redis was not running.")
