"""Which GPUs a worker gets: the words of `--gpu` and an inventory in, a placement or an error out.

Nothing here looks at the machine: the inventory is a value that somebody else has read. A GPU that
is not there or is too small is an error with the figures in it, never another device.

The words name GPUs as the CUDA programming guide's `CUDA_VISIBLE_DEVICES` does: by index in PCI bus
order, by UUID or the beginning of one, by the UUID of a MIG device. Sizes are bytes; 1 GB is 10^9.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from routing.errors import (
    GpuAmbiguous,
    GpuChoiceInvalid,
    GpuDuplicate,
    GpuNotFound,
    GpuPartitioned,
    GpuTooSmall,
)
from routing.gpus import GB, Gpu, described, in_gb, listed, short_name

MIN_FREE_VRAM_BYTES = 1 * GB
_INDEX_WORD = re.compile(r"[0-9]{1,4}")
_UUID_WORD = re.compile(r"(GPU|MIG)-[0-9a-f][0-9a-f/-]*|MIG-GPU-[0-9a-f][0-9a-f/-]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The GPUs of one worker, in the order they were asked for: one engine over all of them.

    `short_names` are the beginnings of the UUIDs, long enough to be unique on the machine;
    `host_names` go by position, which changes when a card is added.
    """

    uuids: tuple[str, ...]
    short_names: tuple[str, ...]
    indexes: tuple[int, ...]
    host_names: tuple[str, ...]

    @property
    def tensor_parallel(self) -> int:
        """The number of GPUs that the engine is spread over."""
        return len(self.uuids)

    @property
    def cuda_visible_devices(self) -> str:
        """The value of `CUDA_VISIBLE_DEVICES`: full UUIDs, which no renumbering can change."""
        return ",".join(self.uuids)

    def environment(self) -> dict[str, str]:
        """Return the variables to set before any engine is imported."""
        return {
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "CUDA_VISIBLE_DEVICES": self.cuda_visible_devices,
        }


def place(
    choice: str,
    *,
    inventory: Sequence[Gpu],
    model_bytes: int | None = None,
    min_free_bytes: int = MIN_FREE_VRAM_BYTES,
) -> Placement:
    """Resolve the words of `--gpu` against the GPUs of this machine.

    Args:
        choice: indexes or UUIDs, separated by commas; more than one means tensor parallel.
        inventory: what is there.
        model_bytes: the size of the model's weights; None leaves memory unchecked.
        min_free_bytes: what must stay free on each GPU besides the model.

    Raises:
        GpuChoiceInvalid, GpuNotFound, GpuAmbiguous, GpuDuplicate, GpuPartitioned, GpuTooSmall.
    """
    gpus = [_find(word, inventory) for word in _words(choice)]
    _refuse_duplicates(gpus)
    _refuse_mig_groups(gpus)
    if model_bytes is not None:
        share = -(-estimate_vram_bytes(model_bytes) // len(gpus))
        for gpu in gpus:
            _require_room(gpu, estimate=share, min_free_bytes=min_free_bytes)
    return Placement(
        uuids=tuple(gpu.uuid for gpu in gpus),
        short_names=tuple(short_name(gpu, inventory) for gpu in gpus),
        indexes=tuple(gpu.index for gpu in gpus),
        host_names=tuple(gpu.host_name for gpu in gpus),
    )


def estimate_vram_bytes(model_bytes: int) -> int:
    """Return how much GPU memory a model of that size needs: its weights and a fifth more."""
    return -(-model_bytes * 12 // 10)


def _words(choice: str) -> list[str]:
    words = [word.strip() for word in choice.split(",")]
    for word in words:
        if not _INDEX_WORD.fullmatch(word) and not _UUID_WORD.fullmatch(word):
            raise GpuChoiceInvalid(
                f"{choice!r} does not name GPUs: {word!r} is neither an index nor a UUID.",
                suggested_action=(
                    "Use indexes or UUIDs as `nvidia-smi -L` lists them, separated by commas: "
                    "`--gpu 0`, `--gpu 0,1`, `--gpu GPU-5fd4f087`. For a worker without a GPU use "
                    "`--device cpu`."
                ),
                details={"choice": choice, "word": word},
            )
    return words


def _find(word: str, inventory: Sequence[Gpu]) -> Gpu:
    if _INDEX_WORD.fullmatch(word):
        found = [gpu for gpu in inventory if gpu.parent is None and gpu.index == int(word)]
    else:
        found = [gpu for gpu in inventory if gpu.uuid.lower() == word.lower()] or [
            gpu for gpu in inventory if gpu.uuid.lower().startswith(word.lower())
        ]
    if not found:
        raise GpuNotFound(
            f"There is no GPU {word} on this machine, which has {listed(inventory) or 'none'}.",
            suggested_action=(
                "Name one of these, or look at the driver with `honeyflow doctor`."
                if inventory
                else "Check the driver with `honeyflow doctor`, or start the worker with "
                "`--device cpu` if it is to run without a GPU."
            ),
            details={"gpu": word, "available": [described(gpu) for gpu in inventory]},
        )
    if len(found) > 1:
        raise GpuAmbiguous(
            f"{word} fits {len(found)} GPUs: {listed(found)}.",
            suggested_action="Write more of the UUID, or use the index.",
            details={"gpu": word, "matches": [gpu.uuid for gpu in found]},
        )
    gpu = found[0]
    if gpu.mig_enabled:
        parts = [part for part in inventory if part.parent == gpu.uuid]
        raise GpuPartitioned(
            f"GPU {gpu.host_name} ({gpu.uuid}) is split into MIG devices and cannot be used whole; "
            f"its parts are {listed(parts) or 'not created yet'}.",
            suggested_action="Name one of its MIG devices by UUID, or turn MIG off on this GPU.",
            details={"gpu": gpu.uuid, "mig_devices": [part.uuid for part in parts]},
        )
    return gpu


def _refuse_duplicates(gpus: Sequence[Gpu]) -> None:
    uuids = [gpu.uuid for gpu in gpus]
    for gpu in gpus:
        if uuids.count(gpu.uuid) > 1:
            raise GpuDuplicate(
                f"GPU {gpu.host_name} ({gpu.uuid}) is named {uuids.count(gpu.uuid)} times.",
                suggested_action="Name each GPU once.",
                details={"gpu": gpu.uuid},
            )


def _refuse_mig_groups(gpus: Sequence[Gpu]) -> None:
    parts = [gpu.uuid for gpu in gpus if gpu.parent is not None]
    if parts and len(gpus) > 1:
        raise GpuChoiceInvalid(
            f"The MIG device {parts[0]} cannot be joined with others: CUDA shows only one.",
            suggested_action="Start one worker for each MIG device.",
            details={"mig_devices": parts},
        )


def _require_room(gpu: Gpu, *, estimate: int, min_free_bytes: int) -> None:
    if gpu.free_bytes is None:
        return
    required = estimate + min_free_bytes
    if gpu.free_bytes >= required:
        return
    total = gpu.total_bytes
    fits_when_empty = total is not None and total >= required
    raise GpuTooSmall(
        f"GPU {gpu.host_name} ({gpu.name}) has {in_gb(gpu.free_bytes)} free"
        f"{'' if total is None else f' of {in_gb(total)}'}, and {in_gb(required)} are required: "
        f"{in_gb(estimate)} for the model and {in_gb(min_free_bytes)} to stay free.",
        suggested_action=(
            "End what else uses this GPU (`nvidia-smi` lists it), or name another one."
            if fits_when_empty
            else "Name a larger GPU, or several for tensor parallel, or quantise the model."
        ),
        details={
            "gpu": gpu.uuid,
            "required_bytes": required,
            "available_bytes": gpu.free_bytes,
            "total_bytes": total,
            "estimate_bytes": estimate,
            "min_free_bytes": min_free_bytes,
        },
    )
