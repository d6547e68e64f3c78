"""What a rule asks, as a value: a text for Prometheus, and a function of what was seen.

Both are written side by side in one class for each thing PromQL can do and a rule needs, so that a
rule means the same wherever it is judged. Source: the Prometheus documentation, "Operators".
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Literal, Protocol

from monitoring.alerts.series import ATOM, SCRAPED, Labels, Limit, Seen, Vector, number


class Expression(Protocol):
    """What a rule asks."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that every result has."""
        ...

    @property
    def rank(self) -> int:
        """How tightly its operator binds; a higher one binds first."""
        ...

    def promql(self) -> str:
        """The same for Prometheus."""
        ...

    def over(self, seen: Seen) -> Vector:
        """The result over what was seen."""
        ...


_ARITHMETIC, _COMPARISON, _AND, _OR = 4, 3, 2, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One value for all series that have the same values of some labels."""

    how: Literal["sum", "max", "min"]
    by: tuple[str, ...]
    of: Expression
    rank: int = ATOM

    def __post_init__(self) -> None:
        if not set(self.by) <= {*self.of.labels, *SCRAPED}:
            raise ValueError(f"{self.of.promql()} has no labels {self.by}")

    @property
    def labels(self) -> tuple[str, ...]:
        """Those that are kept."""
        return self.by

    def promql(self) -> str:
        """An aggregation."""
        by = f" by ({', '.join(self.by)}) " if self.by else ""
        return f"{self.how}{by}({self.of.promql()})"

    def over(self, seen: Seen) -> Vector:
        """The sum, the largest or the smallest of each group."""
        groups: dict[Labels, list[float]] = {}
        for labels, value in self.of.over(seen).items():
            groups.setdefault(_only(labels, self.by), []).append(value)
        return {labels: _AGGREGATES[self.how](values) for labels, values in groups.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Age:
    """How long ago a time in seconds since 1970 was."""

    of: Expression
    rank: int = _ARITHMETIC

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the times."""
        return self.of.labels

    def promql(self) -> str:
        """The difference from now."""
        return f"time() - {_inside(self.of, self.rank)}"

    def over(self, seen: Seen) -> Vector:
        """The difference from the moment."""
        return {labels: seen.at - value for labels, value in self.of.over(seen).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """Two values with the same labels, divided or subtracted."""

    left: Expression
    op: Literal["/", "-"]
    right: Expression
    rank: int = _ARITHMETIC

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of both."""
        return self.left.labels

    def promql(self) -> str:
        """A binary operation."""
        left, right = _inside(self.left, self.rank), _inside(self.right, self.rank)
        return f"{left} {self.op} {right}"

    def over(self, seen: Seen) -> Vector:
        """The results where both sides have a value."""
        right = self.right.over(seen)
        calculate = _divided if self.op == "/" else operator.sub
        return {
            labels: calculate(value, right[labels])
            for labels, value in self.left.over(seen).items()
            if labels in right
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """Those values that compare so with a limit; or 1 and 0 instead, with `told`."""

    of: Expression
    op: Literal[">", ">=", "<", "<=", "=="]
    limit: float | Limit
    told: bool = False
    rank: int = _COMPARISON

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the values."""
        return self.of.labels

    def promql(self) -> str:
        """A comparison that filters, or one with `bool`."""
        op = f"{self.op} bool" if self.told else self.op
        limit = self.limit.promql() if isinstance(self.limit, Limit) else number(self.limit)
        return f"{_inside(self.of, self.rank)} {op} {limit}"

    def over(self, seen: Seen) -> Vector:
        """The values that pass, or how each compares."""
        holds = _COMPARISONS[self.op]
        limit = self.limit.over(seen) if isinstance(self.limit, Limit) else self.limit
        found = self.of.over(seen).items()
        if self.told:
            return {labels: float(holds(value, limit)) for labels, value in found}
        return {labels: value for labels, value in found if holds(value, limit)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Combine:
    """Values of the left side that the right side also has, or lacks; or those of either side.

    `on` names the labels that are compared; for `or` all of them are.
    """

    left: Expression
    op: Literal["and", "unless", "or"]
    right: Expression
    on: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """An `or` binds last of all."""
        return _OR if self.op == "or" else _AND

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the left side."""
        return self.left.labels

    def promql(self) -> str:
        """A set operation."""
        how = self.op if self.op == "or" else f"{self.op} on ({', '.join(self.on)})"
        left = self.left.promql()
        if self.left.rank < self.rank or (self.left.rank == self.rank and self.op != "or"):
            left = f"({left})"
        return f"{left} {how} {_inside(self.right, self.rank)}"

    def over(self, seen: Seen) -> Vector:
        """What is left of the left side, or both together."""
        left, right = self.left.over(seen), self.right.over(seen)
        if self.op == "or":
            return {**right, **left}
        there = {_only(labels, self.on) for labels in right}
        wanted = self.op == "and"
        return {
            labels: value
            for labels, value in left.items()
            if (_only(labels, self.on) in there) is wanted
        }


def parts(expression: Expression) -> Iterator[Expression]:
    """An expression and all that it is made of."""
    yield expression
    for each in fields(expression):  # type: ignore[arg-type]
        value = getattr(expression, each.name)
        if hasattr(value, "promql"):
            yield from parts(value)


_AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "max": max,
    "min": min,
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}


def _inside(part: Expression, rank: int) -> str:
    return f"({part.promql()})" if part.rank <= rank else part.promql()


def _only(labels: Labels, names: tuple[str, ...]) -> Labels:
    return tuple((name, value) for name, value in labels if name in names)


def _divided(top: float, bottom: float) -> float:
    if bottom:
        return top / bottom
    return math.nan if not top or math.isnan(top) else math.copysign(math.inf, top)
