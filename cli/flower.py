"""`honeyflow flower`: Celery's web view of workers and tasks, behind a password."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from monitoring import flower as web
from tasks import wiring
from tasks.errors import SettingsInvalid
from tasks.secret_files import read_passphrase

DEFAULT_PORT = 5555


def flower(
    host: Annotated[
        str, typer.Option(help="The address to listen on; loopback unless told otherwise.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="The port to listen on; 0 takes any free one.")
    ] = DEFAULT_PORT,
    user: Annotated[str, typer.Option(help="The name to log in with.")] = "honeyflow",
    password_file: Annotated[
        Path | None,
        typer.Option(help="A file with the password; without it, one is made on first use."),
    ] = None,
    control: Annotated[
        bool, typer.Option("--control", help="Let whoever logs in revoke tasks and stop workers.")
    ] = False,
    url_prefix: Annotated[
        str | None, typer.Option(help="The path it is served under, behind a proxy.")
    ] = None,
) -> None:
    """Serve Flower: tasks by job id, workers and queues; for looking only, unless --control."""
    from tasks import app

    password, file = _password(password_file)
    access = web.FlowerAccess(
        host=host, port=port, user=user, password=password, control=control, url_prefix=url_prefix
    )
    serving, taken = web.listening(app, access)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    kind = "everything Flower can do" if control else "looking only"
    typer.echo(f"Flower at http://{host}:{taken} ({kind}); log in as {user}, password in {file}")
    try:
        serving.start()
    finally:
        serving.stop()


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _password(file: Path | None) -> tuple[str, Path]:
    """The password and where it is kept; the first use without a file of one's own makes one."""
    chosen = file or wiring.settings().data_dir / "flower-password"
    if file is None and not chosen.exists():
        chosen.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(chosen, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as stream:
            stream.write(secrets.token_urlsafe(24) + "\n")
    try:
        return read_passphrase(chosen).decode(), chosen
    except UnicodeDecodeError as error:
        raise SettingsInvalid(
            f"The password in {chosen} is not UTF-8.",
            suggested_action="Write another one into the file.",
        ) from error
