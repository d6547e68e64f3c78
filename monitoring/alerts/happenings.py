"""Events of the ledger as news: what happened, in words, without anything a user typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ledger import EventRow
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.message import Kind
from monitoring.alerts.notifier import News


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How one kind of event is told; `summary` has places for the subject and for details."""

    name: str
    summary: str
    severity: Severity = Severity.INFO
    label: str = "worker"
    details: tuple[str, ...] = ()
    """What of its details is told; nothing else ever is."""
    runbook: str = ""
    again_after_s: float = 0.0
    """How long the same of the same subject is no news after it was told."""


_TOLD_BY_OTHERS = frozenset({"heartbeat", "engine", "progress"})
"""Failures that others tell: the rule about silent workers, and the events `engine_lost` and
`engine_stalled`, which say more."""

# That a worker has fallen silent (`worker_stale`) is told by the rule WorkerStale, whoever judges;
# its event is for the record.
TELLINGS: Mapping[str, Telling] = {
    "worker_started": Telling(
        name="WorkerStarted", summary="{subject} has started", details=("model", "device")
    ),
    "worker_stopped": Telling(name="WorkerStopped", summary="{subject} has stopped"),
    "worker_returned": Telling(name="WorkerReturned", summary="{subject} sends heartbeats again"),
    "worker_failed": Telling(
        name="WorkerFailed",
        summary="{subject} has failed",
        severity=Severity.WARNING,
        details=("check",),
    ),
    "start_failed": Telling(
        name="WorkerStartFailed",
        summary="{subject} could not start",
        severity=Severity.WARNING,
        details=("code", "model"),
    ),
    "engine_lost": Telling(
        name="EngineLost",
        summary="The engine of {subject} has ended",
        severity=Severity.WARNING,
        details=("code", "model"),
    ),
    "engine_stalled": Telling(
        name="EngineStalled",
        summary="The engine of {subject} stands still",
        severity=Severity.WARNING,
        details=("model",),
    ),
    "worker_stalled": Telling(
        name="WorkerStalled", summary="{subject} stands still", severity=Severity.WARNING
    ),
    "worker_replaced": Telling(name="WorkerReplaced", summary="{subject} was replaced"),
    "consumer_restarted": Telling(
        name="ConsumerRestarted", summary="{subject} has connected to the broker again"
    ),
    "job_dead": Telling(
        name="JobDead",
        summary="Job {subject} was given up after its third crash",
        severity=Severity.WARNING,
        label="job",
    ),
    "xid": Telling(
        name="GpuFault",
        summary="A GPU of {subject} reports a fault",
        severity=Severity.WARNING,
        details=("gpu", "xid"),
        runbook="docs/runbooks.md#gpufault",
        again_after_s=3600.0,
    ),
    "gpu_lost": Telling(
        name="GpuLost",
        summary="{subject} has lost a GPU",
        severity=Severity.PAGE,
        details=("gpu",),
    ),
    "ipfs_upload_refused": Telling(
        name="UploadRefused",
        summary="The IPFS node keeps refusing {subject}",
        severity=Severity.TICKET,
        label="cid",
        details=("code",),
    ),
}


APPLICATION_XIDS = frozenset({"13", "31", "43", "45", "68", "69"})
"""Faults that a program on a GPU can cause by itself; a program that is started again is well.

Source: NVIDIA, "Analyzing Xid Errors with the Xid Catalog", the immediate action.
"""


def news_of(event: EventRow) -> News | None:
    """Return what there is to tell of an event; None for one that is no news."""
    telling = TELLINGS.get(event.kind)
    if telling is None or str(event.details.get("check")) in _TOLD_BY_OTHERS:
        return None
    labels = {telling.label: event.subject}
    for name in telling.details:
        found = event.details.get(name)
        if isinstance(found, str | int | float) and not isinstance(found, bool):
            labels[name] = str(found)[:200]
    of_program = event.kind == "xid" and str(event.details.get("xid")) in APPLICATION_XIDS
    alert = Alert(
        rule=telling.name,
        labels=labels,
        severity=Severity.INFO if of_program else telling.severity,
        firing=True,
        since=event.at,
        value=1.0,
        summary=telling.summary.replace("{subject}", event.subject[:200]),
        description="",
        runbook=telling.runbook,
    )
    return News(kind=Kind.EVENT, alert=alert)
