"""What can go wrong between a request and an answer.

ExecutorError
├── EngineUnknown        no engine of that name; names the known ones
├── EngineMissing        the engine's package is not installed; names the extra to install
├── EngineNotLoaded      asked for an answer before `load` or after `unload`
├── DeviceUnavailable    the device asked for is not there; never another one instead
├── ModelNotFound        no such model directory
├── ModelInvalid         the directory is there but cannot be loaded safely
├── EngineStartFailed    the engine refused to start; carries its own reason
├── OutOfMemory          not enough memory, with required and available bytes
├── RequestInvalid       this request cannot be run by this model
├── RequestAborted       the request ended without an answer, through no fault of its own
└── EngineDead           the engine is gone; its requests can run elsewhere
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ExecutorError(Exception):
    """Something an executor could not do; `code` is stable, the message is for people."""

    code = "EXECUTOR_ERROR"
    retriable = False
    http_status = 500
    exit_code = 1

    def __init__(
        self, message: str, *, suggested_action: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.suggested_action = suggested_action
        self.details = dict(details or {})


class EngineUnknown(ExecutorError):
    """There is no engine of that name."""

    code = "ENGINE_UNKNOWN"


class EngineNotLoaded(ExecutorError):
    """The engine was used before `load` returned or after `unload`."""

    code = "ENGINE_NOT_LOADED"
    http_status = 503


class EngineMissing(ExecutorError):
    """The package of the engine is not installed."""

    code = "ENGINE_MISSING"


class DeviceUnavailable(ExecutorError):
    """The device asked for does not exist or cannot be used."""

    code = "DEVICE_UNAVAILABLE"


class ModelNotFound(ExecutorError):
    """There is no model of that name or no such directory."""

    code = "MODEL_NOT_FOUND"
    http_status = 404


class ModelInvalid(ExecutorError):
    """The model's files are damaged, incomplete or would need foreign code to load."""

    code = "MODEL_INVALID"


class EngineStartFailed(ExecutorError):
    """The engine refused to start."""

    code = "ENGINE_START_FAILED"


class OutOfMemory(ExecutorError):
    """The device or the host has not enough memory for the model."""

    code = "OUT_OF_MEMORY"
    http_status = 507


class RequestInvalid(ExecutorError):
    """The model cannot run this request, however often it is tried."""

    code = "REQUEST_INVALID"
    http_status = 400


class RequestAborted(ExecutorError):
    """The request ended without an answer and can be tried again."""

    code = "REQUEST_ABORTED"
    retriable = True


class EngineDead(ExecutorError):
    """The engine died; nothing it was doing has failed, it has only not been done."""

    code = "ENGINE_DEAD"
    retriable = True
    http_status = 503
