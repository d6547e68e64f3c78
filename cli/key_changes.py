"""`honeyflow keys bee rotate|revoke`: a worker's key is followed by another, or counts no more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ledger import workers
from proofs.keys import PublicKey
from tasks import bee_key, revoking, rotation, sealer, wiring
from tasks.errors import KeyUnusable
from tasks.key_folder import NEXT, path_of
from tasks.log_errors import LogInUse
from tasks.notary import Notary

Worker = Annotated[
    str, typer.Option(help="Whose key it is, as `honeyflow worker list` shows its name.")
]


def rotate(
    worker: Worker,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="A private key to go on with; else a new one."),
    ] = None,
) -> None:
    """Let another key follow a worker's; the log says so, under a head signed by both."""
    client = wiring.client()
    settings = client.settings
    folder = path_of(settings.keys_dir, worker)
    if bee_key.is_missing(folder):
        raise KeyUnusable(
            f"{worker} has no key in {folder}.",
            suggested_action="Make its first one with `honeyflow keys bee new`.",
        )
    key = None
    if source is not None:
        key = bee_key.read_private(source, passphrase_file=settings.bee_passphrase_file)
    following = bee_key.create(
        folder / NEXT, key=key, passphrase_file=settings.bee_passphrase_file, comment=worker
    )
    try:
        notary = Notary.open(settings, client.ledger, worker)
    except LogInUse:
        with client.ledger.write() as tx:
            workers.ask_to_seal(tx, worker, sealer.ALL)
        typer.echo(f"{worker} runs; it hands over to {following.fingerprint} within seconds.")
    else:
        try:
            done = rotation.go_on(client.ledger, notary, settings, holder=worker)
        finally:
            notary.close()
        when = "from now on" if done else "from its next seal on"
        typer.echo(f"{worker} signs with {following.fingerprint} {when}.")
    typer.echo(
        "Give verifiers the new line of `honeyflow keys bee show --allowed-signers`, and the log's "
        "new key to its witnesses, beside the old one."
    )


def revoke(
    worker: Worker,
    reason: Annotated[str, typer.Option(help="Why, for whoever verifies.")],
    size: Annotated[
        int | None,
        typer.Option(min=0, help="The last size of the log that is honoured; else all of it."),
    ] = None,
) -> None:
    """Revoke a worker's key, and print what verifiers need to know of it."""
    client = wiring.client()
    revocation = revoking.revoke(client.ledger, worker, size=size, reason=reason)
    key = PublicKey.from_openssh(revocation.key)
    typer.echo(revocation.to_bytes().decode())
    typer.echo(
        f"{key.fingerprint} counts for the first {revocation.tree_size} leaves of "
        f"{revocation.origin} alone. Give the line above to verifiers (--revocations). {worker} "
        f"was told to stop; then: honeyflow receipts succeed-log {worker} --reason ...",
        err=True,
    )
