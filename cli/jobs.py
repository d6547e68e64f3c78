"""`honeyflow job show|list|cancel`: what the ledger knows of jobs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ledger import Job, Transaction, bodies, jobs, receipts, samples
from tasks import wiring
from tasks.client import JobResult
from tasks.errors import JobUnanswered, RequestInvalid

app = typer.Typer(no_args_is_help=True)


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
    as_json: Annotated[bool, typer.Option("--json", help="Print the row as JSON.")] = False,
) -> None:
    """Tell a job's whole story, or print exactly one part of it."""
    part = _only_part(request=request, receipt=receipt, report=report, json=as_json)
    client = wiring.client()
    job = client.job(job_id)
    with client.ledger.read() as tx:
        if part not in (None, "json"):
            typer.echo(_bytes(tx, job, part), nl=False)
            return
        history = jobs.history(tx, job.id)
        drawn = samples.of(tx, job.id)
    if as_json:
        typer.echo(json.dumps(asdict(job), ensure_ascii=False, default=str))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{job.id}[/]  {job.model}  [bold]{job.state}[/]")
    for name, value in _facts(job).items():
        console.print(f"  {name:<12} {value}", markup=False)
    table = Table("when (UTC)", "from", "to", "fence", "why", box=None, pad_edge=True)
    for change in history:
        at = datetime.fromtimestamp(change.at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        table.add_row(
            at,
            str(change.source or "–"),
            str(change.target),
            str(change.fence),
            change.reason or "",
        )
    console.print(table)
    if drawn:
        _print_samples(console, drawn)
    if job.state == "succeeded":
        _print_result(console, client.result_of(job))


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
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 132)
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
    """The exact bytes of a job's request, receipt or report.

    Raises:
        JobUnanswered: there is no such part of this job.
    """
    if part == "request":
        return jobs.request(tx, job.id)
    if part == "report":
        data = bodies.get(tx, job.report_digest) if job.report_digest else None
    else:
        row = receipts.get(tx, job.id)
        data = row.canonical if row is not None else None
    if data is None:
        raise JobUnanswered(
            f"Job {job.id} is {job.state} and has no {part}.",
            details={"job_id": job.id, "state": str(job.state)},
        )
    return data


def _facts(job: Job) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "queue": job.queue,
        "policy": job.policy,
        "profile": job.profile,
        "priority": job.priority,
        "fence": job.fence,
        "tries": job.tries or None,
        "crashes": job.crashes or None,
        "input": job.request_digest,
    }
    if job.claimed_at is not None and job.finished_at is not None:
        facts["run time"] = f"{job.finished_at - job.claimed_at:.3f} s"
    if job.claimed_at is not None:
        facts["waited"] = f"{job.claimed_at - job.created_at:.3f} s"
    if job.error:
        facts["error"] = f"{job.error.get('message')} [{job.error.get('code')}]"
        facts["do"] = job.error.get("suggested_action")
    return {name: value for name, value in facts.items() if value is not None}


def _print_samples(console: Console, drawn: list[Any]) -> None:
    table = Table("sample", "class", "tokens", "ms", "tokens/s", box=None, pad_edge=True)
    for sample in drawn:
        rate = 1000 * sample.completion_tokens / sample.duration_ms if sample.duration_ms else 0
        table.add_row(
            str(sample.index),
            (sample.answer_class or "invalid")[:60],
            str(sample.completion_tokens),
            str(sample.duration_ms),
            f"{rate:.0f}",
        )
    console.print(table)


def _print_result(console: Console, result: JobResult) -> None:
    review = f", review: {', '.join(result.review_reasons)}" if result.review else ""
    raw = "" if result.calibrated else " (raw agreement)"
    console.print(f"  answer       {result.answer}", markup=False)
    console.print(
        f"  confidence   {result.confidence:.2f}{raw}, K {result.k} in {result.rounds} round(s), "
        f"stopped: {result.stop_reason}, {result.decision}{review}",
        markup=False,
    )
    console.print(f"  receipt      {result.receipt}", markup=False)
