"""What a check of the machine found, as a value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

GB = 1_000_000_000
MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding. `ok` is None for what is worth knowing and stops nothing.

    `how_to_mend` is empty where there is nothing to mend; `figures` are plain JSON values, sizes in
    bytes and times in seconds, as their names say.
    """

    name: str
    ok: bool | None
    message: str
    how_to_mend: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)


def as_json(checks: Sequence[Check]) -> str:
    """Return the findings as one JSON object: `ok`, false if any check failed, and `checks`."""
    return json.dumps(
        {
            "ok": all(check.ok is not False for check in checks),
            "checks": [asdict(check) for check in checks],
        },
        indent=2,
    )


def readable_size(size: int) -> str:
    """Return a number of bytes for people: gigabytes of 10^9, or megabytes of 10^6 if small."""
    return f"{size / GB:.2f} GB" if size >= GB / 10 else f"{size / MB:.1f} MB"
