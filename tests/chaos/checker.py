"""The six invariants of spec/reliability.md 3.1, checked over one history file and nothing else.

    I1  nothing lost: every accepted job ended, in exactly one way
    I2  legal history: its moves are a path of the published machine, with at most one commit
    I3  one receipt per succeeded job, and none otherwise
    I4  the jobs' rows are counted as their moves add up; the totals are compared beside this
    I5  nothing is left behind, and no worker ended otherwise than its test said
    I6  everything is bounded, and a crash counts against a job only if it suffered it alone

Signatures and Merkle proofs of receipts are not checked here yet.
"""

from __future__ import annotations

import base64
import json
import signal
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
from routing import INGEST
from tests.chaos.history import ACCEPTED, REFUSED, Past, Row, read

ENDED_S = 15.0
"""How long after its deadline a job has ended at the latest, while there is a worker at all."""

_ENDED = {str(state) for state in TERMINAL}
_EDGES = {(source and str(source), str(target)) for source, target in EDGES}
_RUNNING, _SUCCEEDED = str(State.RUNNING), str(State.SUCCEEDED)
_QUEUED, _DEAD, _EXPIRED = str(State.QUEUED), str(State.DEAD), str(State.EXPIRED)
_EARLY_S = 0.5


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
    """I4: what `ledger.jobs.counts` counts is what the moves add up to.

    Both are read from the ledger: the one from the jobs' rows, the other from the sequence of
    changes. The totals that an exporter shows are compared with them in `tests.counters`.
    """
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
    """I5: no running job, message, session, lease, process or file stays after the drain.

    A message that names a job which has not ended is a violation always. One of a job that has
    ended is a stale copy, which the ledger refuses; it may stay where the history says that copies
    were made, and nowhere else. What beat sends to the control queue expires by itself.
    """
    live = {row["id"] for row in past.of("jobs") if row["state"] not in _ENDED}
    for row in past.of("jobs"):
        if row["state"] == _RUNNING:
            yield f"{row['id']} runs still"
        elif row["id"] not in live and row["delivered_at"] is None:
            yield f"{row['id']} is {row['state']} and nobody was told"
    yield from _left_unacked(past, live)
    yield from _left_in_queues(past, live)
    yield from _badly_ended(past)
    yield from _left_open(past)
    for what in ("process", "file"):
        for row in past.of(what):
            yield f"the {what} {row['name']} is there"


def _left_unacked(past: Past, live: set[str]) -> Iterator[str]:
    for row in past.of("unacked"):
        for job_id in sorted(live.intersection(row["ids"])):
            yield f"{job_id} is in an unacked message"
        if row["size"] and not _copied(past):
            yield f"{row['size']} messages are unacked, and nothing kept workers from their acks"


def _left_in_queues(past: Past, live: set[str]) -> Iterator[str]:
    jobs, lives, copied = past.by("id", "jobs"), past.changes(), _copied(past)
    left: Counter[str] = Counter()
    for row in past.of("queue"):
        name = row["key"].partition("\x06")[0]
        if name == INGEST or name.startswith(("model.", "gpu.")):
            left.update(row["ids"])
            if (nameless := row["size"] - sum(one in jobs for one in row["ids"])) > 0:
                yield f"{nameless} elements of {name} name no job"
    for job_id, count in sorted(left.items()):
        if job_id in live:
            yield f"{job_id} is {jobs[job_id]['state']} and {count} times in a queue"
        elif job_id in jobs and not copied:
            # The last copy was taken out when the job was claimed, if it was.
            taken = [move["source"] for move in lives[job_id][-1:]] != [_QUEUED]
            if count > (made := jobs[job_id]["sent_number"] - taken):
                yield f"{job_id} is {count} times in a queue, where {made} copies may be"


def _copied(past: Past) -> list[str]:
    """Why copies of messages may be about: what the history says, or a fault that makes them."""
    told = [row["why"] for row in past.of("copied")]
    told += [harm for row in past.of("broker") for harm in row["harmed"]]
    told += ["the broker was started again"] * (len(past.by("run_id", "broker")) > 1)
    # What ends by itself, also with an error, puts back what it has in hand.
    return told + [f"{row['name']} was killed" for row in past.of("worker") if _killed(row)]


def _killed(worker: Row) -> bool:
    return worker["code"] is not None and worker["code"] < 0


def _badly_ended(past: Past) -> Iterator[str]:
    """Workers that ended with an error; SIGKILL comes from outside, the rest somebody expects."""
    expected = {(row["pid"], row["code"]) for row in past.of("expected")}
    begun = {row["pid"] for row in past.of("sessions")}
    for row in past.of("worker"):
        code, pid = row["code"], row["pid"]
        # One that is stopped before it has a session knows nothing yet of an orderly end.
        good = {0, -signal.SIGKILL} if pid in begun else {0, -signal.SIGKILL, -signal.SIGTERM}
        if code is None:
            yield f"the worker {row['name']} has not ended"
        elif code not in good and not expected & {(pid, code), (None, code)}:
            yield f"the worker {row['name']} ended with {code}, which nobody has said it may"


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
    """I6: limited crashes, tries and deliveries, nothing late, nothing waiting.

    Late is what has not ended `ENDED_S` after its deadline. Times in which no worker had a session
    are not counted: nobody could have ended it.
    """
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
        if row["target"] in _ENDED:
            yield from _untimely(past, row, deadline)
    yield from _dead_wrongly(past)
    yield from _counted_wrongly(past)


def _untimely(past: Past, end: Row, deadline: float | None) -> Iterator[str]:
    if end["target"] == _EXPIRED and (deadline is None or end["at"] < deadline - _EARLY_S):
        yield f"{end['job_id']} is expired before its deadline"
    elif deadline is not None and (late := past.served(deadline, end["at"])) > ENDED_S:
        yield f"{end['job_id']} is {end['target']} {late:.1f} s after its deadline"


def _dead_wrongly(past: Past) -> Iterator[str]:
    """A job is dead with its last crash, and for nothing else."""
    for row in past.of("jobs"):
        if (row["state"] == _DEAD) != (row["crashes"] >= MAX_CRASHES):
            yield f"{row['id']} is {row['state']} after {row['crashes']} crashes"
        error = row["error"] or {}
        told = (error.get("code"), error.get("details", {}).get("reasons"))
        if row["state"] == _DEAD and told != ("JOB_DEAD", row["crash_reasons"]):
            yield f"{row['id']} is dead, and its error says {told[0]} and other reasons"


def _counted_wrongly(past: Past) -> Iterator[str]:
    """A crash counts against a job that was alone in flight; several share it, and are suspects."""
    alone: dict[str, list[str]] = {}
    shared: Counter[str] = Counter()
    crashed = [row for row in past.of("sessions") if row["closed_at"] and row["crashed"]]
    for session in sorted(crashed, key=lambda row: row["closed_at"]):
        held = past.in_flight(session)
        given_back = [row["job_id"] for row in held if row["target"] == _QUEUED]
        if len(held) > 1:
            shared.update(given_back)
        for job_id in given_back if len(held) == 1 else ():
            alone.setdefault(job_id, []).append(session["reason"])
    for row in past.of("jobs"):
        counted, suffered = row["crash_reasons"] or [], alone.get(row["id"], [])
        if counted != suffered:
            yield f"{row['id']} suffered {suffered} alone, and {counted} is counted"
        if shared[row["id"]] != row["shared_crashes"]:
            told = f"{shared[row['id']]} crashes, and {row['shared_crashes']} are counted"
            yield f"{row['id']} shared {told}"
        if shared[row["id"]] and not row["suspect"]:
            yield f"{row['id']} shared a crash and is no suspect"


INVARIANTS = {
    "I1": nothing_lost,
    "I2": legal_history,
    "I3": one_receipt_each,
    "I4": counters_equal,
    "I5": nothing_left_behind,
    "I6": bounded,
}
