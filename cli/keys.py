"""`honeyflow keys bee new|show`: the keys that workers sign receipts and their logs with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer

from cli import key_changes
from proofs.allowed_signers import allowed_line
from proofs.checkpoint import log_vkey
from proofs.keys import KEY_TYPE, PublicKey
from proofs.sshsig import BATCH_NAMESPACE, RECEIPT_NAMESPACE
from tasks import bee_key, wiring
from tasks.errors import KeyUnusable
from tasks.key_folder import path_of, read_log
from tasks.rotation import RETIRED
from tasks.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The keys that receipts and logs are signed with.")
bee = typer.Typer(no_args_is_help=True)
app.add_typer(bee, name="bee", help="The keys of workers: make one, and show what others need.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What others need to know of a worker's key."""

    worker: str
    folder: str
    fingerprint: str
    allowed_signers: list[str]
    log: str | None
    vkey: str | None


@bee.command()
def new(
    worker: Annotated[
        str, typer.Option(help="Whose key it is, as `honeyflow worker list` shows its name.")
    ],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="A private key to copy instead of a new one; or a public one, if an ssh-agent"
            " holds the other half.",
        ),
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What unlocks FILE, and encrypts the worker's key."),
    ] = None,
) -> None:
    """Make the key of a worker before its first start, which would make one by itself."""
    settings = wiring.settings()
    folder = path_of(settings.keys_dir, worker)
    chosen = passphrase_file or settings.bee_passphrase_file
    public = None if source is None else _public_in(source)
    if public is not None:
        bee_key.create_public(folder, public, comment=worker)
    else:
        private = None
        if source is not None:
            private = bee_key.read_private(source, passphrase_file=chosen)
        public = bee_key.create(folder, key=private, passphrase_file=chosen, comment=worker)
    typer.echo(f"{public.fingerprint} is the key of {worker}, in {folder}.")
    if passphrase_file is not None and settings.bee_passphrase_file is None:
        typer.echo(f"Its worker needs: bee_passphrase_file = {json.dumps(str(passphrase_file))}")
    typer.echo(_line(settings, public))


@bee.command()
def show(
    worker: Annotated[str | None, typer.Option(help="One worker alone.")] = None,
    signers: Annotated[
        bool, typer.Option("--allowed-signers", help="Print the lines for that file, and no more.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show the fingerprints of this machine's keys, and what others verify with."""
    settings = wiring.settings()
    workers = [worker] if worker is not None else list(_workers(settings.keys_dir))
    if not workers:
        raise KeyUnusable(
            f"There is no key in {settings.keys_dir}.",
            suggested_action="Start a worker, or make one with `honeyflow keys bee new`.",
            details={"path": str(settings.keys_dir)},
        )
    for found in [_look(settings, name) for name in workers]:
        if as_json:
            typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        elif signers:
            typer.echo("\n".join(found.allowed_signers))
        else:
            _tell(found)


def _tell(found: Shown) -> None:
    typer.echo(found.worker)
    typer.echo(f"  folder           {found.folder}")
    typer.echo(f"  fingerprint      {found.fingerprint}")
    for line in found.allowed_signers:
        typer.echo(f"  allowed signers  {line}")
    if found.log is None:
        typer.echo("  log              none yet: it is begun at the worker's first start")
    else:
        typer.echo(f"  log              {found.log}")
        typer.echo(f"  log's key        {found.vkey}")


def _look(settings: Settings, worker: str) -> Shown:
    folder = path_of(settings.keys_dir, worker)
    key = bee_key.public_key(folder, passphrase_file=settings.bee_passphrase_file)
    log = read_log(folder)
    # What a key signed before it was replaced is still to be verified.
    retired = [bee_key.read_public(file.parent) for file in _retired(folder)]
    return Shown(
        worker=worker,
        folder=str(folder),
        fingerprint=key.fingerprint,
        allowed_signers=[_line(settings, one) for one in (key, *retired)],
        log=None if log is None else log.origin,
        vkey=None if log is None else log_vkey(log.origin, key).text,
    )


def _line(settings: Settings, key: PublicKey) -> str:
    return allowed_line(settings.signing_name, key, RECEIPT_NAMESPACE, BATCH_NAMESPACE)


def _workers(keys_dir: Path) -> Iterator[str]:
    for folder in sorted(keys_dir.glob("*/")):
        if not bee_key.is_missing(folder):
            yield unquote(folder.name)


def _retired(folder: Path) -> list[Path]:
    return sorted((folder / RETIRED).glob(f"*/{bee_key.PUBLIC}"))


def _public_in(file: Path) -> PublicKey | None:
    """The public key that a file is; None if it is something else, or is not readable yet."""
    try:
        with file.open("rb") as stream:
            head = stream.read(len(KEY_TYPE) + 1)
    except OSError:
        return None
    return bee_key.read_public_file(file) if head == KEY_TYPE.encode() + b" " else None


bee.command()(key_changes.rotate)
bee.command()(key_changes.revoke)
