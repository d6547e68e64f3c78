"""Ledgers of many jobs, made quickly: each row is a copy of one that the ledger itself wrote."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ledger import Ledger, NewJob, TotalRow, bookmarks, jobs, sessions, tables, totals, workers
from ledger import logs as log
from ledger.log_tables import cosignatures, logs
from monitoring.follower import EVENTS, MOVES
from monitoring.heartbeat import Hardware, Heartbeat, Host, Reading
from monitoring.metrics import BY_NAME, Kind
from monitoring.series import at_rest

MODELS = tuple(f"model-{number}" for number in range(8))
WORKERS = tuple(f"host{number // 8}-gpu{number % 8}" for number in range(32))
GPUS = 8
GB = 10**9

QUEUED, SCHEDULED, RUNNING = 7_000, 1_000, 2_000
UNSEALED = 100
"""How many receipts have no place in the log yet."""

# The rows to be made, each with an id that is scattered as random ones are.
_n = sa.table("bench_rows", *(sa.column(name) for name in ("i", "id", "at", "session", "template")))
_template = tables.jobs.alias("template")
_MAKE = (
    "CREATE TEMP TABLE bench_models (k INTEGER PRIMARY KEY, id TEXT)",
    "CREATE TEMP TABLE bench_sessions (k INTEGER PRIMARY KEY, id TEXT)",
    """CREATE TEMP TABLE bench_rows
        (i INTEGER PRIMARY KEY, id TEXT, at REAL, session TEXT, template TEXT)""",
)
_FILL = """
    WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :last)
    INSERT INTO bench_rows
    SELECT i, printf('%08x-0000-4000-8%03x-%012x', (i * 2654435761) & 4294967295, :kind, i),
        :now - (i % 100000) * 0.01, s.id, m.id
    FROM n JOIN bench_models m ON m.k = i % (SELECT count(*) FROM bench_models)
        JOIN bench_sessions s ON s.k = i % (SELECT count(*) FROM bench_sessions)
"""


class BigLedger:
    """A SQLite ledger with 32 workers at work, 10,000 open jobs, and as many finished as told."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.url = f"sqlite:///{home / 'ledger.db'}"
        self.finished = 0
        with Ledger.open(self.url, migrate=True) as ledger:
            self._models = _enter(ledger)
            self._sessions = _begin(ledger)
        self._fill(1, 0, QUEUED, [_jobs({"queued_at": _n.c.at})])
        later = {"state": "scheduled", "queued_at": None, "not_before": _n.c.at + 86_400}
        self._fill(2, 0, SCHEDULED, [_jobs(later)])
        claimed = {"step": 2, "fence": 1, "started_at": _n.c.at, "claimed_at": _n.c.at}
        running = {"state": "running", "previous": "queued", "session": _n.c.session, **claimed}
        self._fill(3, 0, RUNNING, [_jobs(running)])

    def grow(self, finished: int) -> None:
        """Have so many finished jobs, with moves and receipts; people were asked about a tenth."""
        self._fill(4, self.finished, finished, _of_finished(finished))
        self.finished = finished
        with Ledger.open(self.url) as ledger, ledger.write() as tx:
            totals.write(tx, _totals(finished))
            known = bookmarks.get(tx, MOVES)
            last = tx.execute(sa.select(sa.func.max(tables.changes.c.seq))).scalar_one()
            bookmarks.move(tx, MOVES, expected=known.position if known else 0, to=last)
            bookmarks.note(tx, EVENTS)

    def _fill(self, kind: int, first: int, last: int, statements: list[sa.Insert]) -> None:
        engine = sa.create_engine(self.url)
        with engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("PRAGMA synchronous = OFF")
            for statement in _MAKE:
                connection.exec_driver_sql(statement)
            for name, ids in (("models", self._models), ("sessions", self._sessions)):
                table = sa.table(f"bench_{name}", sa.column("k"), sa.column("id"))
                rows = [{"k": k, "id": one} for k, one in enumerate(ids)]
                connection.execute(sa.insert(table), rows)
            told = {"first": first, "last": last, "kind": kind, "now": time.time()}
            connection.execute(sa.text(_FILL), told)
            for insert in statements:
                connection.execute(insert)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        engine.dispose()


def _of_finished(last: int) -> list[sa.Insert]:
    done = {
        "state": "succeeded",
        "previous": "running",
        "step": 3,
        "fence": 1,
        "k": 3,
        "confidence": 0.9,
        "review": _n.c.i % 10 == 0,
        "session": _n.c.session,
        "created_at": _n.c.at - 3,
        "started_at": _n.c.at - 2,
        "claimed_at": _n.c.at - 2,
        "finished_at": _n.c.at,
        "delivered_at": _n.c.at,
        "queued_at": None,
    }
    moves = ((1, None, "queued"), (2, "queued", "running"), (3, "running", "succeeded"))
    number = sa.select(sa.func.min(logs.c.number)).scalar_subquery()
    receipt = {
        "job_id": _n.c.id,
        "canonical": sa.func.zeroblob(480),
        "digest": sa.func.printf("sha256:%064x", _n.c.i),
        "report_digest": "",
        "signature": sa.func.zeroblob(300),
        "leaf_index": sa.case((_n.c.i < last - UNSEALED, _n.c.i)),
        "created_at": _n.c.at,
        "log": number,
    }
    review = {
        "job_id": _n.c.id,
        "created_at": _n.c.at,
        "reasons": sa.text("'[]'"),
        "classes": sa.text("'{}'"),
        "state": sa.case((_n.c.i % 100 == 0, "open"), else_="settled"),
    }
    cosignature = {
        "log": number,
        "tree_size": _n.c.i,
        "key_id": "key",
        "witness": "witness",
        "line": "",
        "created_at": _n.c.at,
    }
    return [
        _jobs(done),
        *(
            _copy(
                tables.changes,
                {
                    "at": _n.c.at - 3 + step,
                    "job_id": _n.c.id,
                    "step": step,
                    "fence": 1,
                    "source": source,
                    "target": target,
                },
            )
            for step, source, target in moves
        ),
        _copy(tables.receipts, receipt),
        _copy(tables.reviews, review, every=10),
        _copy(cosignatures, cosignature, every=100),
    ]


def _jobs(changed: Mapping[str, Any]) -> sa.Insert:
    """A job for each row, like its template but for what is changed."""
    names = [column.name for column in tables.jobs.columns]
    told = {"id": _n.c.id, **changed}
    values = [_value(told[name]) if name in told else _template.c[name] for name in names]
    rows = sa.select(*values).select_from(_n).join(_template, _template.c.id == _n.c.template)
    return sa.insert(tables.jobs).from_select(names, rows, include_defaults=False)


def _copy(table: sa.Table, told: Mapping[str, Any], *, every: int = 1) -> sa.Insert:
    rows = sa.select(*(_value(value) for value in told.values())).select_from(_n)
    if every > 1:
        rows = rows.where(_n.c.i % every == 0)
    return sa.insert(table).from_select([*told], rows, include_defaults=False)


def _value(value: Any) -> Any:
    return value if isinstance(value, sa.ClauseElement) else sa.literal(value)


def heartbeat(worker: int) -> Heartbeat:
    """What the worker of that number says: busy, with eight GPUs that tell everything."""
    model = MODELS[worker % len(MODELS)]
    return Heartbeat(
        pid=1000 + worker,
        queues=(f"model.{model}", "celery"),
        model=model,
        engine="vllm",
        backend="cuda",
        device="cuda",
        version="0.1.0",
        in_flight=60,
        places=64,
        waiting=3,
        cost_per_hour=1.5,
        hardware=Hardware(gpu_name="NVIDIA H100 80GB HBM3", driver="570.1", cpus=32),
        machine_age_s=2.5,
        host=Host(
            memory_available_bytes=400 * GB,
            memory_total_bytes=512 * GB,
            disk_available_bytes=900 * GB,
            disk_total_bytes=1000 * GB,
            load=0.4,
        ),
        engine_up=True,
        kv_cache_usage=0.61,
        progress_at=time.time(),
        tokens_per_s=2512.5,
        logged_errors=2,
        readings=tuple(_reading(worker, gpu) for gpu in range(GPUS)),
    )


def _reading(worker: int, gpu: int) -> Reading:
    return Reading(
        gpu=str(gpu),
        uuid=f"GPU-{worker:08x}-{gpu}",
        utilization_percent=91.0,
        temperature_celsius=63.0,
        memory_used_bytes=71 * GB,
        memory_total_bytes=80 * GB,
        power_watts=512.25,
        energy_joules=81234567.5,
        xid={"13": 1, "79": 1},
        throttle_seconds={"thermal": 1.5, "power": 120.25, "hw": 0.0},
        ecc_errors={"corrected": 1, "uncorrected": 0},
    )


def _enter(ledger: Ledger) -> list[str]:
    """One queued job of each model, as clients enter them."""
    new = [
        NewJob(
            id=str(uuid.uuid4()),
            model=model,
            queue=f"model.{model}",
            request=b'{"prompt":"Is there a fracture? Answer yes or no."}',
            policy="dynamic",
        )
        for model in MODELS
    ]
    with ledger.write() as tx:
        return [job.id for job in jobs.submit(tx, new)]


def _begin(ledger: Ledger) -> list[str]:
    """A session and a heartbeat of each worker, and one log; gives the sessions."""
    opened = []
    for number, worker in enumerate(WORKERS):
        with ledger.write() as tx:
            session = sessions.open(
                tx,
                worker=worker,
                node=worker.split("-")[0],
                pid=1000 + number,
                pid_started=0.0,
                pid_namespace="pid:[1]",
                boot_id="boot",
                lease_s=86_400.0,
            ).id
            facts = heartbeat(number).to_facts()
            workers.beat(tx, worker=worker, session=session, state="busy", facts=facts)
        opened.append(session)
    with ledger.write() as tx:
        log.enter(tx, log_id="bench", worker=WORKERS[0], origin="bench/log", key="", empty_root=b"")
    return opened


def _totals(finished: int) -> list[TotalRow]:
    """Totals in every series, as so many jobs would leave them."""
    found = []
    for (name, labels), rest in at_rest(models=MODELS, workers=WORKERS).items():
        each = finished / len(MODELS) + 1 / 3
        is_histogram = BY_NAME[name].kind is Kind.HISTOGRAM
        counts = tuple(int(each / len(rest.counts)) for _ in rest.counts) if is_histogram else ()
        found.append(TotalRow(metric=name, labels=labels, value=each, counts=counts))
    return found
