"""How the figures of benchmarks are told."""

from __future__ import annotations

from typing import Any


def rounded(value: Any) -> Any:
    """Return `value` with every float in it to four places."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(member) for member in value]
    return value
