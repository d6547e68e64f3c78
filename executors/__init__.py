"""Executors: talking to models behind one contract, one file per engine.

What lives here: the contract (`base.py`), its values and errors, the registry, the engines, and in
`resampling/` how many samples are drawn. What does not: queues, stores, networks.

Importing this package imports no engine; `create` does, for the engine that it is asked for.
"""

from executors.base import Executor, ProgressCallback
from executors.config import EngineConfig
from executors.digest import check_model, engine_digest, model_digest
from executors.errors import (
    DeviceUnavailable,
    EngineDead,
    EngineMissing,
    EngineNotLoaded,
    EngineStartFailed,
    EngineUnknown,
    ExecutorError,
    ModelInvalid,
    ModelNotFound,
    OutOfMemory,
    RequestAborted,
    RequestInvalid,
)
from executors.registry import available_engines, create, require
from executors.types import (
    Completion,
    End,
    Error,
    Event,
    FinishReason,
    GenerateRequest,
    Health,
    HealthState,
    LoadProgress,
    Memory,
    Message,
    Metrics,
    ModelInfo,
    Narration,
    Prompt,
    Sampling,
    Started,
    Token,
)

__all__ = [
    "Completion",
    "DeviceUnavailable",
    "End",
    "EngineConfig",
    "EngineDead",
    "EngineMissing",
    "EngineNotLoaded",
    "EngineStartFailed",
    "EngineUnknown",
    "Error",
    "Event",
    "Executor",
    "ExecutorError",
    "FinishReason",
    "GenerateRequest",
    "Health",
    "HealthState",
    "LoadProgress",
    "Memory",
    "Message",
    "Metrics",
    "ModelInfo",
    "ModelInvalid",
    "ModelNotFound",
    "Narration",
    "OutOfMemory",
    "ProgressCallback",
    "Prompt",
    "RequestAborted",
    "RequestInvalid",
    "Sampling",
    "Started",
    "Token",
    "available_engines",
    "check_model",
    "create",
    "engine_digest",
    "model_digest",
    "require",
]
