"""A GPU as a value, and its names.

NVML is read elsewhere. A short name is the beginning of the UUID: it stays when cards are added or
moved, so queues are named by it; a host name is the position, which people type. Sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GB = 1_000_000_000
_SHORT_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU, or one MIG device of it, as NVML describes it.

    `index` counts the machine's GPUs from 0 in PCI bus order; a MIG device has the index of its
    parent, its own `mig_index`, and the parent's UUID in `parent`. `mig_enabled` marks a parent.
    `total_bytes` and `free_bytes` are None where the driver does not say.
    """

    index: int
    uuid: str
    name: str
    total_bytes: int | None
    free_bytes: int | None
    mig_enabled: bool = False
    parent: str | None = None
    mig_index: int | None = None

    @property
    def host_name(self) -> str:
        """The name by position on this host: `0`, or `0-mig1` for a MIG device."""
        return str(self.index) if self.parent is None else f"{self.index}-mig{self.mig_index}"


def short_name(gpu: Gpu, inventory: Sequence[Gpu]) -> str:
    """Return the beginning of the GPU's UUID, at least 8 digits of it and unique in the inventory.

    It is itself a word that `--gpu` takes, except for the old `MIG-GPU-…/1/0` form, whose slashes
    become hyphens.
    """
    prefix, digits = _split(gpu.uuid)
    others = [_split(other.uuid) for other in inventory if other.uuid != gpu.uuid]
    for length in range(_SHORT_DIGITS, len(digits)):
        short = digits[:length]
        if short[-1] not in "-/" and (prefix, short) not in [(p, d[:length]) for p, d in others]:
            return prefix + short.replace("/", "-")
    return prefix + digits.replace("/", "-")


def _split(uuid: str) -> tuple[str, str]:
    for prefix in ("MIG-GPU-", "MIG-", "GPU-"):
        if uuid.startswith(prefix):
            return prefix, uuid.removeprefix(prefix)
    return "", uuid


def listed(gpus: Sequence[Gpu]) -> str:
    """Return the GPUs as a person would list them; empty for none."""
    return ", ".join(
        f"{gpu.host_name} = {gpu.uuid} ({gpu.name}"
        + (f", {in_gb(gpu.total_bytes)}" if gpu.total_bytes is not None else "")
        + ")"
        for gpu in gpus
    )


def described(gpu: Gpu) -> dict[str, str | int | None]:
    """Return the GPU as plain values, for the details of an error."""
    return {
        "index": gpu.index,
        "uuid": gpu.uuid,
        "name": gpu.name,
        "total_bytes": gpu.total_bytes,
        "free_bytes": gpu.free_bytes,
    }


def in_gb(size: int) -> str:
    """Return a number of bytes in gigabytes of 10^9, with two decimals."""
    return f"{size / GB:.2f} GB"
