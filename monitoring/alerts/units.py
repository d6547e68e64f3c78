"""How a value is written for people, by Prometheus' templates and by us, in the same words.

Source: the Prometheus documentation, "Template reference".
"""

from __future__ import annotations

import math
from enum import Enum

_STEPS = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Unit(Enum):
    """What a value counts, with the template that writes it."""

    COUNT = '{{ $value | printf "%.0f" }}'
    CELSIUS = '{{ $value | printf "%.0f" }} °C'
    RATIO = "{{ $value | humanizePercentage }}"
    DURATION = "{{ $value | humanizeDuration }}"
    BYTES = "{{ $value | humanize }}B"

    @property
    def template(self) -> str:
        """What Prometheus is given."""
        return self.value

    def told(self, value: float) -> str:
        """What that template makes of a value."""
        if not math.isfinite(value):
            return "unknown"
        if self is Unit.COUNT:
            return f"{value:.0f}"
        if self is Unit.CELSIUS:
            return f"{value:.0f} °C"
        if self is Unit.RATIO:
            return f"{value * 100:.4g}%"
        return _span(value) if self is Unit.DURATION else f"{_scaled(value)}B"


def _span(seconds: float) -> str:
    sign, whole = "-" if seconds < 0 else "", int(abs(seconds))
    if whole < _MINUTE:
        return f"{sign}{abs(seconds):.4g}s"
    told = f"{whole // _MINUTE % 60}m {whole % 60}s"
    if whole >= _HOUR:
        told = f"{whole // _HOUR % 24}h {told}"
    if whole >= _DAY:
        told = f"{whole // _DAY}d {told}"
    return sign + told


def _scaled(value: float) -> str:
    step = 0
    while abs(value) >= 1000 and step < len(_STEPS) - 1:
        value, step = value / 1000, step + 1
    return f"{value:.4g}{_STEPS[step]}"
