"""Which file system a path is on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import filesystems

MOUNTS = r"""proc /proc proc rw 0 0
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/vdb /home/local xfs rw 0 0
//server/share /mnt/my\040share cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
overlay /data overlay rw 0 0
server:/data /data nfs rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/ledger.db", "ext4"),
        ("/home/bee/ledger.db", "nfs4"),
        ("/home/local/ledger.db", "xfs"),
        ("/homeless/ledger.db", "ext4"),
        ("/mnt/my share/ledger.db", "cifs"),
        ("/mnt/ssh/not/there/yet/ledger.db", "fuse.sshfs"),
        ("/data/ledger.db", "nfs"),
        ("/data/../var/ledger.db", "ext4"),
    ],
)
def test_the_deepest_and_latest_mount_counts(path: str, kind: str) -> None:
    """As the kernel would resolve it."""
    assert filesystems.type_of(Path(path), mounts=MOUNTS) == kind


def test_without_a_mount_table_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is refused for that."""
    assert filesystems.type_of(tmp_path) not in ("unknown", *filesystems.NETWORK)
    monkeypatch.setattr(filesystems, "_MOUNTS", tmp_path / "none")
    assert filesystems.type_of(tmp_path) == "unknown"
