"""What one worker process is bound to: its model, its device, its queues and its name."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from executors import EngineConfig
from monitoring import gpu as gpus
from routing import CONTROL, INGEST, Placement, place, worker_queues
from tasks import wiring
from tasks.errors import WorkerMisconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One worker's binding. `engine` is None for the maintenance worker."""

    name: str
    node: str
    queues: tuple[str, ...]
    engine: EngineConfig | None
    placement: Placement | None = None


_settled: list[Pin] = []


def current() -> Pin:
    """The binding of this process.

    Raises:
        WorkerMisconfigured: the command line gave none.
    """
    if not _settled:
        raise WorkerMisconfigured("This worker has neither an engine nor --maintenance.")
    return _settled[-1]


def settled() -> Pin | None:
    """The binding of this process, if it is a worker that has read its command line."""
    return _settled[-1] if _settled else None


def settle(
    *,
    gpu: str | None,
    model: str | None,
    device: str | None,
    engine: str | None,
    maintenance: bool,
) -> Pin | None:
    """Bind this process as the options say; pins the GPU in the environment at once.

    Raises:
        WorkerMisconfigured: options that are missing or contradict each other.
        UnknownModel: the model is not known here.
        routing.RoutingError: the GPU is not there or is too small, with the figures.
    """
    _refuse_contradictions(gpu=gpu, model=model, device=device, maintenance=maintenance)
    node = wiring.settings().node
    if maintenance:
        pin = Pin(name=f"maintenance@{node}", node=node, queues=(CONTROL, INGEST), engine=None)
    else:
        assert model is not None
        config = engine_config(model, device="cuda" if gpu else "cpu", engine=engine)
        placement = _place(gpu, config, os.environ) if gpu is not None else None
        pin = _pin(model, node, config, placement)
    _settled.append(pin)
    return pin


def engine_config(model: str, *, device: str, engine: str | None) -> EngineConfig:
    """How the model's engine is to be started on this device."""
    entry = wiring.catalogue().model(model)
    options: dict[str, Any] = dict(entry.options)
    known = set(EngineConfig.__dataclass_fields__)
    named = {key: options.pop(key) for key in list(options) if key in known}
    chosen = engine or named.pop("engine", None) or ("vllm" if device == "cuda" else "transformers")
    named.pop("engine", None)
    return EngineConfig(
        model=model,
        path=Path(entry.path),
        device=device,
        engine=chosen,
        **{**named, "options": {**options, **named.pop("options", {})}},
    )


def _pin(model: str, node: str, config: EngineConfig, placement: Placement | None) -> Pin:
    if placement is None:
        return Pin(
            name=f"cpu-{model}@{node}",
            node=node,
            queues=worker_queues(model, node),
            engine=config,
        )
    # A container numbers its GPUs from 0: there the host's name for them has to be told.
    named = wiring.settings().gpu_name
    aliases = tuple(named.split(",")) if named else placement.host_names
    return Pin(
        name=f"gpu-{'+'.join(placement.short_names)}@{node}",
        node=node,
        queues=worker_queues(model, node, placement.short_names, aliases=aliases),
        engine=replace(config, tensor_parallel=placement.tensor_parallel),
        placement=placement,
    )


def _place(words: str, config: EngineConfig, environ: MutableMapping[str, str]) -> Placement:
    """Resolve the GPUs and pin this process to them, before any engine is imported."""
    placement = place(words, inventory=gpus.inventory(), model_bytes=_size(config.path))
    environ.update(placement.environment())
    return placement


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*.safetensors"))


def _refuse_contradictions(
    *, gpu: str | None, model: str | None, device: str | None, maintenance: bool
) -> None:
    if maintenance:
        if gpu or model or device:
            raise WorkerMisconfigured(
                "--maintenance takes no --gpu, --model or --device: it has no engine."
            )
        return
    if model is None:
        raise WorkerMisconfigured("No --model was given.")
    if gpu is None and device != "cpu":
        raise WorkerMisconfigured(
            "No device was given; a worker never chooses one by itself.",
            suggested_action="Say --gpu N, or --device cpu if you mean the CPU.",
        )
    if gpu is not None and device == "cpu":
        raise WorkerMisconfigured("--gpu and --device cpu contradict each other.")
