"""A bundle is written whole, for its owner alone, and never over anything."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks import bundle
from tasks.errors import BundleExists, BundleUnusable

FILES = {"request.json": b"{}", "result.txt": b"yes"}


def test_a_bundle_is_written_and_read_back(tmp_path: Path) -> None:
    """With its parents; the folder and the files are their owner's alone."""
    folder = tmp_path / "a" / "b"

    bundle.write(FILES, folder)

    assert FILES == bundle.read(folder, tuple(FILES))
    assert 0o700 == folder.stat().st_mode & 0o777
    assert {0o600} == {file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert ["b"] == [one.name for one in folder.parent.iterdir()]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    """As `mktemp -d` makes it."""
    (tmp_path / "here").mkdir()

    bundle.write(FILES, tmp_path / "here")

    assert set(FILES) == {file.name for file in (tmp_path / "here").iterdir()}


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A folder with something in it, a file, a link: each stays as it is."""
    full, file, link, aim = (tmp_path / name for name in ("full", "file", "link", "aim"))
    aim.mkdir()
    bundle.write(FILES, full)
    file.write_bytes(b"mine")
    link.symlink_to(aim)

    for place in (full, file, link):
        with pytest.raises(BundleExists, match="is there already"):
            bundle.write({"other": b""}, place)

    assert FILES == bundle.read(full, tuple(FILES))
    assert (b"mine", []) == (file.read_bytes(), list(aim.iterdir()))
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(BundleUnusable, match=r"cannot be written to .*file/inside: [A-Z]"):
        bundle.write(FILES, tmp_path / "file" / "inside")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Whoever lost it knows what to look for."""
    with pytest.raises(BundleUnusable, match=r"report\.json cannot be read: No such file"):
        bundle.read(tmp_path, ("report.json",))


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "socket"])
@pytest.mark.timeout(20)
def test_what_is_no_file_is_not_waited_for(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made the bundle may have put anything in a file's place."""
    there = tmp_path / "report.json"
    # A socket's address has room for few characters.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        make: dict[str, Callable[[], object]] = {
            "pipe": lambda: os.mkfifo(there),
            "folder": there.mkdir,
            "device": lambda: there.symlink_to("/dev/zero"),
            "socket": lambda: listener.bind(there.name),
        }
        make[kind]()

        with pytest.raises(BundleUnusable, match=r"report\.json (is not a regular|cannot be read)"):
            bundle.read(tmp_path, ("report.json",))
