"""What this worker is called: Celery's node name, from `-n` or from its GPU and node."""

from __future__ import annotations

from tasks import wiring

_names: list[str] = []


def set_worker_name(name: str) -> None:
    """Remember Celery's node name; told before the pool starts."""
    _names.append(name)


def worker_name() -> str:
    """Celery's node name of this process."""
    return _names[-1] if _names else f"worker@{wiring.settings().node}"
