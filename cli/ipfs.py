"""`honeyflow receipts ipfs status|retry`: what waits to be stored on IPFS, and why."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ledger import uploads
from ledger.uploads import UploadRow, UploadState
from proofs.ipfs import place_of
from tasks import wiring
from tasks.errors import HoneyflowError, RequestInvalid

app = typer.Typer(no_args_is_help=True)


class UploadUnknown(HoneyflowError):
    """There is no upload with this CID that could be tried again."""

    code = "UPLOAD_UNKNOWN"
    http_status = 404
    suggested_action = "Look at `honeyflow receipts ipfs status`."


@app.command()
def status(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of each.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show how many uploads wait, are done or were refused, and those that are not done."""
    client = wiring.client()
    settings = client.settings
    place = None if settings.ipfs_api_url is None else place_of(settings.ipfs_api_url)
    with client.ledger.read() as tx:
        counts, oldest, now = uploads.counts(tx), uploads.oldest_pending(tx), tx.now
        rows = uploads.list(tx, state=UploadState.REFUSED, limit=limit)
        rows += uploads.list(tx, state=UploadState.PENDING, limit=limit)
    waiting_s = None if oldest is None else round(max(0.0, now - oldest), 1)
    if as_json:
        told: dict[str, Any] = {"node": place, "oldest_pending_s": waiting_s}
        told |= {str(state): many for state, many in counts.items()}
        told["uploads"] = [asdict(row) for row in rows]
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    # Where nobody watches, nothing is cut.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    if rows:
        table = Table("cid", "what", "state", "failed", "next try", "why", box=None)
        for row in rows:
            table.add_row(*_cells(row, now))
        console.print(table)
    counted = ", ".join(f"{many} {state}" for state, many in counts.items())
    console.print(f"node: {place or 'none, IPFS_API_URL is not set'}; {counted}")
    if waiting_s is not None:
        console.print(f"the oldest has been waiting for {waiting_s:.0f} s")


@app.command()
def retry(
    cids: Annotated[list[str] | None, typer.Argument(help="CIDs, from the list.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are not done.")] = False,
) -> None:
    """Try uploads again at the next occasion, also those that were refused."""
    if bool(cids) is everything:
        raise RequestInvalid(
            "Name what to try again by its CID, or give --all.",
            code="OPTIONS_EXCLUSIVE",
            suggested_action="honeyflow receipts ipfs retry QmT7…, or with --all",
        )
    with wiring.client().ledger.write() as tx:
        many = uploads.retry(tx, None if everything else cids)
    if not many and not everything:
        raise UploadUnknown("None of these is an upload that is not done.")
    typer.echo(f"{many} will be tried again.")


def _cells(row: UploadRow, now: float) -> list[str]:
    pending = row.state == UploadState.PENDING
    due = "" if not pending else "now" if row.next_at <= now else f"in {row.next_at - now:.0f} s"
    why = row.error["message"] if row.error else ""
    return [row.cid, row.kind, row.state, str(row.tries or ""), due, ascii(why)[1:-1]]
