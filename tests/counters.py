"""Whether the totals that are shown are what the ledger's rows say, counted in another way."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from ledger import Ledger, Transaction, bookmarks, changes, totals
from monitoring.follower import MOVES, Follower
from monitoring.metrics import PREFIX
from monitoring.tally import Series, Tally, Total

Counts = Counter[tuple[str, ...]]

ENDED = "('succeeded', 'failed', 'cancelled', 'expired', 'dead')"
# Who was refused before anybody was accepted for that model is shown as `other`.
SHOWN = f"""
    WITH accepted AS (
        SELECT jobs.model, min(changes.seq) AS seq
        FROM changes JOIN jobs ON jobs.id = changes.job_id
        WHERE changes.step = 1 AND changes.target NOT IN {ENDED}
        GROUP BY jobs.model
    ), shown AS (
        SELECT jobs.*, CASE
            WHEN changes.target IN {ENDED} AND jobs.model NOT IN :known
                AND (accepted.seq IS NULL OR changes.seq < accepted.seq)
            THEN 'other' ELSE jobs.model END AS name
        FROM jobs JOIN changes ON changes.job_id = jobs.id AND changes.step = 1
        LEFT JOIN accepted ON accepted.model = jobs.model
        WHERE jobs.origin <> 'canary'
    )
"""
OWN = "(shown.follows IS NULL OR samples.created_at > shown.started_at)"
QUESTIONS = {
    "jobs_total": f"SELECT state, name, count(*) FROM shown WHERE state IN {ENDED} GROUP BY 1, 2",
    "job_duration_seconds": f"""
        SELECT name, state, count(*) FROM shown WHERE state IN {ENDED} GROUP BY 1, 2
    """,
    "queue_length": "SELECT name, count(*) FROM shown WHERE state = 'queued' GROUP BY 1",
    "jobs_current": f"""
        SELECT name, state, CASE
            WHEN priority < 3 THEN 'interactive' WHEN priority < 6 THEN 'normal'
            WHEN priority < 9 THEN 'batch' ELSE 'idle' END, count(*)
        FROM shown WHERE state NOT IN {ENDED} GROUP BY 1, 2, 3
    """,
    "receipts_total": """
        SELECT name, count(*) FROM shown JOIN receipts ON receipts.job_id = shown.id GROUP BY 1
    """,
    "k_samples_used": "SELECT name, count(*) FROM shown WHERE k IS NOT NULL GROUP BY 1",
    "job_queue_wait_seconds": """
        SELECT name, CASE
            WHEN priority < 3 THEN 'interactive' WHEN priority < 6 THEN 'normal'
            WHEN priority < 9 THEN 'batch' ELSE 'idle' END, count(*)
        FROM shown JOIN changes ON changes.job_id = shown.id
        WHERE changes.target = 'running' GROUP BY 1, 2
    """,
    "inference_duration_seconds": """
        SELECT name, count(*) FROM shown JOIN changes ON changes.job_id = shown.id
        WHERE changes.source = 'running' GROUP BY 1
    """,
    "samples_total": f"""
        SELECT name, CASE WHEN NOT valid THEN 'failed' WHEN state = 'succeeded' THEN 'used'
            ELSE 'discarded' END, count(*)
        FROM shown JOIN samples ON samples.job_id = shown.id
        WHERE state IN {ENDED} AND {OWN} GROUP BY 1, 2
    """,
}
"""For each metric what it counts, by its labels; of a histogram how many values there were."""

RUNS = """
    SELECT name, target, count(*) FROM shown JOIN changes ON changes.job_id = shown.id
    WHERE source = 'running' GROUP BY 1, 2
"""
PATIENCE_S = 60.0


def assert_counters_equal_ledger(ledger: Ledger, *, models: Collection[str] = ()) -> None:
    """Count what is left to count, and compare with the rows, for every model and status.

    The ledger must be at rest. Where another process counts, what that one wrote is compared, when
    it has come to the end; `models` are then those that it was given.
    """
    # In batches of an odd size, so that their ends fall anywhere.
    follower = Follower(ledger, holder=str(uuid.uuid4()), models=models, batch=97)
    until = time.monotonic() + PATIENCE_S
    while follower.advance() or _left(ledger):
        assert time.monotonic() < until, f"{_left(ledger)} moves are not counted"
        if not follower.leads:
            time.sleep(0.1)
    with ledger.read() as tx:
        shown = Tally.of_rows(totals.read(tx), models=models).totals
        wrong = [
            line
            for name in QUESTIONS
            for line in _compared(name, _asked(tx, QUESTIONS[name], models), _shown(shown, name))
        ]
        wrong += _compared("job_attempts_total", _asked(tx, RUNS, models), _led(shown))
    if follower.leads:
        follower.release()
    assert [] == wrong, "\n".join(wrong)


def _left(ledger: Ledger) -> int:
    with ledger.read() as tx:
        mark = bookmarks.get(tx, MOVES)
        return changes.count_after(tx, 0 if mark is None else mark.position)


def _asked(tx: Transaction, question: str, models: Collection[str]) -> Counts:
    known = sa.bindparam("known", list(models), expanding=True, type_=sa.Text)
    rows = tx.execute(sa.text(SHOWN + question).bindparams(known))
    return Counter({tuple(row[:-1]): row[-1] for row in rows})


def _led(shown: Mapping[Series, Total]) -> Counts:
    """Runs, by where they led and not by what they are called."""
    led = {"succeeded": "committed", "scheduled": "retried", "failed": "failed timeout"}
    led |= {"queued": "crashed lost handed_back", "cancelled": "cancelled", "expired": "expired"}
    counted: Counts = Counter()
    for (model, outcome), number in _shown(shown, "job_attempts_total").items():
        (target,) = (state for state, names in led.items() if outcome in names.split())
        counted[model, target] += number
    return counted


def _compared(name: str, rows: Counts, counted: Counts) -> list[str]:
    return [
        f"{name}{labels} is {counted[labels]}, and the ledger has {rows[labels]}"
        for labels in sorted(set(rows) | set(counted))
        if rows[labels] != counted[labels]
    ]


def _shown(totals: Mapping[Series, Total], name: str) -> Counts:
    found: dict[Any, Any] = {
        labels: sum(total.counts) if total.counts else total.value
        for (metric, labels), total in totals.items()
        if metric == PREFIX + name
    }
    return Counter(found)
