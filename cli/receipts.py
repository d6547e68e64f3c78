"""`honeyflow receipts`: what is proved of jobs, by whom, and whether it holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli import ipfs
from ledger import LogRow, Transaction, logs, receipt_checks, workers
from proofs.entry import Verdict, VerdictEntry
from proofs.receipt import Receipt
from tasks import audit as audits
from tasks import (
    export_folder,
    exporting,
    receipts,
    sealer,
    succession,
    verdicts,
    wiring,
    witness_client,
)
from tasks.errors import HoneyflowError
from tasks.log_errors import LogNotFound

app = typer.Typer(no_args_is_help=True, help="What is proved of jobs, and whether it holds.")
app.add_typer(ipfs.app, name="ipfs", help="What waits to be stored on IPFS.")

JobId = Annotated[str, typer.Argument(help="The job's id.")]
Worker = Annotated[str, typer.Argument(help="The worker's name, as `honeyflow worker list` shows.")]


@app.command(name="logs")
def list_logs() -> None:
    """List the logs that receipts are kept in."""
    with wiring.client().ledger.read() as tx:
        rows = logs.list(tx)
        waiting = {one.log: one.count for one in logs.unlogged(tx)}
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)
    table = Table("origin", "worker", "state", "leaves", "batches", "waiting", box=None)
    for row in rows:
        table.add_row(
            row.origin,
            row.worker,
            row.state if row.reason is None else f"{row.state}: {row.reason}",
            str(row.sealed_size),
            str(row.batches),
            str(waiting.get(row.number, 0)),
        )
    console.print(table)


@app.command()
def show(job_id: JobId) -> None:
    """Show a job's receipt, where it is logged, and what people said of it."""
    client = wiring.client()
    job = client.job(job_id)
    with client.ledger.read() as tx:
        given = exporting.files(tx, job, report=False)
        place = receipts.place(tx, job.id)
        decided = receipts.verdicts(tx, job.id)
        waiting = _waiting(tx, job.id)
    receipt = Receipt.from_bytes(given[exporting.RECEIPT])
    for name in Receipt.__dataclass_fields__:
        typer.echo(f"{name:<18} {getattr(receipt, name)}")
    typer.echo(f"{'receipt':<18} {receipt.digest}")
    if exporting.SIGNATURE not in given:
        typer.echo(f"{'log':<18} not signed: issued by an earlier version")
    elif place is None:
        typer.echo(f"{'log':<18} signed, not yet logged")
    else:
        typer.echo(f"{'log':<18} leaf {place.index} of {place.log.origin}")
        typer.echo(f"{'batch':<18} {place.batch.number}")
    for row in decided:
        typer.echo(f"{'verdict':<18} {row.data.decode()}")
    _tell_waiting(waiting)


@app.command()
def export(
    job_id: JobId,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")],
    report: Annotated[
        bool,
        typer.Option("--report", help="Add the report and the answer: the job's texts."),
    ] = False,
    batch: Annotated[
        bool, typer.Option("--batch", help="Add the manifest of its batch, with its signature.")
    ] = False,
) -> None:
    """Write what a stranger needs to verify a job's receipt."""
    client = wiring.client()
    job = client.job(job_id)
    with client.ledger.read() as tx:
        given = exporting.files(tx, job, report=report)
        if batch:
            given |= exporting.batch_files(tx, job.id)
    texts = (exporting.REPORT, exporting.OUTPUT, exporting.CORRECTED)
    for file in export_folder.write(given, output, private=texts):
        typer.echo(str(file))


@app.command()
def verify(
    job_id: JobId,
    allowed_signers: Annotated[
        Path | None,
        typer.Option(help="The keys to believe, as OpenSSH's file; else those of this ledger."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Which witnesses must have signed (C2SP tlog-policy).")
    ] = None,
) -> None:
    """Verify a job's receipt and all that is here of it, step by step."""
    client = wiring.client()
    job = client.job(job_id)
    with client.ledger.read() as tx:
        given = exporting.files(tx, job, report=True)
        waiting = _waiting(tx, job.id)
    result = exporting.verify(
        given,
        signers=None if allowed_signers is None else _read(allowed_signers),
        policy=None if policy is None else _read(policy),
    )
    for step in result.steps:
        typer.echo(f"{step.number}. {step.outcome:7} {step.name}: {step.message}")
    typer.echo(result.summary)
    _tell_waiting(waiting)
    if not result.verified:
        raise typer.Exit(1)


@app.command()
def audit(
    origin: Annotated[
        str | None, typer.Argument(help="A log's origin or id, or a worker's name; else all.")
    ] = None,
) -> None:
    """Make everything again that is stored of a log, and name the first thing that is wrong."""
    client = wiring.client()
    with client.ledger.read() as tx:
        rows = [row for row in logs.list(tx) if _is_named(row, origin)]
    if origin is not None and not rows:
        raise LogNotFound(f"There is no log {origin!r}.")
    witnesses = [one.key for one in witness_client.configured(client.settings)]
    with client.ledger.read() as tx:
        unproved, unsigned = receipt_checks.unproved(tx), receipt_checks.unsigned(tx)
    if unproved is not None:
        raise audits.AuditFailed(f"Job {unproved} has succeeded, and no log has its receipt.")
    if unsigned:
        typer.echo(f"{unsigned} receipts are from a version that signed none; no log has them")
    for row in rows:
        published = client.settings.receipts_dir
        found = audits.audit(client.ledger, row, published=published, witnesses=witnesses)
        typer.echo(
            f"{found.origin}: {found.leaves} leaves in {found.batches} batches hold, root "
            f"{found.root.hex()}; {found.waiting} receipts wait for a place"
        )


@app.command()
def correct(
    job_id: JobId,
    verdict: Annotated[Verdict, typer.Option(help="What a person found the answer to be.")],
    output: Annotated[
        Path | None, typer.Option(help="The corrected answer, for `corrected`.")
    ] = None,
) -> None:
    """Write down a person's decision about an answer; it is logged with the next batch."""
    client = wiring.client()
    job = client.job(job_id)
    data = None if output is None else _read(output)
    with client.ledger.write() as tx:
        entry = verdicts.decide(tx, job, verdict=verdict, output=data)
    typer.echo(f"{job.id} was {entry.verdict}; it is logged with the next batch.")


@app.command()
def seal(worker: Worker) -> None:
    """Ask a worker to seal at once whatever waits for a place in its log."""
    with wiring.client().ledger.write() as tx:
        known = workers.ask_to_seal(tx, worker, sealer.ALL)
    if not known:
        raise LogNotFound(f"The ledger knows no worker {worker!r}.", code="WORKER_UNKNOWN")
    typer.echo(f"{worker} was asked to seal its log.")


@app.command(name="succeed-log")
def succeed_log(
    worker: Worker,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the log.")],
) -> None:
    """Begin a new log for a worker that is stopped; it names the old one's last checkpoint."""
    client = wiring.client()
    row = succession.succeed(client.settings, client.ledger, worker, reason=reason)
    typer.echo(f"{worker} goes on with {row.origin}, in place of {row.predecessor}.")


@app.command()
def adopt(
    worker: Worker,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the log.")],
    log: Annotated[
        str | None,
        typer.Option(
            help="One of its logs, by origin or id; else all that its key folder does not name."
        ),
    ] = None,
) -> None:
    """Log, with the operator's key, what a worker that is gone for good has signed."""
    client = wiring.client()
    done = succession.adopt(client.settings, client.ledger, worker, reason=reason, log=log)
    for closed in done:
        typer.echo(f"{closed.predecessor} is closed by {closed.origin}, {closed.leaves} leaves.")
    if not done:
        typer.echo(f"No log of {worker} is left to be closed.")


def _waiting(tx: Transaction, job_id: str) -> list[VerdictEntry]:
    """The verdicts that cannot be proved yet."""
    rows = receipts.verdicts(tx, job_id)
    unproved = [row.data for row in rows if receipts.entry_proof(tx, row) is None]
    return [VerdictEntry.from_bytes(data) for data in unproved]


def _tell_waiting(waiting: Sequence[VerdictEntry]) -> None:
    for entry in waiting:
        typer.echo(f"a verdict of a person ({entry.verdict}) waits for its place in the log")


def _is_named(row: LogRow, name: str | None) -> bool:
    return name is None or name in (row.origin, row.log_id, row.worker)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise HoneyflowError(
            f"{file} cannot be read: {error.strerror}.",
            code="FILE_UNREADABLE",
            suggested_action="Check the file's name and its permissions.",
        ) from error
