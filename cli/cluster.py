"""Which processes make a cluster on this machine: workers, the maintenance worker, beat."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cli.supervisor import Child
from tasks.errors import SettingsInvalid
from tasks.settings import Settings


def children(settings: Settings, *, log_dir: Path | None = None) -> list[Child]:
    """The processes that the settings ask for, in the order of their start.

    Raises:
        SettingsInvalid: no model is assigned to any device.
    """
    workers = [
        _worker(f"gpu{gpu}-{model}", ["--gpu", gpu, "--model", model], log_dir)
        for gpu, model in settings.gpu_model_assignments.items()
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
        ),
    ]


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
