"""Which processes make a cluster on this machine: workers, maintenance, beat, the exporter."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import executors
from cli.supervisor import Child
from monitoring import gpu
from routing import place
from tasks import pinning
from tasks.errors import SettingsInvalid
from tasks.settings import Settings


def children(settings: Settings, *, log_dir: Path | None = None) -> list[Child]:
    """The processes that the settings ask for, in the order of their start.

    Raises:
        SettingsInvalid: no model is assigned to any device.
    """
    workers = [
        _worker(f"gpu{choice}-{model}", ["--gpu", choice, "--model", model], log_dir)
        for choice, model in settings.gpu_model_assignments.items()
    ]
    workers += [
        _worker(f"cpu-{model}", ["--device", "cpu", "--model", model], log_dir)
        for model in settings.cpu_model_assignments
    ]
    if not workers:
        raise SettingsInvalid(
            "No model is assigned to a device.",
            code="NO_ASSIGNMENTS",
            suggested_action='Add [gpu_model_assignments] with 0 = "MODEL" to honeyflow.toml, or '
            'cpu_model_assignments = ["MODEL"].',
        )
    return [
        _worker("maintenance", ["--maintenance"], log_dir),
        *workers,
        Child(
            name="beat",
            argv=[*_celery(), "beat", "--loglevel", "INFO", "--pidfile="],
            log=_log(log_dir, "beat"),
            reports=False,
        ),
    ]


def exporter(port: int) -> Child:
    """The process that exports the cluster's metrics at a port of this machine."""
    return Child(
        name="metrics",
        argv=[sys.executable, "-m", "cli", "metrics", "--port", str(port)],
        reports=False,
    )


def is_taken(port: int) -> bool:
    """Whether a program of this machine listens at a port, or nobody may."""
    with socket.socket() as probe:
        # As a server does, which is not kept away by connections of an earlier one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def check(settings: Settings) -> None:
    """Refuse what no worker could ever start with, in the words that it would use itself.

    Whether a GPU has room is the worker's to say: what fills it now may be about to end.

    Raises:
        UnknownModel: a model is assigned that is not known here.
        executors.ExecutorError: its engine is unknown, or the extra with it is not installed.
        routing.RoutingError: a GPU that is not there.
    """
    for choice, model in settings.gpu_model_assignments.items():
        executors.require(pinning.engine_config(model, device="cuda", engine=None))
        place(choice, inventory=gpu.inventory())
    for model in settings.cpu_model_assignments:
        executors.require(pinning.engine_config(model, device="cpu", engine=None))


def _worker(name: str, options: Sequence[str], log_dir: Path | None) -> Child:
    return Child(
        name=name,
        argv=[*_celery(), "worker", "--loglevel", "INFO", *options],
        log=_log(log_dir, name),
    )


def _celery() -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "tasks"]


def _log(log_dir: Path | None, name: str) -> Path | None:
    return None if log_dir is None else log_dir / f"{name}.log"
