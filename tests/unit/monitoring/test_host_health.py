"""Disk, memory and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring.host_health import available_memory_bytes, disk_check, key_check, memory_check

GB = 1_000_000_000
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


def test_a_disk_with_room_is_fit(tmp_path: Path) -> None:
    """A folder that does not exist yet is judged by the one it will be in."""
    check = disk_check(tmp_path / "not" / "there", min_free_bytes=1)
    assert check.ok is True
    assert check.figures["available_bytes"] > 0


def test_a_full_disk_is_a_finding_with_the_figures(tmp_path: Path) -> None:
    """Both what there is and what is required."""
    check = disk_check(tmp_path, min_free_bytes=10**24)
    assert check.ok is False
    assert check.figures["required_bytes"] == 10**24
    assert check.how_to_mend


@pytest.mark.parametrize(("available", "ok"), [(2 * GB, True), (2 * GB - 1, False), (0, False)])
def test_memory_is_judged_against_the_minimum(available: int, ok: bool) -> None:
    """Two gigabytes, unless told otherwise."""
    check = memory_check(available_bytes=available)
    assert check.ok is ok
    assert bool(check.how_to_mend) is not ok


def test_memory_is_read_from_the_machine_when_it_is_not_given() -> None:
    """A machine that runs tests has some."""
    assert memory_check(min_free_bytes=1).ok is True


def test_a_containers_limit_counts_as_the_memory_there_is(tmp_path: Path) -> None:
    """Of the groups around a process the tightest decides; droppable cache is available."""
    own = _group(tmp_path / "outer" / "inner", limit="max", usage=900, cache=0)
    _group(own.parent, limit="1000", usage=900, cache=300)
    own_file = tmp_path / "own"
    own_file.write_text("0::/outer/inner\n")
    assert available_memory_bytes(cgroups=tmp_path, own=own_file) == 400


def test_the_older_control_groups_are_read_too(tmp_path: Path) -> None:
    """Version 1 has other names for the same."""
    folder = tmp_path / "memory" / "job"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("5000\n")
    (folder / "memory.usage_in_bytes").write_text("2000\n")
    (folder / "memory.stat").write_text("cache 700\ntotal_inactive_file 500\n")
    own_file = tmp_path / "own"
    own_file.write_text("4:cpu,cpuacct:/job\n3:memory:/job\n0::/\n")
    assert available_memory_bytes(cgroups=tmp_path, own=own_file) == 3500


def test_a_group_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    """Not a negative amount."""
    _group(tmp_path, limit="1000", usage=1200, cache=0)
    own_file = tmp_path / "own"
    own_file.write_text("0::/\n")
    assert available_memory_bytes(cgroups=tmp_path, own=own_file) == 0


def test_a_machine_without_control_groups_has_what_the_host_has(tmp_path: Path) -> None:
    """There is nothing to read, and nothing to fail over."""
    assert available_memory_bytes(cgroups=tmp_path, own=tmp_path / "absent") > 0


def _group(folder: Path, *, limit: str, usage: int, cache: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")
    return folder


def test_a_missing_key_is_a_note_with_the_command_that_makes_one(tmp_path: Path) -> None:
    """Receipts can be made without one; the command is ready to paste."""
    check = key_check(tmp_path / "the key")
    assert check.ok is None
    assert check.how_to_mend.startswith("ssh-keygen -t ed25519")
    assert f"'{tmp_path / 'the key'}'" in check.how_to_mend


@pytest.mark.parametrize(
    ("mode", "ok"), [(0o600, True), (0o400, True), (0o640, False), (0o644, False)]
)
def test_a_key_is_for_its_owner_only(tmp_path: Path, mode: int, ok: bool) -> None:
    """Anything that others can read is refused, as ssh does."""
    path = tmp_path / "bee_key"
    path.write_text(KEY)
    path.chmod(mode)
    check = key_check(path)
    assert check.ok is ok
    assert ("chmod 600" in check.how_to_mend) is not ok


def test_a_public_key_is_no_key_to_sign_with(tmp_path: Path) -> None:
    """The wrong file of the pair is recognised by its first line."""
    path = tmp_path / "bee_key.pub"
    path.write_text("ssh-ed25519 AAAA bee\n")
    path.chmod(0o600)
    assert "not an OpenSSH private key" in key_check(path).message


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    """It is a finding, not a crash."""
    assert key_check(tmp_path).ok is False
