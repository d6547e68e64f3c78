"""Agreement on answers without parts: one of several options, a number, a text.

Each of them reads one text at a time (`classify`) and names the class of each read value (`group`).
A text that was cut off at the token limit is judged by whether the missing rest could change it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from executors.resampling.numbers import Tolerance, cluster, convert, read_quantity
from executors.resampling.types import Classified
from executors.resampling.wording import label_form

_WHOLE = ("",)


def invalid(reason: str) -> Classified:
    """Return the classification of a text that answers nothing."""
    return Classified(valid=False, canonical=None, leaves=(), reason=reason)


def _single(canonical: str) -> Classified:
    return Classified(valid=True, canonical=canonical, leaves=(("", canonical),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of several options; `forms` maps every accepted spelling to the option it means.

    A text that is no option is invalid. A cut-off text is valid if it is an option whose spelling
    no other option's spelling continues.
    """

    forms: Mapping[str, str]
    kind: str = "choice"
    fields: tuple[str, ...] = _WHOLE

    def classify(self, text: str, *, truncated: bool = False) -> Classified:
        """Say which option `text` is."""
        form = label_form(text)
        option = self.forms.get(form)
        if option is None:
            return invalid("not_an_option")
        if truncated and any(
            other != option and longer.startswith(form) for longer, other in self.forms.items()
        ):
            return invalid("truncated")
        return _single(option)

    def group(self, _field: str, values: Sequence[str], /) -> Sequence[str]:
        """Name the class of each value: the option itself."""
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number within a tolerance, in one of `units` (unit to factor) if any are given.

    A text with no number or several is invalid. So is every cut-off text: the beginning of a number
    is another number.
    """

    tolerance: Tolerance = field(default_factory=Tolerance)
    units: Mapping[str, Fraction] = field(default_factory=dict)
    kind: str = "number"
    fields: tuple[str, ...] = _WHOLE

    def classify(self, text: str, *, truncated: bool = False) -> Classified:
        """Say which number `text` states."""
        if truncated:
            return invalid("truncated")
        quantity = read_quantity(text)
        if quantity is None:
            return invalid("not_a_number")
        if self.units and (quantity := convert(quantity, self.units)) is None:
            return invalid("unknown_unit")
        return _single(quantity.canonical)

    def group(self, _field: str, values: Sequence[str], /) -> Sequence[str]:
        """Name the class of each value: the lower median of its cluster."""
        return cluster(values, self.tolerance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text, compared in the form that `form` gives it. Only an empty text is invalid."""

    kind: str
    form: Callable[[str], str]
    fields: tuple[str, ...] = _WHOLE

    def classify(self, text: str, *, truncated: bool = False) -> Classified:  # noqa: ARG002 - a cut-off text is still a text
        """Bring `text` to its form."""
        return _single(self.form(text)) if text.strip() else invalid("empty")

    def group(self, _field: str, values: Sequence[str], /) -> Sequence[str]:
        """Name the class of each value: the form itself."""
        return values
