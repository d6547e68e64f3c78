"""The demo's board: one line per finding, drawn from the jobs' live events and results."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import redis
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from cli.findings import FINDINGS, Finding
from tasks import ledger_id, stream
from tasks.client import Client, JobResult

_COLUMNS: tuple[tuple[str, int, Literal["left", "right"]], ...] = (
    ("samples", 7, "left"),
    ("agree", 5, "right"),
    ("K", 1, "right"),
    ("stopped", 9, "left"),
    ("answer", 15, "left"),
    ("conf", 4, "right"),
    ("human", 5, "left"),
    ("receipt", 8, "left"),
)
_COLOURS = ("green", "yellow", "red", "magenta", "cyan", "blue")


@dataclass(slots=True)
class Line:
    """One finding and how far its job is."""

    text: str
    seed: int
    job_id: str = ""
    number: str = "0"
    samples: list[str | None] = field(default_factory=list)
    agreement: float = 0.0
    result: JobResult | None = None
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.result is not None or bool(self.error)


class Board:
    """The live picture of the demo's jobs."""

    def __init__(self, *, model: str, findings: Sequence[Finding] = FINDINGS) -> None:
        self.model = model
        self.lines = [Line(text=finding.text, seed=finding.seed) for finding in findings]
        self.note = ""
        self._submitted = 0.0
        self._ended = 0.0
        self._redis: redis.Redis | None = None

    def say(self, note: str) -> None:
        """Show one sentence under the title."""
        self.note = note

    @property
    def finished(self) -> bool:
        """Whether every job has ended."""
        return all(line.ended for line in self.lines)

    @property
    def first_job(self) -> str | None:
        """The id of the first job, for the commands to try next."""
        return self.lines[0].job_id or None

    def submit(self, client: Client) -> None:
        """Submit every finding, with live events."""
        self._redis = ledger_id.connect(client.settings)
        self._submitted = time.monotonic()
        tickets = client.submit_many(
            [
                {"model": self.model, "findings": line.text, "seed": line.seed}
                for line in self.lines
            ],
            stream=True,
        )
        for line, ticket in zip(self.lines, tickets, strict=True):
            line.job_id = ticket.job_id

    def update(self, client: Client) -> None:
        """Take in what has happened since the last look."""
        assert self._redis is not None
        waiting = {stream.key(line.job_id): line for line in self.lines if not line.ended}
        if not waiting:
            return
        asked: Any = {name: line.number for name, line in waiting.items()}
        answer: Any = self._redis.xread(asked, count=200, block=50)
        for name, events in answer or ():
            line = waiting[name.decode()]
            for number, fields in events:
                line.number = number.decode()
                self._take(client, line, fields[b"kind"].decode(), json.loads(fields[b"data"]))
        if self.finished and not self._ended:
            self._ended = time.monotonic()

    def _take(self, client: Client, line: Line, kind: str, data: dict[str, Any]) -> None:
        if kind == "sample":
            line.samples.append(data["class"])
            line.agreement = data["agreement"]
        elif kind == "end" and data["state"] == "succeeded":
            line.result = client.result_of(client.job(line.job_id))
            line.samples = [sample["class"] for sample in line.result.samples]
        elif kind == "end" and data["error"]:
            line.error = f"{data['error']['message']} [{data['error']['code']}]"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the board."""
        yield Text.assemble(("honeyflow demo", "bold"), "  ", (self.note, "dim"))
        yield self._table(wide=options.max_width >= 120)
        yield Text(self._totals(), style="dim")

    def _table(self, *, wide: bool) -> Table:
        table = Table(
            box=None, pad_edge=False, collapse_padding=True, padding=(0, 1), header_style="bold"
        )
        table.add_column("finding", no_wrap=True, max_width=60 if wide else 20)
        for heading, width, justify in _COLUMNS:
            shown = 16 if heading == "receipt" and wide else width
            table.add_column(heading, no_wrap=True, width=shown, justify=justify, overflow="crop")
        for line in self.lines:
            table.add_row(*self._cells(line, wide=wide))
        return table

    def _cells(self, line: Line, *, wide: bool) -> list[Text]:
        result = line.result
        agreement = f"{100 * line.agreement:.0f}%" if line.samples else ""
        cells = [Text(" ".join(line.text.split())), _dots(line.samples), Text(agreement)]
        if result is None:
            state = line.error or ("queued" if not line.samples else "drawing")
            return [*cells, Text(""), Text(state, style="dim"), *([Text("")] * 4)]
        human = Text("yes", style="bold red") if result.review else Text("no", style="dim")
        digest = result.receipt.removeprefix("sha256:")
        return [
            *cells,
            Text(str(result.k), style="bold"),
            Text(result.stop_reason),
            _answer(result.answer),
            Text(f"{result.confidence:.2f}"),
            human,
            Text(digest[: 16 if wide else 8], style="cyan"),
        ]

    def _totals(self) -> str:
        done = [line.result for line in self.lines if line.result is not None]
        if not self._submitted:
            return ""
        seconds = max(0.001, (self._ended or time.monotonic()) - self._submitted)
        tokens = sum(result.completion_tokens for result in done)
        people = sum(result.review for result in done)
        return (
            f"{len(done)} of {len(self.lines)} answered · {sum(r.k for r in done)} samples · "
            f"{tokens / seconds:.0f} tokens/s · {people} for a person · {seconds:.1f} s"
        )

    def summary(self, console: Console) -> None:
        """Print what the run came to, and each job's receipt in full."""
        done = [line.result for line in self.lines if line.result is not None]
        by_k: dict[int, int] = {}
        for result in done:
            by_k[result.k] = by_k.get(result.k, 0) + 1
        console.print(f"\n[bold]Summary[/]  {self._totals()}")
        counts = ", ".join(f"{count} with K={k}" for k, count in sorted(by_k.items()))
        console.print(f"  samples per finding: {counts}")
        doubtful = [line for line in self.lines if line.result and line.result.review]
        for line in doubtful:
            assert line.result is not None
            reasons = ", ".join(line.result.review_reasons)
            console.print(f"  for a person: {line.text} ({reasons})", markup=False, soft_wrap=True)
        console.print("  receipts:")
        for line in self.lines:
            told = line.result.receipt if line.result else line.error
            console.print(f"    {line.job_id}  {told}", markup=False, soft_wrap=True)


def _dots(samples: Sequence[str | None]) -> Text:
    """One dot per sample, in the colour of its class; a cross for an invalid one."""
    text = Text()
    seen: list[str] = []
    for name in samples:
        if name is None:
            text.append("×", style="dim")
            continue
        if name not in seen:
            seen.append(name)
        text.append("●", style=_COLOURS[seen.index(name) % len(_COLOURS)])
    return text


def _answer(answer: str) -> Text:
    try:
        said = json.loads(answer)
        return Text(f"{said['level']} {said['grade']}")
    except (ValueError, KeyError, TypeError):
        return Text(answer[:24])
