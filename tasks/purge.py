"""Erasing a job's texts everywhere at once: the ledger, Celery's copy and the live events.

The ledger first, which may refuse; then the copies in Redis, which expire by themselves anyway. A
purge that failed in between is done again whole.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from ledger import Job, Purged, State, Transaction, jobs, leases, receipts
from ledger import purge as ledger_purge
from proofs import Receipt
from tasks import stream
from tasks.client import Client, translated
from tasks.errors import BrokerUnavailable, JobNotFound
from tasks.uploads import LEASE, LEASE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """What was erased, and what could not be.

    `handed_on` is whether what it set off was given its answer.
    """

    purged: Purged
    receipt: str | None
    cid: str | None
    handed_on: bool = False

    def told(self) -> str:
        """The same in sentences."""
        done = self.purged
        kept = f" Its receipt {self.receipt} stays." if self.receipt else ""
        if done.before is not None:
            when = datetime.fromtimestamp(done.before, UTC).strftime("%Y-%m-%d %H:%M:%S")
            return f"The texts of job {done.job_id} were erased at {when} UTC already.{kept}"
        told = f"The texts of job {done.job_id} are erased ({done.erased} of them).{kept}"
        if done.shared:
            told += f" {done.shared} more stay, because other jobs have the same."
        if self.handed_on:
            told += (
                " What it set off (the next step of a chain, a chord, a callback) was given its "
                "answer and keeps it: purge those jobs too."
            )
        if done.published:
            told += f" Its report was published as {self.cid}: nobody can call that back."
        elif done.perhaps:
            told += (
                f" Its report may have been published as {self.cid}: an upload of it was under way "
                "or had been tried."
            )
        return told


def purge(client: Client, job_id: str, *, force: bool = False) -> Purge:
    """Erase what a job said.

    Raises:
        JobNotFound: there is no such job.
        JobInUse: as one of ours: it has not ended, or somebody still waits for its answer.
        BrokerUnavailable: the ledger's texts are erased, the copies in Redis are not.
    """
    with translated(), client.ledger.write() as tx:
        uploading = _is_uploading(tx)
        job, receipt = jobs.get(tx, job_id), _receipt(tx, job_id)
        purged = ledger_purge.purge(
            tx,
            job_id,
            input_hash=receipt.input_hash if receipt else None,
            output_hash=receipt.output_hash if receipt else None,
            cids=[receipt.ipfs_cid] if receipt else [],
            uploading=uploading,
            force=force,
        )
    if purged is None:
        raise JobNotFound(f"There is no job {job_id}.", details={"job_id": job_id})
    _forget_copies(client, [job_id])
    return Purge(
        purged=purged,
        receipt=receipt.digest if receipt else None,
        cid=receipt.ipfs_cid if receipt else None,
        handed_on=_is_handed_on(job),
    )


def _is_uploading(tx: Transaction) -> bool:
    """Whether an uploader is at work, or died at it; else none begins while this one goes on."""
    if leases.holder(tx, LEASE) is not None:
        return True
    # Whoever wants the lease now waits for the end of this transaction.
    mine = str(uuid.uuid4())
    taken = leases.take(tx, LEASE, mine, ttl_s=LEASE_S)
    leases.release(tx, LEASE, mine)
    return not taken


def _is_handed_on(job: Job | None) -> bool:
    if job is None or job.state != State.SUCCEEDED or job.delivered_at is None:
        return False
    return any(map((job.canvas or {}).get, ("callbacks", "chain", "chord")))


def _receipt(tx: Transaction, job_id: str) -> Receipt | None:
    row = receipts.get(tx, job_id)
    return None if row is None else Receipt.from_bytes(row.canonical)


def _forget_copies(client: Client, job_ids: Sequence[str]) -> None:
    backend: Any = client.app.backend
    keys = [backend.get_key_for_task(job_id) for job_id in job_ids]
    try:
        backend.client.delete(*keys, *map(stream.key, job_ids))
    except (redis.RedisError, OSError) as error:
        raise BrokerUnavailable(
            f"The ledger's texts of {', '.join(job_ids)} are erased, but Redis does not answer "
            f"({error}); its copies stay until they expire.",
            suggested_action="Run the same command again when Redis is up.",
        ) from error
