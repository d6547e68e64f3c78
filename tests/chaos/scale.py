"""How much a chaos run is to do, as its environment said when the process began.

`tests/conftest.py` takes HONEYFLOW_ variables away before this is imported, so that no test depends
on them; the kernel still knows what the process began with.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

_began = dict(
    line.split("=", 1)
    for line in Path("/proc/self/environ").read_text(errors="replace").split("\0")
    if "=" in line
)

THOROUGH = _began.get("HONEYFLOW_THOROUGH") == "1"
"""All tests, with the catalogue's numbers: `make chaos`."""

CHAOS = _began.get("HONEYFLOW_CHAOS", "")
"""`sample` for the quick tests and those marked `chaos_sample`."""

Number = TypeVar("Number", int, float)


def scaled(small: Number, full: Number) -> Number:
    """The small number, or the catalogue's one in a thorough run."""
    return full if THOROUGH else small
