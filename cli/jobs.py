"""`honeyflow job show|list|cancel|bundle|replay|purge`: what the ledger knows of jobs."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli import job_bundles, job_story
from ledger import Job, Transaction, bodies, jobs, receipts
from proofs import report_page
from tasks import story as stories
from tasks import wiring
from tasks.errors import JobUnanswered, RequestInvalid

app = typer.Typer(no_args_is_help=True, help="Look at jobs and cancel them.")
app.command()(job_bundles.bundle)
app.command()(job_bundles.replay)
app.command()(job_bundles.purge)


@app.command()
def show(
    job_id: Annotated[str, typer.Argument(help="The job's id.")],
    request: Annotated[
        bool, typer.Option("--request", help="Print the request's exact bytes and nothing else.")
    ] = False,
    receipt: Annotated[
        bool, typer.Option("--receipt", help="Print the receipt's exact bytes and nothing else.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Print the report's exact bytes and nothing else.")
    ] = False,
    page: Annotated[
        bool, typer.Option("--page", help="Print the report as an HTML page and nothing else.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as one JSON object.")] = False,
) -> None:
    """Tell a job's whole story, or print exactly one part of it."""
    part = _only_part(request=request, receipt=receipt, report=report, page=page, json=as_json)
    client = wiring.client()
    if part not in (None, "json"):
        job = client.job(job_id)
        with client.ledger.read() as tx:
            typer.echo(_bytes(tx, job, part), nl=False)
        return
    story = stories.collect(client, job_id)
    if as_json:
        typer.echo(json.dumps(stories.plain(story), ensure_ascii=False, default=str))
    else:
        job_story.tell(Console(highlight=False, markup=False, soft_wrap=True), story)


@app.command(name="list")
def list_jobs(
    state: Annotated[str | None, typer.Option(help="Only jobs in this state.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs of this model.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
) -> None:
    """List the latest jobs."""
    client = wiring.client()
    with client.ledger.read() as tx:
        rows = jobs.list(tx, states=[state] if state else None, model=model, limit=limit)
    # Where nobody watches, nothing is cut: the ids are what the next command needs.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 132)
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("job", no_wrap=True, min_width=36)
    for heading in ("state", "K", "conf", "review", "model", "receipt"):
        table.add_column(heading, no_wrap=True)
    for job in rows:
        table.add_row(
            job.id,
            str(job.state),
            "" if job.k is None else str(job.k),
            "" if job.confidence is None else f"{job.confidence:.2f}",
            "yes" if job.review else "",
            job.model,
            (job.receipt_digest or "").removeprefix("sha256:")[:12],
        )
    console.print(table)


@app.command()
def cancel(job_id: Annotated[str, typer.Argument(help="The job's id.")]) -> None:
    """Cancel a job: a queued one at once, a running one within two seconds."""
    job = wiring.client().cancel(job_id)
    if job.state == "running":
        typer.echo(f"{job.id} is running; its worker was told to stop it.")
    else:
        typer.echo(f"{job.id} is {job.state}.")


def _only_part(**asked: bool) -> str | None:
    """The one part that is asked for, if any.

    Raises:
        RequestInvalid: more than one; their bytes would run into each other.
    """
    parts = [name for name, wanted in asked.items() if wanted]
    if len(parts) > 1:
        options = " and ".join(f"--{part}" for part in parts)
        raise RequestInvalid(
            f"{options} exclude each other: each prints its bytes and nothing else.",
            code="OPTIONS_EXCLUSIVE",
            suggested_action="Ask for one at a time.",
            details={"options": parts},
        )
    return parts[0] if parts else None


def _bytes(tx: Transaction, job: Job, part: str) -> bytes:
    """The exact bytes of a job's request, receipt or report, or its report's page.

    Raises:
        JobUnanswered: there is no such part of this job, or not any more.
    """
    if part == "request" and job.purged_at is None:
        return jobs.request(tx, job.id)
    row = receipts.get(tx, job.id)
    stored = bodies.get(tx, job.report_digest) if job.report_digest else None
    data = stored
    if part == "receipt":
        data = None if row is None else row.canonical
    elif part == "page" and stored is not None:
        data = report_page(stored, receipt=None if row is None else row.canonical)
    if data is None or part == "request":
        erased = " any more: its texts are erased" if job.purged_at is not None else ""
        what = "report" if part == "page" else part
        raise JobUnanswered(
            f"Job {job.id} is {job.state} and has no {what}{erased}.",
            details={"job_id": job.id, "state": str(job.state)},
        )
    return data
