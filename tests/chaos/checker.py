"""The six invariants of spec/reliability.md 3.1, checked over one history file and nothing else.

    I1  nothing lost: every accepted job ended, in exactly one way
    I2  legal history: its moves are a path of the published machine, with at most one commit
    I3  one receipt per succeeded job, and none otherwise
    I4  the counters equal the ledger
    I5  nothing is left behind
    I6  everything is bounded

Signatures and Merkle proofs of receipts are not checked here yet.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ledger import EDGES, TERMINAL, State
from ledger.crashes import MAX_CRASHES
from ledger.endings import MAX_TRIES
from ledger.sweeps import MAX_DELIVERIES
from proofs import Receipt, ReceiptInvalid, sha256_digest
from tests.chaos.history import ACCEPTED, REFUSED, Past, Row, read

_ENDED = {str(state) for state in TERMINAL}
_EDGES = {(source and str(source), str(target)) for source, target in EDGES}
_RUNNING, _SUCCEEDED = str(State.RUNNING), str(State.SUCCEEDED)


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """One broken promise: which invariant, and what shows it."""

    invariant: str
    message: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.message}"


def check(path: Path) -> list[Violation]:
    """Every violation that a history file shows."""
    past = read(path)
    return [Violation(name, message) for name, rule in INVARIANTS.items() for message in rule(past)]


def nothing_lost(past: Past) -> Iterator[str]:
    """I1: what was accepted has ended in one way; what was refused was never entered."""
    jobs, lives = past.by("id", "jobs"), past.changes()
    told = {row["id"]: row["told"] for row in past.of("submission")}
    for job_id, answer in told.items():
        job = jobs.get(job_id)
        if answer == REFUSED and job is not None:
            yield f"{job_id} was refused and is in the ledger all the same"
        if answer != ACCEPTED:
            continue
        ends = [row["target"] for row in lives.get(job_id, []) if row["target"] in _ENDED]
        if job is None:
            yield f"{job_id} was accepted and is not in the ledger"
        elif job["state"] not in _ENDED:
            yield f"{job_id} was accepted and is {job['state']}"
        elif len(ends) > 1:
            yield f"{job_id} ended {len(ends)} times: {', '.join(ends)}"


def legal_history(past: Past) -> Iterator[str]:
    """I2: each job's moves are a path of the machine, from nothing to what its row says."""
    jobs, samples = past.by("id", "jobs"), past.of("samples")
    for job_id, life in past.changes().items():
        for message in _broken_path(life):
            yield f"{job_id} {message}"
        if job_id not in jobs:
            yield f"{job_id} has moves and no row"
        elif life and not _fits(jobs[job_id], life[-1]):
            yield f"{job_id} is not where its last move led"
    for row in samples:
        if not 1 <= row["fence"] <= jobs[row["job_id"]]["fence"]:
            yield f"{row['job_id']} has a sample under fence {row['fence']}, which nobody held"


def _broken_path(life: list[Row]) -> Iterator[str]:
    steps = [row["step"] for row in life]
    if steps != list(range(1, len(life) + 1)):
        yield f"has the steps {steps}"
    if not life:
        return
    if life[0]["source"] is not None or life[0]["fence"] != 0:
        yield f"begins at {life[0]['source']} with fence {life[0]['fence']}"
    for row in life:
        if (row["source"], row["target"]) not in _EDGES:
            yield f"went from {row['source']} to {row['target']}"
    for before, after in pairwise(life):
        yield from _broken_step(before, after)
    if (commits := [row["target"] for row in life].count(_SUCCEEDED)) > 1:
        yield f"was committed {commits} times"


def _broken_step(before: Row, after: Row) -> Iterator[str]:
    if before["target"] in _ENDED:
        yield f"moved on to {after['target']} after it was {before['target']}"
    if after["source"] != before["target"]:
        yield f"was {before['target']} and then left {after['source']}"
    rise = after["fence"] - before["fence"]
    if rise != (after["target"] == _RUNNING):
        yield f"went to {after['target']} with fence {before['fence']} to {after['fence']}"
    if before["target"] == _RUNNING and after["session"] != before["session"]:
        yield f"was claimed by session {before['session']} and ended by {after['session']}"


def _fits(job: Row, last: Row) -> bool:
    return (job["state"], job["step"], job["fence"]) == (
        last["target"],
        last["step"],
        last["fence"],
    )


def one_receipt_each(past: Past) -> Iterator[str]:
    """I3: a receipt for each succeeded job that tells the truth about it, and for no other."""
    results, reports = past.by("job_id", "results"), past.by("job_id", "reports")
    jobs, kept = past.by("id", "jobs"), Counter(row["job_id"] for row in past.of("receipts"))
    for job_id, job in jobs.items():
        wanted = int(job["state"] == _SUCCEEDED)
        if kept[job_id] != wanted:
            yield f"{job_id} is {job['state']} and has {kept[job_id]} receipts"
    for row in past.of("receipts"):
        job_id = row["job_id"]
        if job_id not in jobs:
            yield f"{job_id} has a receipt and is no job"
        elif (wrong := _untrue(row, jobs[job_id], results.get(job_id), reports.get(job_id))) != []:
            yield f"{job_id} has a receipt that is wrong in {', '.join(wrong)}"


def _untrue(row: Row, job: Row, result: Row | None, report: Row | None) -> list[str]:
    """What a receipt says and the rest does not."""
    canonical = base64.b64decode(row["canonical"])
    try:
        receipt = Receipt.from_bytes(canonical)
    except ReceiptInvalid as error:
        return [error.message]
    if result is None or result["data"] is None or report is None:
        return ["the result or the report, which is not stored"]
    stored = json.loads(base64.b64decode(result["data"]))
    digest = sha256_digest(canonical)
    answer = sha256_digest(str(stored["answer"]).encode())
    pairs = {
        "its digest": {row["digest"], digest, job["receipt_digest"], stored["receipt"]},
        "the job": {receipt.job_id, job["id"], stored["job_id"]},
        "the model": {receipt.model, job["model"]},
        "the input": {receipt.input_hash, job["request_digest"]},
        "the output": {receipt.output_hash, job["output_digest"], answer},
        "the result": {job["result_digest"], result["digest"]},
        "the report": {receipt.report_hash, job["report_digest"], report["digest"]},
        "the number of samples": {receipt.k_samples, job["k"]},
    }
    return [name for name, told in pairs.items() if len(told) != 1]


def counters_equal(past: Past) -> Iterator[str]:
    """I4: what is counted is what the moves add up to."""
    models = {row["id"]: row["model"] for row in past.of("jobs")}
    moved = Counter(
        (models[job_id], life[-1]["target"])
        for job_id, life in past.changes().items()
        if life and job_id in models
    )
    for told in past.of("metrics"):
        counted = Counter({(model, state): n for model, state, n in told["counts"]})
        for model, state in sorted(set(moved) | set(counted)):
            if moved[model, state] != counted[model, state]:
                yield (
                    f"{counted[model, state]} jobs of {model} are counted as {state}, "
                    f"and {moved[model, state]} are"
                )


def nothing_left_behind(past: Past) -> Iterator[str]:
    """I5: no running job, message, session, lease, process or file stays after the drain."""
    live = {row["id"] for row in past.of("jobs") if row["state"] not in _ENDED}
    for row in past.of("jobs"):
        if row["state"] == _RUNNING:
            yield f"{row['id']} runs still"
        elif row["id"] not in live and row["delivered_at"] is None:
            yield f"{row['id']} is {row['state']} and nobody was told"
    for row in past.of("unacked"):
        for job_id in live.intersection(row["ids"]):
            yield f"{job_id} is in an unacked message"
    yield from _left_open(past)
    for what in ("process", "file"):
        for row in past.of(what):
            yield f"the {what} {row['name']} is there"


def _left_open(past: Past) -> Iterator[str]:
    now = max((row["lease_now"] for row in past.of("clock")), default=0.0)
    for row in past.of("sessions"):
        if row["closed_at"] is None:
            yield f"session {row['id']} of {row['worker']} is open"
    for row in past.of("leases"):
        if row["lease_until"] > now:
            yield f"the lease {row['name']} is held"
    for row in past.of("chords"):
        if row["size"] is not None and row["done_at"] is None:
            yield f"chord {row['group_id']} is open"


def bounded(past: Past) -> Iterator[str]:
    """I6: limited crashes, tries and deliveries, nothing late, nothing waiting."""
    limits = {"crashes": MAX_CRASHES, "tries": MAX_TRIES, "delivery_tries": MAX_DELIVERIES}
    deadlines = {row["id"]: row["deadline"] for row in past.of("jobs")}
    for row in past.of("jobs"):
        for column, most in limits.items():
            if row[column] > most:
                yield f"{row['id']} has {row[column]} {column}"
        if row["crashes"] != len(row["crash_reasons"] or ()):
            yield f"{row['id']} has {row['crashes']} crashes and other reasons"
        if row["state"] in ("queued", "scheduled"):
            yield f"{row['id']} still waits: it is {row['state']}"
    for row in past.of("changes"):
        deadline = deadlines.get(row["job_id"])
        if deadline is not None and row["target"] == _RUNNING and row["at"] > deadline:
            yield f"{row['job_id']} was begun {row['at'] - deadline:.1f} s past its deadline"


INVARIANTS = {
    "I1": nothing_lost,
    "I2": legal_history,
    "I3": one_receipt_each,
    "I4": counters_equal,
    "I5": nothing_left_behind,
    "I6": bounded,
}
