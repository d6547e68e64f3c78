"""When two answers are the same answer: the contract, and the kinds by name.

    {"type": "choice", "options": ["A", "B"]}        or {"A": "stenosis", "B": "normal"}
    {"type": "number"}                               atol, rtol, units {"mm": 1, "cm": 10}
    {"type": "json", "schema": {...}}                critical, free_text, sets, tolerance by field
    {"type": "text"}                                 short texts, wording aside
    {"type": "exact"}                                character by character

Long free text has no kind of its own: compared verbatim it never agrees, and its facts belong in a
schema. Counting is in `ballot`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import isfinite
from typing import Any, Protocol

from executors.resampling.errors import AgreementInvalid
from executors.resampling.numbers import Tolerance
from executors.resampling.plain import Choice, Number, Text
from executors.resampling.schema import AnswerSchema
from executors.resampling.structured import Structured, parse_pointer
from executors.resampling.types import Classified
from executors.resampling.wording import label_form, short_form


class Agreement(Protocol):
    """Reads one answer at a time and names the classes of what was read."""

    @property
    def kind(self) -> str:
        """The name it is asked for by."""
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """The critical fields, each voted on by itself; ("",) for a plain answer."""
        ...

    def classify(self, text: str, *, truncated: bool = False) -> Classified:
        """Read one text. `truncated`: it was cut off at the token limit. Never raises."""
        ...

    def group(self, field: str, values: Sequence[str], /) -> Sequence[str]:
        """Return the class of each canonical value of `field`, whatever their order."""
        ...


def parse_agreement(spec: Mapping[str, Any]) -> Agreement:
    """Return the agreement that `spec` describes. Raises `AgreementInvalid`."""
    kinds: dict[str, tuple[frozenset[str], Callable[[Mapping[str, Any]], Agreement]]] = {
        "choice": (frozenset({"options"}), _choice),
        "exact": (frozenset(), lambda _: Text(kind="exact", form=str)),
        "json": (frozenset({"schema", "critical", "free_text", "sets", "tolerance"}), _structured),
        "number": (frozenset({"atol", "rtol", "units"}), _number),
        "text": (frozenset(), lambda _: Text(kind="text", form=short_form)),
    }
    given: object = spec
    kind = spec.get("type") if isinstance(given, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise _unusable(
            f"{kind!r:.80} is no type of agreement", f"use one of {', '.join(sorted(kinds))}"
        )
    allowed, build = kinds[kind]
    if unknown := sorted(str(key) for key in spec if key != "type" and key not in allowed):
        raise _unusable(
            f"agreement of type {kind} has no setting {unknown[0][:80]!r}",
            f"use only {', '.join(sorted(allowed)) or 'the type'}",
        )
    return build(spec)


def _choice(spec: Mapping[str, Any]) -> Agreement:
    options = spec.get("options")
    if isinstance(options, Mapping):
        labels = dict(options)
    elif isinstance(options, Sequence) and not isinstance(options, str):
        labels = {option: option for option in options if isinstance(option, str)}
        if len(labels) != len(options):
            raise _unusable("the options are not all different texts", "list each option once")
    else:
        labels = {}
    if len(labels) < 2 or not all(
        isinstance(part, str) and part.strip() for pair in labels.items() for part in pair
    ):
        raise _unusable(
            "a choice has fewer than two options, or one that is no text",
            'give options as a list of texts or as {"A": "first", "B": "second"}',
        )
    return Choice(forms=_spellings(labels))


def _spellings(labels: Mapping[str, str]) -> dict[str, str]:
    """Return every accepted spelling of every option: its id, its label, and both together."""
    forms: dict[str, str] = {}
    for option, label in labels.items():
        for form in {label_form(option), label_form(label)}:
            if form in forms:
                raise _unusable(
                    f"the options {forms[form]!r:.60} and {option!r:.60} cannot be told apart",
                    "make the options differ in more than case, quotes or brackets",
                )
            forms[form] = option
    for option, label in labels.items():
        if label != option:
            for template in ("{}. {}", "{}) {}", "({}) {}", "{}: {}", "{} {}"):
                forms.setdefault(label_form(template.format(option, label)), option)
    return forms


def _number(spec: Mapping[str, Any]) -> Agreement:
    units = spec.get("units", {})
    if not isinstance(units, Mapping) or not all(
        isinstance(unit, str) and _positive(factor) for unit, factor in units.items()
    ):
        raise _unusable(
            "units do not map a unit to a positive factor", 'write units as {"mm": 1, "cm": 10}'
        )
    tolerance = _tolerance({key: spec[key] for key in ("atol", "rtol") if key in spec})
    return Number(
        tolerance=tolerance, units={unit: Fraction(str(factor)) for unit, factor in units.items()}
    )


def _structured(spec: Mapping[str, Any]) -> Agreement:
    schema = AnswerSchema(root=spec.get("schema", True))
    critical = _pointers(spec, "critical")
    free_text = frozenset(parse_pointer(pointer) for pointer in _pointers(spec, "free_text"))
    tolerance = spec.get("tolerance", {})
    if not isinstance(tolerance, Mapping):
        raise _unusable("tolerance is not given by field", 'write {"/width": {"atol": 0.5}}')
    for pointer in critical:
        steps = parse_pointer(pointer)
        if any(steps[:length] in free_text for length in range(len(steps) + 1)):
            raise _unusable(
                f"{pointer!r:.80} is both critical and free text", "take it out of one of the two"
            )
        _check_reachable(schema, pointer, steps)
    for pointer in tolerance:
        if pointer not in critical:
            raise _unusable(
                f"{str(pointer)[:80]!r} has a tolerance but is not critical",
                "list it under critical",
            )
    return Structured(
        schema=schema,
        fields=critical or ("",),
        free_text=free_text,
        sets=frozenset(parse_pointer(pointer) for pointer in _pointers(spec, "sets")),
        tolerances={pointer: _tolerance(given) for pointer, given in tolerance.items()},
    )


def _pointers(spec: Mapping[str, Any], key: str) -> tuple[str, ...]:
    pointers = spec.get(key, ())
    if not isinstance(pointers, Sequence) or isinstance(pointers, str):
        raise _unusable(f"{key} is not a list of fields", 'write it as ["/level", "/grade"]')
    for pointer in pointers:
        parse_pointer(pointer)
    if len(set(pointers)) != len(pointers):
        raise _unusable(f"{key} names a field twice", "list each field once")
    return tuple(pointers)


def _check_reachable(schema: AnswerSchema, pointer: str, steps: Sequence[str]) -> None:
    """Refuse a critical field that no document meeting the schema can have."""
    here = schema.expand([schema.root], certain=True)
    for step in steps:
        if schema.excludes(here, step) and not step.isdecimal():
            raise _unusable(
                f"the schema allows no field {pointer!r:.80}", "correct the field or the schema"
            )
        place = int(step) if step.isdecimal() and len(step) < 5 else step
        here = schema.expand(schema.below(here, place), certain=True)


def _tolerance(given: Any) -> Tolerance:
    """Return the tolerance; integers stay exact unless a tolerance is given."""
    if not isinstance(given, Mapping) or not set(given) <= {"atol", "rtol"}:
        raise _unusable("a tolerance has other settings than atol and rtol", "use atol and rtol")
    if not all(_positive(value) or value == 0 for value in given.values()):
        raise _unusable("a tolerance is no finite number from 0 up", "use for example atol 0.5")
    if given.get("rtol", 0) > 1:
        raise _unusable(
            "a relative tolerance above 1 joins everything", "use for example rtol 0.01"
        )
    return Tolerance(**given, exact_integers=not given)


def _positive(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and isfinite(value)
        and value > 0
    )


def _unusable(why: str, action: str) -> AgreementInvalid:
    return AgreementInvalid(why, suggested_action=action)
