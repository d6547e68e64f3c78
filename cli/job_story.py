"""A job's whole story on a terminal: what it is, how it moved, what was drawn, what it answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from ledger import Change, Job, SampleRow
from tasks.client import JobResult


def tell(
    console: Console,
    job: Job,
    *,
    history: Sequence[Change],
    drawn: Sequence[SampleRow],
    result: JobResult | None,
) -> None:
    """Print it all; `result` is None where there is none, or none any more."""
    console.print(f"[bold]{job.id}[/]  {job.model}  [bold]{job.state}[/]")
    for name, value in _facts(job).items():
        console.print(f"  {name:<12} {value}", markup=False)
    table = Table("when (UTC)", "from", "to", "fence", "why", box=None, pad_edge=True)
    for change in history:
        table.add_row(
            _moment(change.at),
            str(change.source or "–"),
            str(change.target),
            str(change.fence),
            change.reason or "",
        )
    console.print(table)
    if drawn:
        _print_samples(console, drawn)
    if result is not None:
        _print_result(console, result)


def _facts(job: Job) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "queue": job.queue,
        "policy": job.policy,
        "profile": job.profile,
        "priority": job.priority,
        "fence": job.fence,
        "tries": job.tries or None,
        "crashes": job.crashes or None,
        "input": job.request_digest,
    }
    if job.claimed_at is not None and job.finished_at is not None:
        facts["run time"] = f"{job.finished_at - job.claimed_at:.3f} s"
    if job.claimed_at is not None:
        facts["waited"] = f"{job.claimed_at - job.created_at:.3f} s"
    if job.error:
        facts["error"] = f"{job.error.get('message')} [{job.error.get('code')}]"
        facts["do"] = job.error.get("suggested_action")
    if job.purged_at is not None:
        facts["purged"] = f"{_moment(job.purged_at)}: its texts are erased"
        facts["receipt"] = job.receipt_digest
    return {name: value for name, value in facts.items() if value is not None}


def _print_samples(console: Console, drawn: Sequence[SampleRow]) -> None:
    table = Table("sample", "class", "tokens", "ms", "tokens/s", box=None, pad_edge=True)
    for sample in drawn:
        rate = 1000 * sample.completion_tokens / sample.duration_ms if sample.duration_ms else 0
        table.add_row(
            str(sample.index),
            (sample.answer_class or "invalid")[:60],
            str(sample.completion_tokens),
            str(sample.duration_ms),
            f"{rate:.0f}",
        )
    console.print(table)


def _print_result(console: Console, result: JobResult) -> None:
    review = f", review: {', '.join(result.review_reasons)}" if result.review else ""
    raw = "" if result.calibrated else " (raw agreement)"
    console.print(f"  answer       {result.answer}", markup=False)
    console.print(
        f"  confidence   {result.confidence:.2f}{raw}, K {result.k} in {result.rounds} round(s), "
        f"stopped: {result.stop_reason}, {result.decision}{review}",
        markup=False,
    )
    console.print(f"  receipt      {result.receipt}", markup=False)


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
