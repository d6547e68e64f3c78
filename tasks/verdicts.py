"""What a person decided about an answer: an entry of the log that the receipt is in."""

from __future__ import annotations

from ledger import (
    Job,
    LogRow,
    LogState,
    Transaction,
    bodies,
    log_entries,
    logs,
    receipts,
    reviews,
)
from proofs import salted_digest, sha256_digest, timestamp
from proofs.entry import Verdict, VerdictEntry
from proofs.origin import principal_of
from proofs.report import parse_report, salt_of
from tasks.errors import JobUnanswered, RequestInvalid
from tasks.log_errors import LogNotOpen


def decide(
    tx: Transaction, job: Job, *, verdict: Verdict, output: bytes | None = None
) -> VerdictEntry:
    """Write down what a person decided; it is logged with the next batch.

    `output` is the corrected answer in UTF-8, for `corrected` alone. Its hash is salted as the
    receipt's are.

    Raises:
        RequestInvalid: a correction without an answer, or an answer without a correction.
        JobUnanswered: the job has no receipt, or its texts were erased.
        LogNotOpen: no log takes it, nor is to take the place of one that would.
    """
    if (verdict is Verdict.CORRECTED) is (output is None):
        raise RequestInvalid(
            "A correction needs the corrected answer, and nothing else takes one.",
            code="VERDICT_INVALID",
            suggested_action="Give --output FILE with --verdict corrected, and only with it.",
        )
    row = receipts.get(tx, job.id)
    if row is None or row.log is None:
        raise JobUnanswered(f"Job {job.id} is {job.state} and has no receipt in a log.")
    entry = VerdictEntry(
        receipt=row.digest,
        verdict=verdict,
        output_hash=None if output is None else _digest(tx, job, output),
        timestamp=timestamp(tx.now),
    )
    log_entries.add(
        tx,
        log=_log_for(tx, row.log).number,
        kind=entry.entry_type,
        data=entry.to_bytes(),
        job_id=job.id,
        body_digest=None if output is None else bodies.put(tx, output, bodies.TEXT),
    )
    reviews.settle(tx, job.id)
    return entry


def _digest(tx: Transaction, job: Job, output: bytes) -> str:
    report = None if job.report_digest is None else bodies.get(tx, job.report_digest)
    if report is None:
        raise JobUnanswered(f"The report of job {job.id} is no longer stored.")
    salt = salt_of(parse_report(report))
    return sha256_digest(output) if salt is None else salted_digest(output, salt)


def _log_for(tx: Transaction, number: int) -> LogRow:
    """The log that is to say what was decided about a receipt of this one.

    That is the log itself or one that has taken its place, if it grows; else the one of them whose
    place is still to be taken, with what waits there; else any log of the same name that grows.
    """
    every = logs.list(tx)
    line = [log for log in every if log.number == number]
    name = principal_of(line[0].origin)
    for log in line:
        line += [one for one in every if one.predecessor == log.origin and one not in line]
    succeeded = {log.predecessor for log in every}
    for choice in (
        [log for log in line if log.state == LogState.OPEN],
        [log for log in line if log.state != LogState.CLOSED and log.origin not in succeeded],
        [log for log in every if log.state == LogState.OPEN and principal_of(log.origin) == name],
    ):
        if choice:
            return choice[-1]
    raise LogNotOpen(
        f"The log of the receipt, {line[0].origin}, is closed, and no log of {name} grows.",
        suggested_action=f"Start a worker whose worker_ens is {name}, and do this again: its log "
        "takes what was decided.",
        details={"origin": line[0].origin, "name": name},
    )
