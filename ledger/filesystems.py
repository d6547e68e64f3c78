"""Which file system a path is on, and whether SQLite can keep a promise there.

A write-ahead log needs shared memory and locks that all processes see; no network file system gives
both (https://www.sqlite.org/wal.html, https://www.sqlite.org/faq.html question 5).
"""

from __future__ import annotations

from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")

NETWORK = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.ceph-fuse",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "smb3",
        "smbfs",
    }
)


def type_of(path: Path, *, mounts: str | None = None) -> str:
    """The type of the file system that `path` is, or would be, on; `unknown` where nobody says.

    `mounts` is the text of `/proc/self/mounts`; of two mounts on one point the later counts.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text()
        except OSError:
            return "unknown"
    resolved = path.resolve()
    best, found = -1, "unknown"
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(_unescaped(fields[1]))
        if resolved.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), fields[2]
    return found


def _unescaped(field: str) -> str:
    for escaped, character in (
        (r"\040", " "),
        (r"\011", "\t"),
        (r"\012", "\n"),
        (r"\134", "\\"),
    ):
        field = field.replace(escaped, character)
    return field
