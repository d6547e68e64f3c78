"""Every metric of the cluster: its name, kind, labels, buckets and help, in one table.

Exporter, alert rules, dashboards and the page of metrics are made from it. Units are seconds,
bytes, degrees Celsius, watts, joules and ratios from 0 to 1; seven names are older than that rule
and stay as people know them. Where a series comes from is told by `source`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

PREFIX = "swarmos_"


class Kind(StrEnum):
    """What Prometheus is told that a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Where a metric's values come from."""

    MOVES = "moves"
    """Counted once for each move of a job, and kept in the ledger with how far was counted."""
    EVENTS = "events"
    """Counted once for each event in the ledger, and kept as well."""
    LEDGER = "ledger"
    """Read from the ledger's rows when somebody asks."""
    HEARTBEAT = "heartbeat"
    """What each worker last said of itself."""
    BROKER = "broker"
    """What Redis says of itself."""
    EXPORTER = "exporter"
    """What the exporter knows of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One line of the table; `name` has the prefix, `buckets` are upper bounds without infinity."""

    name: str
    kind: Kind
    source: Source
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def bounds(self) -> tuple[float, ...]:
        """The buckets with the one that has no upper bound."""
        return (*self.buckets, math.inf)


STATUSES = ("succeeded", "failed", "cancelled", "expired", "dead")
PRIORITIES = ("interactive", "normal", "batch", "idle")
OPEN_STATES = ("scheduled", "queued", "running")
ATTEMPT_OUTCOMES = (
    "committed",
    "retried",
    "failed",
    "timeout",
    "cancelled",
    "expired",
    "crashed",
    "lost",
    "handed_back",
)
WORKER_STATES = (
    "starting",
    "loading",
    "idle",
    "busy",
    "draining",
    "stopping",
    "stopped",
    "stale",
    "failed",
)
ORIGINS = ("client", "message", "api", "batch")
PORT = 9464
"""Where `honeyflow metrics` listens unless it is told otherwise."""

CANARY = "canary"
"""The origin of jobs that only try whether all works; they are counted apart."""

DIRECTIONS = ("prompt", "cached_prompt", "completion")
SAMPLE_OUTCOMES = ("used", "discarded", "failed")
RECONCILER_ACTIONS = ("republished", "lease_reclaimed", "expired", "dead_lettered")
HEALTH_CHECKS = ("process", "progress", "engine", "heartbeat")
OTHER = "other"
"""The label value of whatever is not in a closed set."""
FORGOTTEN = "forgotten"
"""The worker under which stands what was counted of workers that have no series any more."""

QUEUE_WAIT_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
JOB_BUCKETS = (*(0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 70, 80, 100, 120, 180, 300, 600, 1800, 3600),)
ATTEMPT_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 80, 120, 180, 300)
FIRST_TOKEN_BUCKETS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1, 2.5, 5, 7.5, 10, 20, 40, 80),
)
INTER_TOKEN_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5),
)
K_BUCKETS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16)
CONFIDENCE_BUCKETS = (5, 10, 20, 30, 40, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100)
CANCEL_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30)
LOAD_BUCKETS = (1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)


def _counter(name: str, labels: str, source: Source, text: str) -> Metric:
    return Metric(
        name=PREFIX + name,
        kind=Kind.COUNTER,
        source=source,
        help=text,
        labels=tuple(labels.split()),
    )


def _gauge(name: str, labels: str, source: Source, text: str) -> Metric:
    return Metric(
        name=PREFIX + name,
        kind=Kind.GAUGE,
        source=source,
        help=text,
        labels=tuple(labels.split()),
    )


def _histogram(
    name: str, labels: str, buckets: tuple[float, ...], text: str, source: Source = Source.MOVES
) -> Metric:
    return Metric(
        name=PREFIX + name,
        kind=Kind.HISTOGRAM,
        source=source,
        help=text,
        labels=tuple(labels.split()),
        buckets=buckets,
    )


_MOVES, _EVENTS, _LEDGER = Source.MOVES, Source.EVENTS, Source.LEDGER
_HEARTBEAT, _BROKER, _EXPORTER = Source.HEARTBEAT, Source.BROKER, Source.EXPORTER

JOBS = (
    _counter("jobs_submitted_total", "model priority origin", _MOVES, "Jobs accepted."),
    _counter("jobs_total", "status model", _MOVES, "Jobs that have ended, by how."),
    _gauge("jobs_current", "model state priority", _MOVES, "Jobs that have not ended, by state."),
    _gauge("queue_length", "model", _MOVES, "Jobs that are due and wait for a worker."),
    _counter("job_attempts_total", "model outcome", _MOVES, "Runs of jobs, by how they ended."),
    _histogram(
        "job_queue_wait_seconds",
        "model priority",
        QUEUE_WAIT_BUCKETS,
        "Time from being due to being claimed, without deliberate delays.",
    ),
    _histogram(
        "job_duration_seconds", "model status", JOB_BUCKETS, "Time from acceptance to the end."
    ),
    _histogram(
        "inference_duration_seconds", "model", ATTEMPT_BUCKETS, "Time of a run on the engine."
    ),
    _histogram(
        "time_to_first_token_seconds",
        "model",
        FIRST_TOKEN_BUCKETS,
        "Time to a first token.",
    ),
    _histogram(
        "inter_token_latency_seconds",
        "model",
        INTER_TOKEN_BUCKETS,
        "Mean time between two tokens of a sample.",
    ),
    _counter("tokens_total", "model direction", _MOVES, "Tokens read and written by the engines."),
    _histogram("k_samples_used", "model", K_BUCKETS, "Samples that an answer rests on."),
    _counter("samples_total", "model outcome", _MOVES, "Samples drawn, by what became of them."),
    _histogram(
        "confidence_score", "model", CONFIDENCE_BUCKETS, "Confidence of answers, from 0 to 100."
    ),
    _gauge(
        "low_confidence_streak_jobs",
        "model",
        _MOVES,
        "Answers in a row that people should look at.",
    ),
    _gauge("oldest_queued_job_age_seconds", "model", _LEDGER, "How long the first in line waits."),
    _gauge("oldest_running_job_age_seconds", "model", _LEDGER, "How long the longest run takes."),
    _histogram(
        "cancel_duration_seconds", "model", CANCEL_BUCKETS, "Time from a call-off to its effect."
    ),
    _counter(
        "reconciler_actions_total", "action", _MOVES, "What the reconciler had to put in order."
    ),
    _gauge("reconciler_last_run_timestamp_seconds", "", _LEDGER, "When a reconciler last looked."),
    _gauge("beat_last_run_timestamp_seconds", "", _LEDGER, "When what beat sends was last run."),
    _counter(
        "quarantined_messages_total", "reason", _LEDGER, "Messages that were none, by their flaw."
    ),
    _counter(
        "deduplicated_requests_total", "model", _MOVES, "Jobs that shared another's execution."
    ),
)
WORKERS = (
    _gauge(
        "worker_info",
        "worker model backend version gpu_name",
        _HEARTBEAT,
        "What a worker is; always 1.",
    ),
    _gauge("workers", "model backend state", _HEARTBEAT, "Workers, by state."),
    _gauge(
        "worker_last_heartbeat_timestamp_seconds",
        "worker",
        _HEARTBEAT,
        "When it was heard of.",
    ),
    _gauge("worker_slots", "worker model", _HEARTBEAT, "Samples that a worker may have in flight."),
    _gauge(
        "worker_cost_dollars_per_hour", "worker", _HEARTBEAT, "What a worker costs, as configured."
    ),
    _counter("worker_stale_total", "worker", _EVENTS, "Times a worker was silent for too long."),
    _counter("worker_starts_total", "worker", _EVENTS, "Times a worker started."),
    _counter(
        "worker_health_check_failures_total",
        "worker check",
        _EVENTS,
        "Times a worker was found unwell, by what told.",
    ),
    _counter(
        "worker_start_failures_total", "worker reason", _EVENTS, "Starts that failed, by code."
    ),
    _counter(
        "logged_errors_total",
        "worker",
        _HEARTBEAT,
        "Lines of level error in a log: a worker's, beat's, the exporter's.",
    ),
    _gauge("engine_up", "worker model", _HEARTBEAT, "Whether a worker's engine can answer."),
    _gauge(
        "engine_requests_running", "worker model", _HEARTBEAT, "Samples in flight in an engine."
    ),
    _gauge("engine_requests_waiting", "worker model", _HEARTBEAT, "Samples that wait for a place."),
    _gauge("engine_kv_cache_usage_ratio", "worker model", _HEARTBEAT, "How full the KV cache is."),
    _gauge(
        "engine_progress_timestamp_seconds", "worker model", _HEARTBEAT, "When an engine got on."
    ),
    _gauge(
        "engine_tokens_per_second",
        "worker model",
        _HEARTBEAT,
        "Tokens written, lately.",
    ),
    _histogram(
        "model_load_duration_seconds", "model", LOAD_BUCKETS, "Time to load a model.", _EVENTS
    ),
    _gauge(
        "canary_last_success_timestamp_seconds",
        "model",
        _MOVES,
        "When one was last answered, or the first was sent.",
    ),
    _histogram("canary_duration_seconds", "model", JOB_BUCKETS, "Time of a canary, whole."),
)
MACHINES = (
    _gauge("gpu_utilization_percent", "worker gpu", _HEARTBEAT, "How busy a GPU is, 0 to 100."),
    _gauge("gpu_temperature_celsius", "worker gpu", _HEARTBEAT, "How warm a GPU is."),
    _gauge("gpu_memory_used_bytes", "worker gpu", _HEARTBEAT, "GPU memory in use."),
    _gauge("gpu_memory_total_bytes", "worker gpu", _HEARTBEAT, "GPU memory there is."),
    _gauge("gpu_power_watts", "worker gpu", _HEARTBEAT, "What a GPU draws."),
    _counter("gpu_energy_joules_total", "worker gpu", _HEARTBEAT, "What a GPU has drawn."),
    _counter(
        "gpu_xid_errors_total", "worker gpu xid", _HEARTBEAT, "Faults that the driver reported."
    ),
    _counter(
        "gpu_throttle_seconds_total", "worker gpu reason", _HEARTBEAT, "Time a GPU was slowed down."
    ),
    _counter("gpu_ecc_errors_total", "worker gpu kind", _HEARTBEAT, "Memory errors of a GPU."),
    _gauge(
        "machine_last_read_timestamp_seconds",
        "worker",
        _HEARTBEAT,
        "When a worker last looked at its GPUs and its machine.",
    ),
    _gauge("host_memory_available_bytes", "worker", _HEARTBEAT, "Memory a worker can still take."),
    _gauge("host_memory_total_bytes", "worker", _HEARTBEAT, "Memory of a worker's machine."),
    _gauge("host_disk_available_bytes", "worker", _HEARTBEAT, "Room on a worker's data disk."),
    _gauge("host_disk_total_bytes", "worker", _HEARTBEAT, "Size of a worker's data disk."),
)
BROKER = (
    _gauge("broker_up", "", _BROKER, "Whether Redis answers."),
    _gauge("broker_memory_used_bytes", "", _BROKER, "Memory that Redis uses."),
    _gauge("broker_memory_max_bytes", "", _BROKER, "Memory that Redis may use; 0 for no limit."),
    _gauge("broker_aof_enabled", "", _BROKER, "Whether Redis keeps an append-only file."),
    _gauge("broker_connected_clients", "", _BROKER, "Connections to Redis."),
)
RECEIPTS = (
    _counter("receipts_total", "model", _MOVES, "Receipts written."),
    _gauge("receipts_unsealed", "", _LEDGER, "Receipts that have no place in a log yet."),
    _gauge(
        "receipts_oldest_unsealed_timestamp_seconds",
        "",
        _LEDGER,
        "When the oldest of them was written; 0 if there is none.",
    ),
    _counter("merkle_roots_total", "", _LEDGER, "Batches sealed."),
    _counter("cosignatures_total", "", _LEDGER, "Signatures of witnesses."),
    _gauge("artifact_uploads_pending", "", _LEDGER, "Reports and batches that wait for IPFS."),
    _gauge("review_items", "state", _LEDGER, "Answers for people to look at."),
    _gauge("review_oldest_open_age_seconds", "", _LEDGER, "How long the oldest of them waits."),
)
TELLING = (
    _counter(
        "alerts_sent_total", "channel kind outcome", _LEDGER, "Messages to people, by what became."
    ),
    _gauge("alert_outbox_length", "channel", _LEDGER, "Messages that are not delivered yet."),
    _gauge(
        "alert_last_delivery_timestamp_seconds", "channel", _LEDGER, "When one was last delivered."
    ),
    _gauge("alert_limit_seconds", "rule", _EXPORTER, "The limit of a rule that follows a setting."),
    _gauge("exporter_lag_changes", "", _EXPORTER, "Moves and events not counted yet."),
    _gauge("build_info", "version", _EXPORTER, "What runs; always 1."),
)

METRICS: tuple[Metric, ...] = JOBS + WORKERS + MACHINES + BROKER + RECEIPTS + TELLING
BY_NAME = {metric.name: metric for metric in METRICS}


def metric(name: str) -> Metric:
    """The metric of a name without the prefix.

    Raises:
        KeyError: there is none.
    """
    return BY_NAME[PREFIX + name]
