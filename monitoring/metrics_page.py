"""Makes docs/metrics.md from the table: `python -m monitoring.metrics_page [FILE]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from monitoring import metrics
from monitoring.families.machines import ECC_KINDS, THROTTLE_REASONS, XIDS
from monitoring.families.rows import ALERT_KINDS, ALERT_OUTCOMES, QUARANTINE_REASONS
from monitoring.metrics import Kind, Metric, Source
from monitoring.metrics_names import ABSENT, SEEDS, TWINS, UNDER_OTHER_NAMES

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

SECTIONS = (
    ("Jobs", metrics.JOBS),
    ("Workers, engines, models", metrics.WORKERS),
    ("GPUs and machines", metrics.MACHINES),
    ("The broker", metrics.BROKER),
    ("Receipts and reviews", metrics.RECEIPTS),
    ("Alerts and the exporter itself", metrics.TELLING),
)

SOURCES = {
    Source.MOVES: "every move of a job, counted once and kept in the ledger",
    Source.EVENTS: "every event in the ledger, counted once and kept",
    Source.LEDGER: "the ledger's rows, at the scrape",
    Source.HEARTBEAT: "each worker's last heartbeat (every 30 s, and whenever its state changes)",
    Source.BROKER: "Redis' INFO, every 10 s",
    Source.EXPORTER: "the exporter",
}

LABELS = (
    ("model", "a configured model; the 65th and later ones are `other`, as is what is unknown"),
    (
        "worker",
        "a worker's name as in `honeyflow workers`, the same after a restart; `forgotten`, `other`",
    ),
    ("gpu", "a GPU's index among its worker's, as text"),
    ("priority", metrics.PRIORITIES),
    ("status", metrics.STATUSES),
    ("state (jobs)", metrics.OPEN_STATES),
    ("state (workers)", metrics.WORKER_STATES),
    ("state (reviews)", ("open",)),
    ("origin", (*metrics.ORIGINS, metrics.OTHER)),
    ("outcome (attempts)", metrics.ATTEMPT_OUTCOMES),
    ("outcome (samples)", metrics.SAMPLE_OUTCOMES),
    ("outcome (alerts)", ALERT_OUTCOMES),
    ("direction", metrics.DIRECTIONS),
    ("action", metrics.RECONCILER_ACTIONS),
    ("check", (*metrics.HEALTH_CHECKS, metrics.OTHER)),
    ("reason (quarantine)", (*QUARANTINE_REASONS, metrics.OTHER)),
    ("reason (starts)", "the code of the error that ended the start"),
    ("reason (throttling)", THROTTLE_REASONS),
    ("kind (memory errors)", ECC_KINDS),
    ("kind (alerts)", ALERT_KINDS),
    ("xid", (*XIDS, metrics.OTHER)),
    ("channel", "a channel of `[alerts]`"),
    ("rule", "a rule whose limit follows a setting: `WorkerStale`, `CanaryStale`"),
    ("backend", "`cuda` or `cpu`; `none` for a worker without a model"),
    ("version, gpu_name", "as the worker, or this program, says"),
)

_HEAD = """\
<!-- Written by `python -m monitoring.metrics_page`; change monitoring/metrics.py instead. -->
# Metrics

```
honeyflow metrics                 # http://127.0.0.1:9464/metrics, /healthz
```

`honeyflow up` starts it as well. `/healthz` answers 200, or 503 where the ledger is away or was not
looked at for too long, with a JSON object: `role`, `reason`, `lag`, and how long ago beat and the
reconciler last noted that they were at work (`beat_age_s`, `reconciler_age_s`; null for never).

One process exports the metrics of the whole cluster; workers open no port. Start a second one where
the first might go away: it answers 503 with a sentence until the lease is free, and then goes on
where the first one was. Prometheus' text format, or OpenMetrics for whoever asks for it; gzip.

- Jobs are counted from the ledger's moves. Totals and how far was counted are written in one
  transaction, so a `kill -9` neither loses nor doubles anything, and the counters equal the ledger.
  What was counted needs no row again: totals outlive what is deleted.
- Series that an alert may rest on are there at 0 from the start, the faults of a GPU among them. A
  worker's first start, or an error code, has no series before: `increase` does not see the first
  one, and the boards add what a series was born with.
- A worker whose lease is over, about 15 s after a `kill -9`, is `stale`, whatever it said last. A
  stale or failed worker keeps its info, `engine_up` 0 and its counters, and a stale one the time of
  its last heartbeat; its gauges are gone. One that stopped, or was forgotten, has no series.
- A scrape reads the ledger once; it never waits for Celery or Redis. While the ledger is away it is
  answered 503, and nothing old is shown as new.
- `receipts_unsealed`, `artifact_uploads_pending` and `review_items` are counted up to 10,000.
- Canaries are counted under `canary_…` and nowhere else. Before the first of a model is answered
  `canary_last_success_timestamp_seconds` is when that one was sent.
- No label holds an id of a job or of a caller. Eight models and 32 workers of eight GPUs make about
  11,000 series; 12,000 is the most that a test allows.
"""


def page() -> str:
    """The page's text."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    for title, table in SECTIONS:
        yield from _section(title, table)
    yield from ("## Labels", "", *_table(("label", "values")))
    for label, values in LABELS:
        shown = values if isinstance(values, str) else ", ".join(f"`{one}`" for one in values)
        yield f"| {label} | {shown} |"
    yield from ("", "## Where they come from", "", *_table(("source", "what is read")))
    for source, what in SOURCES.items():
        yield f"| {source} | {what} |"
    yield from (
        "",
        "## Seven older names",
        "",
        "They are older than the rule of base units, and stay as people know them. Each takes the",
        "place of the name that the rule would give, which is not exported beside it.",
        "",
        *_table(("name", "in the place of")),
    )
    yield from (f"| `{metrics.PREFIX}{name}` | {twin} |" for name, twin in SEEDS.items())
    yield from (
        "",
        "## Names of rbee-hive",
        "",
        "They are not exported; this is where their numbers are.",
        "",
        *_table(("rbee", "here")),
    )
    yield from (f"| `{name}` | {here} |" for name, here in TWINS.items())
    yield from (
        "",
        "## What goes by another name",
        "",
        *_table(("wanted", "here")),
    )
    yield from (f"| `{name}` | {here} |" for name, here in UNDER_OTHER_NAMES.items())
    yield from ("", "## What is not there, and why", "", *_table(("name", "why")))
    yield from (f"| `{name}` | {why} |" for name, why in ABSENT.items())


def _section(title: str, table: Sequence[Metric]) -> Iterator[str]:
    yield from (f"## {title}", "", *_table(("name", "kind", "labels", "source", "meaning")))
    for metric in table:
        labels = ", ".join(metric.labels) or "none"
        yield (f"| `{metric.name}` | {metric.kind} | {labels} | {metric.source} | {metric.help} |")
    yield ""
    histograms = [metric for metric in table if metric.kind is Kind.HISTOGRAM]
    if histograms:
        yield from _table(("histogram", "buckets"))
        for metric in histograms:
            bounds = ", ".join(f"{bound:g}" for bound in metric.buckets)
            yield f"| `{metric.name}` | {bounds} |"
        yield ""


def _table(columns: Sequence[str]) -> tuple[str, str]:
    return f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"


def main(arguments: Sequence[str]) -> None:
    """Write the page."""
    file = Path(arguments[0]) if arguments else PAGE
    file.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
