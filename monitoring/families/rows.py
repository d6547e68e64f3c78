"""What the ledger's rows tell when somebody asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ledger import Figures
from monitoring.families.family import Family, Labels, family, single
from monitoring.metrics import OTHER
from monitoring.tally import MAX_MODELS, Names

RECONCILER = "reconciler"
"""The bookmark that the reconciler notes."""

BEAT = "beat"
"""The bookmark that is noted by what beat sends."""

QUARANTINE_REASONS = (
    "BODY_INVALID",
    "CONTENT_REFUSED",
    "HEADER_INVALID",
    "JOB_UNKNOWN",
    "LEDGER_FOREIGN",
    "MESSAGE_INVALID",
    "MESSAGE_NOT_JSON",
    "MESSAGE_SHAPE",
    "MESSAGE_TOO_DEEP",
    "MESSAGE_TOO_LARGE",
    "SIGNATURE_EXPIRED",
    "SIGNATURE_INVALID",
    "SIGNATURE_MISSING",
    "TASK_UNKNOWN",
)
"""The flaws that have a series of their own; the others, which a submission may have, share one."""

ALERT_KINDS = ("firing", "resolved", "repeat", "event", "test")
ALERT_OUTCOMES = ("ok", "retried", "failed", "suppressed")


def families(figures: Figures, models: Iterable[str], channels: Iterable[str] = ()) -> list[Family]:
    """The families whose source is the ledger; each of `models` and `channels` has its series."""
    return [
        family("oldest_queued_job_age_seconds", _ages(figures, figures.oldest_queued, models)),
        family("oldest_running_job_age_seconds", _ages(figures, figures.oldest_running, models)),
        single("reconciler_last_run_timestamp_seconds", figures.noted.get(RECONCILER)),
        single("beat_last_run_timestamp_seconds", figures.noted.get(BEAT)),
        family("quarantined_messages_total", _of_quarantine(figures)),
        single("receipts_unsealed", figures.unsealed_receipts),
        single("receipts_oldest_unsealed_timestamp_seconds", figures.oldest_unsealed or 0.0),
        single("merkle_roots_total", figures.sealed_batches),
        single("cosignatures_total", figures.cosignatures),
        single("artifact_uploads_pending", figures.pending_uploads),
        family("review_items", {("open",): float(figures.open_reviews)}),
        single("review_oldest_open_age_seconds", _age(figures, figures.oldest_open_review)),
        *_of_alerts(figures, channels),
    ]


def _of_quarantine(figures: Figures) -> dict[Labels, float]:
    counted: dict[Labels, float] = {(reason,): 0.0 for reason in (*QUARANTINE_REASONS, OTHER)}
    for reason, total in figures.quarantined.items():
        shown = (reason,) if (reason,) in counted else (OTHER,)
        counted[shown] += total
    return counted


def _of_alerts(figures: Figures, configured: Iterable[str]) -> list[Family]:
    channels = {*configured, *figures.alerts_delivered, *figures.alerts_waiting}
    sent: dict[Labels, float] = {
        (channel, kind, outcome): 0.0
        for channel in sorted(channels)
        for kind in ALERT_KINDS
        for outcome in ALERT_OUTCOMES
    }
    sent |= {labels: float(total) for labels, total in figures.alerts_sent.items()}
    return [
        family("alerts_sent_total", sent),
        family(
            "alert_outbox_length",
            {(channel,): float(figures.alerts_waiting.get(channel, 0)) for channel in channels},
        ),
        family(
            "alert_last_delivery_timestamp_seconds",
            {(name,): at for name, at in figures.alerts_delivered.items() if at is not None},
        ),
    ]


def _age(figures: Figures, since: float | None) -> float:
    return 0.0 if since is None else max(0.0, figures.now - since)


def _ages(
    figures: Figures, since: Mapping[str, float], models: Iterable[str]
) -> dict[Labels, float]:
    """By model; those beyond the first 64 share a series, as where jobs are counted."""
    names = Names(models, limit=MAX_MODELS)
    ages: dict[Labels, float] = {(model,): 0.0 for model in names.known}
    for model, moment in since.items():
        shown = (names.shown(model),)
        ages[shown] = max(ages.get(shown, 0.0), _age(figures, moment))
    return ages
