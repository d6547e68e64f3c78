"""Where jobs and workers go: names of queues, priorities, the choice of GPUs.

Pure: no broker, no clock, no environment, no NVML; whoever calls has read those and passes values.
"""

from __future__ import annotations

from routing.errors import (
    GpuAmbiguous,
    GpuChoiceInvalid,
    GpuDuplicate,
    GpuNotFound,
    GpuPartitioned,
    GpuTooSmall,
    NameInvalid,
    PriorityInvalid,
    QueueInvalid,
    RoutingError,
)
from routing.gpus import Gpu, short_name
from routing.placement import MIN_FREE_VRAM_BYTES, Placement, estimate_vram_bytes, place
from routing.queues import (
    CONTROL,
    INGEST,
    Priority,
    gpu_queue,
    job_queue,
    list_keys,
    model_queue,
    parse_priority,
    validate_model_name,
    validate_node_name,
    worker_queues,
)

__all__ = [
    "CONTROL",
    "INGEST",
    "MIN_FREE_VRAM_BYTES",
    "Gpu",
    "GpuAmbiguous",
    "GpuChoiceInvalid",
    "GpuDuplicate",
    "GpuNotFound",
    "GpuPartitioned",
    "GpuTooSmall",
    "NameInvalid",
    "Placement",
    "Priority",
    "PriorityInvalid",
    "QueueInvalid",
    "RoutingError",
    "estimate_vram_bytes",
    "gpu_queue",
    "job_queue",
    "list_keys",
    "model_queue",
    "parse_priority",
    "place",
    "short_name",
    "validate_model_name",
    "validate_node_name",
    "worker_queues",
]
