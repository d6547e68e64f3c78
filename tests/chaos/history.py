"""What happened in one chaos test, as JSON lines in one file: the checker's only input.

While the test runs, what clients submitted and were told. At its end, after the drain: the ledger's
tables, what Redis holds, the counters, the processes and files that are left. Every line
says `what` it is of; bytes are base64 and bodies are told by their true digests.
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
        """The queues and the unacked messages, by the ids in them."""
        for key in sorted(client.keys("*")):
            name = key.decode(errors="replace")
            if client.type(key) == b"list":
                self.note("queue", key=name, ids=_ids(client.lrange(key, 0, -1)))
            elif name == "unacked":
                self.note("unacked", ids=_ids(client.hvals(key)))

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
