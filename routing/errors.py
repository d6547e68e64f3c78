"""What can go wrong when a queue is named or a GPU is chosen.

RoutingError
├── NameInvalid        a model, node or GPU name that cannot be part of a queue's name
├── PriorityInvalid    neither a priority's name nor a number from 0 to 9
├── QueueInvalid       not a queue that a job of its model may be put into
├── GpuChoiceInvalid   the words of `--gpu` make no sense, whatever GPUs there are
├── GpuNotFound        no such GPU here; lists those that are
├── GpuAmbiguous       a shortened UUID that fits more than one GPU
├── GpuDuplicate       one GPU named twice
├── GpuPartitioned     the GPU is split into MIG devices, one of which must be named
└── GpuTooSmall        not enough free memory for the model, with required and available bytes
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RoutingError(Exception):
    """A job or a worker could not be placed; `code` is stable, the message is for people."""

    code = "ROUTING_ERROR"
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


class NameInvalid(RoutingError):
    """A name has characters or a length that queue names do not allow."""

    code = "NAME_INVALID"
    http_status = 400


class PriorityInvalid(RoutingError):
    """There is no such priority."""

    code = "PRIORITY_INVALID"
    http_status = 400


class QueueInvalid(RoutingError):
    """A job cannot be put into a queue of this name."""

    code = "QUEUE_INVALID"
    http_status = 400


class GpuChoiceInvalid(RoutingError):
    """The choice of GPUs cannot be read, or could work on no machine."""

    code = "GPU_CHOICE_INVALID"
    http_status = 400


class GpuNotFound(RoutingError):
    """The GPU asked for is not on this machine."""

    code = "GPU_NOT_FOUND"


class GpuAmbiguous(RoutingError):
    """The shortened UUID fits several GPUs of this machine."""

    code = "GPU_AMBIGUOUS"
    http_status = 400


class GpuDuplicate(RoutingError):
    """The same GPU is named more than once."""

    code = "GPU_DUPLICATE"
    http_status = 400


class GpuPartitioned(RoutingError):
    """The GPU is in MIG mode and cannot be used as a whole."""

    code = "GPU_PARTITIONED"


class GpuTooSmall(RoutingError):
    """The GPU has not enough free memory for the model."""

    code = "GPU_VRAM_EXHAUSTED"
    http_status = 507
