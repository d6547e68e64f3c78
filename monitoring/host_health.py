"""Whether the machine has what a worker needs: disk, memory, a key that only its owner can read.

Times are seconds, sizes bytes, 1 GB is 10^9.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from pathlib import Path

import psutil

from monitoring.checks import GB, Check, readable_size

MIN_FREE_DISK_BYTES = 10 * GB
MIN_FREE_MEMORY_BYTES = 2 * GB

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_KEY_HEADER = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_MORE_THAN_ITS_OWNERS = 0o177


def disk_check(path: Path, *, min_free_bytes: int = MIN_FREE_DISK_BYTES) -> Check:
    """Return whether the disk that the path is, or would be, on has room."""
    place = nearest_existing(path)
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check(
            name="disk",
            ok=False,
            message=f"The disk of {path} does not answer: {error.strerror}.",
            how_to_mend="Choose a data directory on a local disk.",
            figures={"path": str(path)},
        )
    enough = free >= min_free_bytes
    return Check(
        name="disk",
        ok=enough,
        message=(
            f"{readable_size(free)} free where {path} is; "
            f"{readable_size(min_free_bytes)} are required."
        ),
        how_to_mend="" if enough else "Make room on this disk, or choose another data directory.",
        figures={"path": str(path), "available_bytes": free, "required_bytes": min_free_bytes},
    )


def memory_check(
    *, available_bytes: int | None = None, min_free_bytes: int = MIN_FREE_MEMORY_BYTES
) -> Check:
    """Return whether there is memory for a worker; what is available is read if not given."""
    available = available_memory_bytes() if available_bytes is None else available_bytes
    enough = available >= min_free_bytes
    return Check(
        name="memory",
        ok=enough,
        message=(
            f"{readable_size(available)} of memory available; "
            f"{readable_size(min_free_bytes)} are required."
        ),
        how_to_mend="" if enough else "End other programs, or raise this container's memory limit.",
        figures={"available_bytes": available, "required_bytes": min_free_bytes},
    )


def key_check(path: Path) -> Check:
    """Return whether the key that signs receipts is there and only its owner can read it."""
    figures, quoted = {"path": str(path)}, shlex.quote(str(path))
    try:
        status = path.stat()
        head = _head(path) if stat.S_ISREG(status.st_mode) else b""
    except FileNotFoundError:
        return Check(
            name="key",
            ok=None,
            message=f"There is no bee key at {path}; receipts stay unsigned.",
            how_to_mend=f"ssh-keygen -t ed25519 -N '' -C bee_key -f {quoted}",
            figures=figures,
        )
    except OSError as error:
        return Check(
            name="key",
            ok=False,
            message=f"The bee key {path} cannot be read: {error.strerror}.",
            how_to_mend=f"chown {os.geteuid()} {quoted} && chmod 600 {quoted}",
            figures=figures,
        )
    mode = stat.S_IMODE(status.st_mode)
    if head != _KEY_HEADER:
        return Check(
            name="key",
            ok=False,
            message=f"{path} is not an OpenSSH private key.",
            how_to_mend="Name the private file of the pair, the one without `.pub`.",
            figures=figures,
        )
    if mode & _MORE_THAN_ITS_OWNERS:
        return Check(
            name="key",
            ok=False,
            message=f"The bee key {path} has mode {mode:04o}; others may read it or change it.",
            how_to_mend=f"chmod 600 {quoted}",
            figures={**figures, "mode": f"{mode:04o}"},
        )
    return Check(name="key", ok=True, message=f"The bee key is {path}.", figures=figures)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_KEY_HEADER))


def available_memory_bytes(*, cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int:
    """Return the memory that this process can still take, within its container's limits.

    Source: the kernel's documentation of control groups, version 1 (memory) and 2 (memory
    interface files). Page cache that can be dropped counts as available.
    """
    host: int = psutil.virtual_memory().available
    try:
        lines = own.read_text(encoding="ascii").splitlines()
    except OSError:
        return host
    rooms = [host]
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            rooms += _rooms(cgroups, group, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            rooms += _rooms(cgroups / "memory", group, *files)
    return max(0, min(rooms))


def _rooms(root: Path, group: str, limit: str, usage: str, droppable: str) -> list[int]:
    """Return what each group from this process's own up to the root has left."""
    own = root / group.lstrip("/")
    rooms = []
    for folder in (own, *own.parents):
        if not folder.is_relative_to(root):
            break
        try:
            most = (folder / limit).read_text(encoding="ascii").strip()
            used = int((folder / usage).read_text(encoding="ascii"))
            cache = _statistic(folder / "memory.stat", droppable)
        except (OSError, ValueError):
            continue
        if most.isdecimal():
            rooms.append(int(most) - used + cache)
    return rooms


def _statistic(file: Path, name: str) -> int:
    for line in file.read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def nearest_existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    absolute = path.absolute()
    return next(place for place in (absolute, *absolute.parents) if place.exists())
