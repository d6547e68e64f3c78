"""The table of `honeyflow workers`, drawn from what workers say of themselves.

What stands in the ledger was written by other machines: whatever it is, it makes a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ledger.standings import Standing
from monitoring.heartbeat import Heartbeat, Reading
from monitoring.json_reader import printable
from monitoring.metrics import WORKER_STATES
from monitoring.worker_states import state_of

GB = 1e9
HOT_CELSIUS = 85
LATE_S = 60.0
WIDE = 140
"""From how many characters on the table has room for names in full, costs and tags."""
ROOMY = 110
"""From how many characters on it has room for the model, and for whatever a GPU tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column; widths are in characters, `room` is the table's from which on it is shown."""

    heading: str
    number: bool = False
    room: int = 0
    least: int | None = None
    most: int | None = None


_COLUMNS = (
    _Column(heading="worker"),
    _Column(heading="state", least=8, most=24),
    _Column(heading="model", room=ROOMY, least=6, most=28),
    _Column(heading="on", room=WIDE, most=8),
    _Column(heading="gpu", least=26),
    _Column(heading="in flight", number=True, least=9, most=12),
    _Column(heading="tokens/s", number=True, room=90, least=8, most=12),
    _Column(heading="heard of", number=True, least=8, most=12),
    _Column(heading="$/h", number=True, room=WIDE, least=4, most=10),
    _Column(heading="tags", room=WIDE, most=24),
)
_GONE = frozenset({"stopped", "stale", "failed"})
_STYLES = {
    "starting": "yellow",
    "loading": "yellow",
    "idle": "green",
    "busy": "bold cyan",
    "draining": "magenta",
    "stopping": "magenta",
    "stopped": "dim",
    "stale": "bold red",
    "failed": "bold red",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One worker; `age_s` is the time since its last heartbeat."""

    worker: str
    state: str
    told: str
    node: str | None
    seen_at: float | None
    age_s: float | None
    heartbeat: Heartbeat

    @property
    def here(self) -> bool:
        """Whether it is there, as far as is known: its figures are of now."""
        return self.state not in _GONE

    def as_json(self) -> dict[str, Any]:
        """The line as plain JSON."""
        return {
            "worker": self.worker,
            "state": self.state,
            "told": self.told or None,
            "node": self.node,
            "seen_at": self.seen_at,
            "heartbeat_age_s": None if self.age_s is None else round(self.age_s, 1),
            **self.heartbeat.to_facts(),
        }


def lines_of(found: Sequence[Standing], now: float) -> list[Line]:
    """One line for each worker of the ledger, in the state that it is in now."""
    return [
        Line(
            worker=printable(row.worker),
            state=state_of(one),
            told="stop" if row.stop else "drain" if row.drain else "",
            node=None if row.node is None else printable(row.node),
            seen_at=row.seen_at,
            age_s=None if row.seen_at is None else max(0.0, now - row.seen_at),
            heartbeat=Heartbeat.from_facts(row.facts),
        )
        for one in found
        for row in (one.worker,)
    ]


def totals_of(lines: Sequence[Line]) -> dict[str, Any]:
    """What the fleet comes to; only who is there counts, save for the states."""
    here = [line.heartbeat for line in lines if line.here]
    # Two workers may share a card.
    cards = {reading.uuid: reading.power_watts or 0.0 for one in here for reading in one.readings}
    counted = Counter(line.state for line in lines)
    known = [state for state in WORKER_STATES if counted[state]]
    return {
        "workers": len(lines),
        "states": {state: counted[state] for state in (*known, *sorted(set(counted) - set(known)))},
        "in_flight": sum(one.in_flight or 0 for one in here),
        "places": sum(one.places or 0 for one in here),
        "tokens_per_s": round(sum(one.tokens_per_s or 0.0 for one in here), 1),
        "gpus": len({uuid for one in here for uuid in one.gpus}),
        "power_watts": round(sum(cards.values()), 1),
        "cost_per_hour": round(sum(one.cost_per_hour or 0.0 for one in here), 2),
    }


def render(lines: Sequence[Line], *, width: int, note: str = "") -> RenderableType:
    """The table and its totals, for a console this wide."""
    if not lines:
        empty = "No worker has been heard of yet; `honeyflow up` starts some."
        return Group(Text(empty), *([Text(note, style="dim")] if note else []))
    wide = width >= WIDE
    columns = [column for column in _COLUMNS if width >= column.room]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # A name is to be copied: where there is room it is shown whole.
        named = column.heading == "worker"
        table.add_column(
            column.heading,
            justify="right" if column.number else "left",
            no_wrap=not (wide and named),
            overflow="fold" if wide and named else "ellipsis",
            min_width=16 if named else column.least,
            max_width=_most(column, width),
        )
    for line in lines:
        cells = _cells(line)
        table.add_row(*(cells[column.heading] for column in columns))
    parts: list[RenderableType] = [table, Text(_totals(totals_of(lines)), style="bold")]
    return Group(*parts, *([Text(note, style="dim")] if note else []))


def _most(column: _Column, width: int) -> int | None:
    if column.heading == "worker":
        return 60 if width >= WIDE else max(16, width // 4)
    if column.heading == "gpu" and width < ROOMY:
        return column.least
    return column.most


def _cells(line: Line) -> dict[str, Text]:
    told = line.heartbeat
    state = Text(line.state, style=_STYLES.get(line.state, ""))
    if line.told and line.here and line.state not in ("draining", "stopping"):
        state.append(f" (told to {line.told})", style="dim")
    return {
        "worker": Text(line.worker),
        "state": state,
        "model": Text(told.model or "–", style="" if told.model else "dim"),
        "on": Text(told.backend or "–", style="" if told.backend else "dim"),
        "gpu": _gpus(told) if line.here else _none(),
        "in flight": _in_flight(told) if line.here else _none(),
        "tokens/s": _figure(told.tokens_per_s, "{:.0f}") if line.here else _none(),
        "heard of": _age(line),
        "$/h": _figure(told.cost_per_hour, "{:.2f}"),
        "tags": Text(", ".join(told.tags)),
    }


def _gpus(told: Heartbeat) -> Text:
    if told.readings:
        return Text("\n").join(_gpu(reading) for reading in told.readings)
    if not told.gpus or told.machine_age_s is None:
        return _none()
    long = f" for {_span(told.machine_age_s)}" if told.machine_age_s > LATE_S else ""
    return Text(f"not read{long}", style="bold red")


def _gpu(reading: Reading) -> Text:
    text = Text(f"{reading.gpu or '?'}: ")
    warm, used, most = (
        reading.temperature_celsius,
        reading.memory_used_bytes,
        reading.memory_total_bytes,
    )
    if warm is None and used is None:
        return text.append("lost", style="bold red")
    figures = []
    if reading.xid and sum(reading.xid.values()):
        figures.append(Text(f"Xid {', '.join(sorted(reading.xid))}", style="bold red"))
    if warm is not None:
        figures.append(Text(f"{warm:.0f} °C", style="bold red" if warm > HOT_CELSIUS else ""))
    if reading.utilization_percent is not None:
        figures.append(Text(f"{reading.utilization_percent:.0f} %"))
    if used is not None and most is not None:
        figures.append(Text(f"{used / GB:.1f}/{most / GB:.0f} GB"))
    return text.append_text(Text("  ").join(figures))


def _in_flight(told: Heartbeat) -> Text:
    if told.places is None:
        return _none()
    return Text(f"{told.in_flight or 0}/{told.places}")


def _age(line: Line) -> Text:
    if line.age_s is None:
        return _none()
    late = line.age_s > LATE_S and line.state not in ("stopped", "failed")
    return Text(_ago(line.age_s), style="bold red" if late else "")


def _ago(seconds: float) -> str:
    return f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def _figure(value: float | None, shape: str) -> Text:
    return _none() if value is None else Text(shape.format(value))


def _none() -> Text:
    return Text("–", style="dim")


def _totals(totals: dict[str, Any]) -> str:
    states = ", ".join(f"{count} {state}" for state, count in totals["states"].items())
    watts = f" · {totals['power_watts']:.0f} W" if totals["power_watts"] else ""
    return (
        f"{totals['workers']} workers ({states}) · {totals['in_flight']}/{totals['places']} in "
        f"flight · {totals['tokens_per_s']:.0f} tokens/s · {totals['gpus']} GPUs{watts} · "
        f"{totals['cost_per_hour']:.2f} $/h"
    )
