"""Rules that are wrong in one place each: a limit, a comparison, a time, a window, a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from monitoring.alerts.expressions import Combine, Compare, Expression
from monitoring.alerts.rule import Recording, Rule
from monitoring.alerts.series import Limit, Rise, Series
from monitoring.alerts.units import Unit
from tests.unit.monitoring.alert_cases import Variant

_OTHER_COMPARISONS: Any = {
    ">": (">=", "<"),
    ">=": (">", "<"),
    "<": ("<=", ">"),
    "<=": ("<", ">"),
    "==": (">", "<"),
}
_OTHER_SETS: Any = {"and": "unless", "unless": "and"}


def mutants(
    rule: Rule, recordings: tuple[Recording, ...], step_s: int, *, all_kinds: bool
) -> list[Variant]:
    """All that are tried of one rule; a time is wrong by one evaluation, a limit by a hundredth.

    The name of each is that of the rule with a number. Without `all_kinds` only limits,
    comparisons and times are wrong; with it also windows, picked values, `and` and `unless`.
    """
    wrong: list[tuple[Rule, tuple[Recording, ...], str]] = []
    for expression, mistake in _changed(rule.expression, counts=rule.unit is Unit.COUNT):
        wrong.append((replace(rule, expression=expression), (), mistake))
    for name in ("for_s", "keep_firing_s"):
        right = getattr(rule, name)
        for seconds in (right + step_s, right - step_s):
            if seconds >= 0:
                changed = replace(rule, **{name: seconds})
                wrong.append((changed, (), f"{name} {right} -> {seconds}"))
    for recording in recordings:
        for expression, mistake in _changed(recording.expression, counts=False):
            changed_recording = replace(recording, expression=expression)
            wrong.append((rule, (changed_recording,), f"{recording.name}: {mistake}"))
    kinds = ("limit", "comparison", "for_s", "keep_firing_s")
    return [
        Variant(name=f"{rule.name}_{number}", rule=one, recordings=others, mistake=mistake)
        for number, (one, others, mistake) in enumerate(wrong)
        if all_kinds or mistake.startswith(kinds)
    ]


def _changed(part: Any, counts: bool) -> Iterator[tuple[Any, str]]:
    """The expression with one mistake in it, and what that is."""
    yield from _here(part, counts)
    for each in fields(part):
        value = getattr(part, each.name)
        if hasattr(value, "promql"):
            for wrong, mistake in _changed(value, counts):
                yield replace(part, **{each.name: wrong}), mistake


def _here(part: Expression, counts: bool) -> Iterator[tuple[Expression, str]]:
    if isinstance(part, Compare):
        yield from _other_limits(part, counts)
        for op in _OTHER_COMPARISONS[part.op]:
            yield replace(part, op=op), f"comparison {part.op} -> {op}"
    elif isinstance(part, Combine) and part.op in _OTHER_SETS:
        op = _OTHER_SETS[part.op]
        yield replace(part, op=op), f"{part.op} -> {op}"
    elif isinstance(part, Rise):
        for window_s in (part.window_s / 2, part.window_s * 2):
            yield replace(part, window_s=window_s), f"window {part.window_s} -> {window_s}"
    elif isinstance(part, Series):
        yield from _other_picks(part)


def _other_limits(part: Compare, counts: bool) -> Iterator[tuple[Expression, str]]:
    right = part.limit.unset if isinstance(part.limit, Limit) else part.limit
    # What is counted is whole; what is measured may be off by less.
    least = 1 if counts or right in range(60) else 0.01 * right
    for limit in (right - least, right + least):
        wrong = replace(part.limit, unset=limit) if isinstance(part.limit, Limit) else limit
        yield replace(part, limit=wrong), f"limit {right} -> {limit}"
    if isinstance(part.limit, Limit):
        yield replace(part, limit=right), "limit that follows no setting"
        yield (
            replace(part, limit=replace(part.limit, rule="Other")),
            "limit that follows another setting",
        )


def _other_picks(part: Series) -> Iterator[tuple[Expression, str]]:
    for field in ("among", "besides"):
        picked = getattr(part, field)
        for place, (label, values) in enumerate(picked):
            for value in values:
                left = tuple(one for one in values if one != value)
                changed = ((label, left),) if left else ()
                wrong = (*picked[:place], *changed, *picked[place + 1 :])
                yield replace(part, **{field: wrong}), f"{label} without {value}"
