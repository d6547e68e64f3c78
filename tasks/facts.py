"""What a worker says of itself: in heartbeats, in its log, and to `celery inspect stats`."""

from __future__ import annotations

import os
from typing import Any

from tasks.engine_host import EngineHost
from tasks.pinning import Pin


def of_heartbeat(
    pin: Pin, host: EngineHost | None, *, consuming: bool
) -> tuple[str, dict[str, Any]]:
    """A worker's state and its facts."""
    facts: dict[str, Any] = {"pid": os.getpid(), "queues": list(pin.queues)}
    if host is None:
        return ("idle" if consuming else "draining"), facts
    in_flight = host.places.total - host.places.free
    facts |= {"in_flight": in_flight, "places": host.places.total}
    if pin.engine is not None:
        facts |= {
            "model": pin.engine.model,
            "device": pin.engine.device,
            "gpus": list(pin.placement.uuids) if pin.placement else [],
            "tensor_parallel": pin.engine.tensor_parallel,
        }
    if host.executor.health().state == "loading":
        return "loading", facts
    if not consuming:
        return "draining", facts
    return ("busy" if in_flight else "idle"), facts


def of_engine(host: EngineHost) -> str:
    """An engine that has come up, in a line for the log."""
    info = host.executor.info
    return (
        f"{info.name} on {info.engine} {info.engine_version} ({info.device}) answers; "
        f"{host.places.total} samples in flight"
    )


def of_stats(pin: Pin, host: EngineHost) -> dict[str, Any]:
    """What Celery's statistics of a pool have beside them."""
    return {
        "max-concurrency": host.places.total,
        "engine": {
            "model": pin.engine.model if pin.engine else None,
            "state": str(host.executor.health().state),
            "jobs": len(host.slots),
            "samples": host.places.total - host.places.free,
            "places": host.places.total,
        },
    }
