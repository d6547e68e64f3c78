"""Numbers in answers: read one exactly, and gather those that are the same within a tolerance.

A number is read as a fraction, so that no two spellings of one value differ. Clusters are
complete-linkage: every two members of a class are within the tolerance of each other, so a chain of
small steps cannot join two values that disagree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

#: Longer texts are no plain number; also bounds the work of reading a hostile one.
MAX_NUMBER_CHARS = 200

_GROUPED = r"[0-9]{1,3}(?:[,_'\u2019 \u00a0\u2009\u202f][0-9]{3})+(?![0-9])"
_NUMBER = re.compile(
    rf"""
    (?:[^0-9]*(?:\bis|[=:]))?\s*              # "The answer is", "x ="
    (?P<currency>[$\u20ac\u00a3\u00a5]?)\s*
    (?P<sign>[+\-\u2212]?)\s*
    (?:
        (?P<whole>[0-9]+)\s+(?P<part>[0-9]+)\s*/\s*(?P<of>[0-9]+)
      | (?P<top>[0-9]+)\s*/\s*(?P<bottom>[0-9]+) |
      (?P<integer>{_GROUPED}|[0-9]+)?(?P<decimals>\.[0-9]+)?(?:[eE](?P<exponent>[+-]?[0-9]{{1,3}}))?
    ) \s*(?P<unit>[%\u2030\u20ac\u00a3\u00a5$]|\u00b0?[^\W\d_][^\s\d]{{0,14}}[\w%\u00b0]|\u00b0?[^\W
    \d_]|\u00b0)? [.]?
    """,
    re.VERBOSE,
)
_CANONICAL = re.compile(r"-?[0-9]+(?:/[0-9]+|(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far two numbers may lie apart: `atol` + `rtol` times the larger magnitude.

    With `exact_integers` two integers are the same only when they are equal; the default tolerances
    are meant for rounding, not for counts.
    """

    atol: float = 1e-9
    rtol: float = 1e-6
    exact_integers: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A number and its unit as written, "" without one."""

    value: Fraction
    unit: str = ""

    @property
    def canonical(self) -> str:
        """The one way this quantity is written: an integer or a reduced fraction, then the unit."""
        return f"{self.value} {self.unit}" if self.unit else str(self.value)


def read_quantity(text: str) -> Quantity | None:
    """Return the one number that `text` states, or None.

    Understands signs, thousands separators, decimals, exponents up to 308, fractions and mixed
    fractions ("1 1/2"), one unit or currency sign, and a lead-in that ends in "is", "=" or ":".
    Anything with a second number in it ("4 or 5", "1,5") states none.
    """
    text = text.strip()
    if len(text) > MAX_NUMBER_CHARS or (match := _NUMBER.fullmatch(text)) is None:
        return None
    value = _value(match)
    currency, unit = match["currency"], match["unit"] or ""
    if value is None or (currency and unit):
        return None
    negative = match["sign"] in {"-", "\u2212"}
    return Quantity(value=-value if negative else value, unit=currency or unit)


def _value(match: re.Match[str]) -> Fraction | None:
    if match["of"] is not None:
        denominator = int(match["of"])
        if denominator == 0:
            return None
        return int(match["whole"]) + Fraction(int(match["part"]), denominator)
    if match["bottom"] is not None:
        denominator = int(match["bottom"])
        return Fraction(int(match["top"]), denominator) if denominator else None
    if match["integer"] is None and match["decimals"] is None:
        return None
    exponent = int(match["exponent"] or 0)
    if abs(exponent) > 308:
        return None
    integer = re.sub(r"[^0-9]", "", match["integer"] or "0")
    return Fraction(f"{integer}{match['decimals'] or ''}") * Fraction(10) ** exponent


def convert(quantity: Quantity, units: Mapping[str, Fraction]) -> Quantity | None:
    """Return `quantity` in the base unit of `units` (unit to factor), or None for a unit not in it.

    A number without a unit is taken to be in the base unit.
    """
    if not quantity.unit:
        return quantity
    factor = units.get(quantity.unit)
    return None if factor is None else Quantity(value=quantity.value * factor)


def cluster(values: Sequence[str], tolerance: Tolerance) -> list[str]:
    """Return the class of each canonical quantity, named by the class's lower median.

    A quantity is canonical as `Quantity` writes it or as JSON writes a number. Those of different
    units never meet, and any other value is a class of its own. The result depends on the
    collection only, never on its order.
    """
    named = {value: value for value in values}
    by_unit: dict[str, list[tuple[Fraction, str]]] = {}
    for value in sorted(values):
        number, _, unit = value.partition(" ")
        if _CANONICAL.fullmatch(number):
            by_unit.setdefault(unit, []).append((Fraction(number), value))
    for members in by_unit.values():
        for group in _link(sorted(members), tolerance):
            median = group.members[(len(group.members) - 1) // 2][1]
            named.update((value, median) for _, value in group.members)
    return [named[value] for value in values]


@dataclass(slots=True, kw_only=True)
class _Group:
    """Members in ascending order; `integer` is the integer among their values, if there is one."""

    members: list[tuple[Fraction, str]]
    integer: Fraction | None

    def spread_with(self, other: _Group, tolerance: Tolerance) -> Fraction | None:
        """Return how far the two groups spread together, or None where they may not be joined.

        Up to a relative tolerance of 1 the outermost pair is the one that reaches furthest.
        """
        if tolerance.exact_integers and None not in {self.integer, other.integer}:
            return None
        low, high = self.members[0][0], other.members[-1][0]
        reach = Fraction(tolerance.atol) + Fraction(tolerance.rtol) * max(abs(low), abs(high))
        return high - low if high - low <= reach else None


def _link(members: list[tuple[Fraction, str]], tolerance: Tolerance) -> list[_Group]:
    """Join neighbouring groups, the closest first, while every two members stay within reach.

    `members` are sorted; a group is always an interval of them.
    """
    groups: list[_Group] = []
    for value, name in members:
        if groups and groups[-1].members[0][0] == value:
            groups[-1].members.append((value, name))
        else:
            whole = value if value.denominator == 1 else None
            groups.append(_Group(members=[(value, name)], integer=whole))
    spreads = [left.spread_with(right, tolerance) for left, right in pairwise(groups)]
    while joinable := [(spread, at) for at, spread in enumerate(spreads) if spread is not None]:
        _, at = min(joinable)
        left, right = groups[at], groups.pop(at + 1)
        left.members += right.members
        left.integer = right.integer if left.integer is None else left.integer
        del spreads[at]
        for place in (at - 1, at):
            if 0 <= place < len(spreads):
                spreads[place] = groups[place].spread_with(groups[place + 1], tolerance)
    return groups
