"""A job's whole story on a terminal: what it is, how it moved, what was drawn, what it answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ledger import Change, SampleRow
from tasks import story as stories
from tasks.client import JobResult
from tasks.story import AttemptTold, ReceiptTold, Story


def tell(console: Console, story: Story) -> None:
    """Print it all."""
    job = story.job
    head = Text.assemble((job.id, "bold"), f"  {shown(job.model)}  ", (str(job.state), "bold"))
    console.print(head)
    for name, value in _facts(story).items():
        console.print(f"  {name:<12} {shown(str(value))}")
    _print_moves(console, story.history)
    if story.attempts:
        _print_attempts(console, story.attempts)
    if story.drawn:
        _print_samples(console, story.drawn)
    if story.result is not None:
        _print_result(console, story.result)
    if story.receipt is not None:
        console.print(f"  receipt      {story.receipt.digest}")
        console.print(f"  in the log   {_place(story.receipt)}")
    for note in story.notes:
        console.print(f"  note         {shown(note)}")


def _facts(story: Story) -> dict[str, Any]:
    job = story.job
    facts: dict[str, Any] = {
        "queue": job.queue,
        "policy": job.policy,
        "origin": job.origin if job.origin != "client" else None,
        "profile": job.profile,
        "priority": job.priority,
        "fence": job.fence,
        "tries": job.tries or None,
        "crashes": job.crashes or None,
        "input": job.request_digest,
        "trace": story.trace_id,
        "correlation": job.correlation_id,
    }
    if story.attempts:
        facts["waited"] = _seconds(sum(one.waited_s or 0.0 for one in story.attempts))
        facts["run time"] = _seconds(sum(one.run_s or 0.0 for one in story.attempts))
    if story.tokens_per_s is not None:
        facts["tokens/s"] = f"{story.tokens_per_s:.0f}"
    if job.error:
        facts["error"] = f"{job.error.get('message')} [{job.error.get('code')}]"
        facts["do"] = job.error.get("suggested_action")
    if job.purged_at is not None:
        facts["purged"] = f"{_moment(job.purged_at)}: its texts are erased"
    return {name: value for name, value in facts.items() if value is not None}


def _print_moves(console: Console, history: Sequence[Change]) -> None:
    table = Table("when (UTC)", "from", "to", "fence", "why", box=None, pad_edge=True)
    for change in history:
        table.add_row(
            _moment(change.at),
            str(change.source or "–"),
            str(change.target),
            str(change.fence),
            shown(change.reason or ""),
        )
    console.print(table)


def _print_attempts(console: Console, attempts: Sequence[AttemptTold]) -> None:
    table = Table("attempt", "worker", "GPU", "waited", "ran", "ended", box=None, pad_edge=True)
    for one in attempts:
        ended = one.ended or "runs"
        table.add_row(
            str(one.number),
            shown(one.worker or "unknown"),
            ", ".join(gpu[:12] for gpu in one.gpus) or "–",
            _seconds(one.waited_s),
            _seconds(one.run_s),
            shown(f"{ended}: {one.why}" if one.why and one.why != ended else ended),
        )
    console.print(table)


def _print_samples(console: Console, drawn: Sequence[SampleRow]) -> None:
    headings = ("sample", "attempt", "class", "tokens", "first token", "ms", "tokens/s")
    table = Table(*headings, box=None, pad_edge=True)
    for sample in drawn:
        first = sample.first_token_ms
        table.add_row(
            str(sample.index),
            str(sample.fence),
            shown(sample.answer_class or "invalid")[:60],
            str(sample.completion_tokens),
            "" if first is None else f"{first} ms",
            str(sample.duration_ms),
            "–" if (rate := stories.rate(sample)) is None else f"{rate:.0f}",
        )
    console.print(table)


def _print_result(console: Console, result: JobResult) -> None:
    review = f", review: {', '.join(result.review_reasons)}" if result.review else ""
    raw = "" if result.calibrated else " (raw agreement)"
    console.print(f"  answer       {shown(result.answer)}")
    console.print(
        f"  confidence   {result.confidence:.2f}{raw}, K {result.k} in {result.rounds} round(s), "
        f"stopped: {result.stop_reason}, {result.decision}{review}",
        markup=False,
    )


def _place(receipt: ReceiptTold) -> str:
    if receipt.leaf is None:
        return "not yet: it is sealed with the next batch"
    sealed = "sealed" if receipt.sealed else "not sealed yet"
    return f"{receipt.log}, leaf {receipt.leaf}, batch {receipt.batch} ({sealed})"


def shown(text: str) -> str:
    """A text as a terminal may show it: what a model wrote could repaint it."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f} s"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
