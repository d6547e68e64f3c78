"""Everything `honeyflow doctor` looks at, in the order in which it would have to be mended.

What is checked comes as arguments; no setting and no environment is read here. A check that cannot
be made is a finding, never an exception.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import redis
from sqlalchemy import exc, make_url

from ledger import Ledger, LedgerError, LedgerNotMigrated
from monitoring.checks import Check, as_json, readable_size
from monitoring.gpu import GpuSurvey, survey_gpus
from monitoring.host_health import disk_check, key_check, memory_check, nearest_existing
from monitoring.redis_health import redis_checks
from routing import MIN_FREE_VRAM_BYTES

__all__ = ["Check", "as_json", "engine_check", "examine", "gpu_check", "ledger_check"]

KEY_NAME = "bee_key"


def examine(
    *,
    redis_client: redis.Redis,
    redis_address: str,
    ledger_url: str,
    data_dir: Path,
    key_path: Path | None = None,
) -> list[Check]:
    """Look at everything that a worker on this machine needs.

    Args:
        redis_client: how to reach the broker.
        redis_address: its address for people, without a password.
        ledger_url: the ledger's URL.
        data_dir: where Redis, the ledger and downloads live.
        key_path: the key that signs receipts; `bee_key` in the data directory if left out.
    """
    return [
        *redis_checks(redis_client, address=redis_address),
        ledger_check(ledger_url),
        disk_check(data_dir),
        memory_check(),
        engine_check(_engines()),
        gpu_check(survey_gpus()),
        key_check(data_dir / KEY_NAME if key_path is None else key_path),
    ]


def ledger_check(url: str) -> Check:
    """Return whether the ledger can be read and written, or could be made where it is to be."""
    try:
        ledger = Ledger.open(url)
        try:
            with ledger.write():
                pass
        finally:
            ledger.close()
    except LedgerNotMigrated as error:
        return _unwritable(url) or Check(
            name="ledger",
            ok=None,
            message=error.message,
            how_to_mend=error.suggested_action,
            figures={"code": error.code},
        )
    except LedgerError as error:
        return Check(
            name="ledger",
            ok=False,
            message=error.message,
            how_to_mend=error.suggested_action,
            figures={"code": error.code, **error.details},
        )
    return Check(
        name="ledger",
        ok=True,
        message=f"The ledger at {ledger.place} can be read and written.",
        figures={"place": ledger.place, "uuid": ledger.uuid, "dialect": ledger.dialect},
    )


def engine_check(engines: Sequence[str] | None) -> Check:
    """Return whether there is an engine to run a model with; None means that nobody could tell."""
    real = [name for name in engines or () if name != "fake"]
    if real:
        message = f"Engines installed: {', '.join(real)}."
        return Check(name="engine", ok=True, message=message, figures={"engines": real})
    return Check(
        name="engine",
        ok=False,
        message="No engine is installed that could run a model.",
        how_to_mend="pip install 'honeyflow[cpu]', or 'honeyflow[vllm]' on a machine with a GPU.",
        figures={"engines": real},
    )


def gpu_check(survey: GpuSurvey) -> Check:
    """Return what GPUs there are; a machine without any is fit for CPU workers."""
    figures = {
        "driver": survey.driver_version,
        "gpus": [
            {
                "index": gpu.index,
                "uuid": gpu.uuid,
                "name": gpu.name,
                "total_bytes": gpu.total_bytes,
                "free_bytes": gpu.free_bytes,
            }
            for gpu in survey.gpus
        ],
    }
    if survey.unavailable is not None:
        problem = survey.unavailable
        return Check(
            name="gpu",
            ok=None,
            message=f"No GPU: {problem.message}",
            how_to_mend=problem.suggested_action,
            figures={**figures, "code": problem.code},
        )
    if survey.lost:
        return Check(
            name="gpu",
            ok=False,
            message=" ".join(survey.lost),
            how_to_mend="Look for Xid errors in the kernel's log (`dmesg`), then reboot.",
            figures=figures,
        )
    full = [
        gpu.host_name
        for gpu in survey.gpus
        if gpu.free_bytes is not None and gpu.free_bytes < MIN_FREE_VRAM_BYTES
    ]
    shown = ", ".join(
        f"{gpu.host_name} = {gpu.name}"
        + (f" ({readable_size(gpu.free_bytes)} free)" if gpu.free_bytes is not None else "")
        for gpu in survey.gpus
    )
    return Check(
        name="gpu",
        ok=None if full or not survey.gpus else True,
        message=f"Driver {survey.driver_version}; GPUs: {shown or 'none'}.",
        how_to_mend=f"End what else uses GPU {', '.join(full)}; `nvidia-smi` lists it."
        if full
        else "",
        figures=figures,
    )


def _engines() -> Sequence[str] | None:
    try:
        from executors.registry import available_engines

        return available_engines()
    except ImportError:
        return None


def _unwritable(url: str) -> Check | None:
    """Return the finding that a SQLite ledger could not be made, or None if it could."""
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        return None
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    path = Path(parsed.database).absolute()
    folder = nearest_existing(path.parent)
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return None
    return Check(
        name="ledger",
        ok=False,
        message=f"There is no ledger at {path}, and {folder} cannot be written.",
        how_to_mend="Choose a data directory that this user can write: HONEYFLOW_DATA_DIR.",
        figures={"place": str(path), "folder": str(folder)},
    )
