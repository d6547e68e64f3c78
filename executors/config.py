"""How an engine is to be started: one frozen value for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What to load, where, and how.

    `device` is `cpu` or `cuda`; `tensor_parallel` the number of GPUs of one engine. `max_num_seqs`
    is how many samples the engine runs at once, `max_model_len` the longest prompt plus answer in
    tokens (None: the model's own). `stuck_after_s` is how long an engine with running requests may
    make no progress. `options` go to the engine as they are.
    """

    model: str
    path: Path
    device: str
    engine: str = "transformers"
    tensor_parallel: int = 1
    max_num_seqs: int = 64
    max_model_len: int | None = None
    dtype: str = "auto"
    quantization: str | None = None
    attention_backend: str | None = None
    gpu_memory_utilization: float = 0.9
    enforce_eager: bool = False
    seed: int = 0
    stuck_after_s: float = 60.0
    model_digest: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
