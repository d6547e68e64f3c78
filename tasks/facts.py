"""What a worker says of itself: in heartbeats, in its log, and to `celery inspect stats`."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import time
from dataclasses import replace
from enum import StrEnum
from typing import Any

from executors import HealthState, LoadProgress
from monitoring.heartbeat import Heartbeat
from tasks.engine_host import EngineHost
from tasks.pinning import Pin

logger = logging.getLogger(__name__)


class WorkerState(StrEnum):
    """What a worker is doing; `stale` is said of it by others."""

    STARTING = "starting"
    LOADING = "loading"
    IDLE = "idle"
    BUSY = "busy"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    STALE = "stale"
    FAILED = "failed"


def of_heartbeat(pin: Pin, host: EngineHost | None) -> Heartbeat:
    """What a worker is, and how its engine does."""
    told = Heartbeat(
        pid=os.getpid(), queues=tuple(pin.queues), version=honeyflow_version(), **_of_pin(pin)
    )
    return told if host is None else replace(told, **_of_host(host))


def _of_pin(pin: Pin) -> dict[str, Any]:
    if pin.engine is None:
        return {}
    return {
        "model": pin.engine.model,
        "engine": pin.engine.engine,
        "backend": pin.engine.device,
        "device": pin.engine.device,
        "gpus": tuple(pin.placement.uuids) if pin.placement else (),
        "tensor_parallel": pin.engine.tensor_parallel,
    }


def _of_host(host: EngineHost) -> dict[str, Any]:
    health = host.executor.health()
    up = health.state is HealthState.READY
    return {
        "in_flight": in_flight(host),
        "places": host.places.total,
        "waiting": len(host.admission.waiting),
        "engine_up": up,
        "kv_cache_usage": health.kv_cache_usage,
        # While nothing runs there is no progress to tell of.
        "progress_at": time.time() - health.idle_s if health.in_flight else None,
    }


def in_flight(host: EngineHost) -> int:
    """How many samples have a place."""
    return host.places.total - host.places.free


@functools.cache
def honeyflow_version() -> str:
    """The version of this program."""
    return importlib.metadata.version("honeyflow")


def of_engine(host: EngineHost) -> str:
    """An engine that has come up, in a line for the log."""
    info = host.executor.info
    return (
        f"{info.name} on {info.engine} {info.engine_version} ({info.device}) answers; "
        f"{host.places.total} samples in flight"
    )


def of_start(pin: Pin) -> dict[str, Any]:
    """What the event of a start tells; None for a maintenance worker."""
    if pin.engine is None:
        return {"model": None, "device": None}
    return {"model": pin.engine.model, "device": pin.engine.device}


def log_progress(progress: LoadProgress) -> None:
    """Say in the log how far an engine's start is."""
    logger.info("loading: %s %.0f %% %s", progress.phase, 100 * progress.fraction, progress.detail)


def of_stats(pin: Pin, host: EngineHost) -> dict[str, Any]:
    """What Celery's statistics of a pool have beside them."""
    return {
        "max-concurrency": host.places.total,
        "engine": {
            "model": pin.engine.model if pin.engine else None,
            "state": str(host.executor.health().state),
            "jobs": len(host.slots),
            "samples": in_flight(host),
            "places": host.places.total,
        },
    }
