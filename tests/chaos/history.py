"""What happened in one chaos test, as JSON lines in one file: the checker's only input.

While the test runs, what clients submitted and were told, which exit codes of workers the test has
said it expects (`expected`), and why messages may be about more than once (`copied`). At its end,
after the drain: the ledger's tables, what Redis holds and has been through, the counters, how the
workers ended, the processes and files that are left. Every line says `what` it is of; bytes are
base64 and bodies are told by their true digests.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ledger import Ledger, State, Transaction, bodies, jobs, tables
from tasks.errors import HoneyflowError

ACCEPTED, REFUSED, UNKNOWN = "accepted", "refused", "unknown"

Row = dict[str, Any]

_ID = re.compile(rb'"id\\*": ?\\*"([0-9a-f-]{36})')
_LEFT_OUT = {"ledger", "bodies", "alembic_version"}
_OPEN = ("LEDGER_UNAVAILABLE",)
_HARM = {
    *("cmdstat_flushall", "cmdstat_flushdb", "cmdstat_client|kill"),
    *("errorstat_OOM", "errorstat_MISCONF"),
}


class History:
    """Writes one file; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self.path.write_text("")

    def note(self, what: str, /, **fields: Any) -> None:
        """Write one line."""
        self._write([{"what": what, **fields}])

    def told(self, ids: Iterable[str], answer: str, code: str | None = None) -> None:
        """What a client was told about the jobs that it submitted under these ids."""
        now = time.time()
        self._write(
            {"what": "submission", "id": job_id, "told": answer, "code": code, "at": now}
            for job_id in ids
        )

    def record_ledger(self, ledger: Ledger) -> None:
        """All tables but the bodies, of which the results and the digests of reports are told."""
        with ledger.read() as tx:
            self.note("clock", now=tx.now, lease_now=tx.lease_now)
            for table in tables.metadata.sorted_tables:
                if table.name not in _LEFT_OUT:
                    rows = tx.rows(sa.select(table))
                    self._write({"what": table.name, **row} for row in rows)
            self._write(_bodies(tx))
            counts = [[model, str(state), n] for (model, state), n in jobs.counts(tx).items()]
        self.note("metrics", counts=counts)

    def record_redis(self, client: Any) -> None:
        """The lists and the unacked messages: how many, and the ids in them."""
        self.record_broker(client)
        for key in sorted(client.keys("*")):
            name = key.decode(errors="replace")
            if client.type(key) == b"list":
                held = client.lrange(key, 0, -1)
                self.note("queue", key=name, size=len(held), ids=_ids(held))
            elif name == "unacked":
                held = client.hvals(key)
                self.note("unacked", size=len(held), ids=_ids(held))

    def record_broker(self, client: Any) -> None:
        """Which Redis answers, and what it says was done to it that loses or repeats messages."""
        seen = {**client.info("commandstats"), **client.info("errorstats")}
        run_id = client.info("server")["run_id"]
        self.note("broker", run_id=run_id, harmed=sorted(_HARM.intersection(seen)))

    def _write(self, lines: Iterable[Row]) -> None:
        text = "".join(json.dumps(line, default=_plain) + "\n" for line in lines)
        with self._lock, self.path.open("a") as file:
            file.write(text)


@dataclass(slots=True)
class Past:
    """A history file, read."""

    rows: dict[str, list[Row]] = field(default_factory=dict)

    def of(self, what: str) -> list[Row]:
        """All lines of one thing."""
        return self.rows.get(what, [])

    def by(self, column: str, what: str) -> dict[str, Row]:
        """All lines of one thing by a column."""
        return {row[column]: row for row in self.of(what)}

    def changes(self) -> dict[str, list[Row]]:
        """Each job's moves in their order."""
        lives: dict[str, list[Row]] = {row["id"]: [] for row in self.of("jobs")}
        for row in sorted(self.of("changes"), key=lambda row: row["step"]):
            lives.setdefault(row["job_id"], []).append(row)
        return lives

    def in_flight(self, session: Row) -> list[Row]:
        """The moves by which a session's end gave back what it ran, all in one transaction."""
        return [
            row
            for row in self.of("changes")
            if (row["source"], row["session"]) == ("running", session["id"])
            and row["at"] == session["closed_at"]
            and (row["reason"] == session["reason"] or row["target"] == "cancelled")
        ]

    def served(self, begin: float, end: float) -> float:
        """For how many seconds between two moments some worker had a session."""
        total, reached = 0.0, begin
        spans = ((row["opened_at"], row["closed_at"] or end) for row in self.of("sessions"))
        for opened, closed in sorted(spans):
            first, last = max(opened, reached), min(closed, end)
            if last > first:
                total, reached = total + last - first, last
        return total


def read(path: Path) -> Past:
    """Read a history file."""
    past = Past()
    with path.open() as file:
        for line in file:
            row = json.loads(line)
            past.rows.setdefault(row.pop("what"), []).append(row)
    return past


def answer_of(error: BaseException) -> tuple[str, str | None]:
    """What an error of a submission means for its jobs: refused, or nobody knows.

    Only a ledger that went away at the commit leaves it open whether the jobs are in it.
    """
    if not isinstance(error, HoneyflowError):
        return UNKNOWN, type(error).__name__
    return (UNKNOWN if error.code in _OPEN else REFUSED), error.code


def _bodies(tx: Transaction) -> list[Row]:
    ended = sa.select(tables.jobs.c.id, tables.jobs.c.result_digest, tables.jobs.c.report_digest)
    rows = tx.rows(ended.where(tables.jobs.c.state == State.SUCCEEDED))
    return [line for row in rows for line in (_result(tx, row), _report(tx, row))]


def _result(tx: Transaction, row: Row) -> Row:
    data = _data(tx, row["result_digest"])
    return {"what": "results", "job_id": row["id"], "digest": _digest(data), "data": data}


def _report(tx: Transaction, row: Row) -> Row:
    data = _data(tx, row["report_digest"])
    return {"what": "reports", "job_id": row["id"], "digest": _digest(data)}


def _data(tx: Transaction, digest: str) -> bytes | None:
    body = tables.bodies
    found = tx.row(sa.select(body.c.data).where(body.c.digest == digest))
    return None if found is None else bytes(found["data"])


def _digest(data: bytes | None) -> str | None:
    return None if data is None else bodies.digest_of(data)


def _ids(messages: Sequence[bytes]) -> list[str]:
    return [found.decode() for message in messages for found in _ID.findall(message)]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    return str(value)
