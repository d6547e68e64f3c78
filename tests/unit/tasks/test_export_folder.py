"""An export is written for whom it is, and never over anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks import export_folder
from tasks.errors import HoneyflowError

FILES = {"receipt.json": b"{}", "result.txt": b"severe"}
TEXTS = ("result.txt", "report.json")


def write(folder: Path, files: dict[str, bytes] = FILES) -> list[Path]:
    """Write an export whose answer is a text."""
    return export_folder.write(files, folder, private=TEXTS)


def mode(file: Path) -> int:
    """A file's mode bits."""
    return file.stat().st_mode & 0o777


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """A mask that takes nothing from anybody but writing."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_texts_are_their_owners_alone(tmp_path: Path) -> None:
    """What is for strangers can be read by all."""
    folder = tmp_path / "a" / "b"

    written = write(folder)

    assert [folder / name for name in FILES] == written
    assert FILES == {file.name: file.read_bytes() for file in folder.iterdir()}
    assert (0o644, 0o600) == tuple(mode(file) for file in written)


def test_the_same_export_again_is_completed(tmp_path: Path) -> None:
    """What is there with the same bytes stays; a text that others could read is closed to them."""
    (tmp_path / "result.txt").write_bytes(b"severe")
    assert 0o644 == mode(tmp_path / "result.txt")
    before = (tmp_path / "result.txt").stat().st_ino

    write(tmp_path)
    write(tmp_path)

    assert before == (tmp_path / "result.txt").stat().st_ino
    assert (b"{}", 0o600) == ((tmp_path / "receipt.json").read_bytes(), mode(tmp_path / TEXTS[0]))


@pytest.mark.parametrize("kind", ["file", "shorter", "longer", "folder", "link", "broken", "pipe"])
def test_nothing_is_written_over(tmp_path: Path, kind: str) -> None:
    """Whatever is there: it is named, it stays, and no other file is written."""
    there, aim = tmp_path / "result.txt", tmp_path / "aim"
    aim.write_bytes(b"severe")
    make: dict[str, Callable[[], object]] = {
        "file": lambda: there.write_bytes(b"SEVERE"),
        "shorter": lambda: there.write_bytes(b"sever"),
        "longer": lambda: there.write_bytes(b"severe\n"),
        "folder": there.mkdir,
        "link": lambda: there.symlink_to(aim),
        "broken": lambda: there.symlink_to(tmp_path / "nowhere"),
        "pipe": lambda: os.mkfifo(there),
    }
    make[kind]()
    before = there.lstat()

    with pytest.raises(HoneyflowError, match=r"There with other bytes: .*result\.txt") as caught:
        write(tmp_path)

    assert "EXPORT_EXISTS" == caught.value.code
    assert before == there.lstat()
    assert {"aim", "result.txt"} == {file.name for file in tmp_path.iterdir()}


@pytest.mark.parametrize(("place", "reason"), [("file", "File exists"), ("file/in", "Not a dir")])
def test_a_place_that_cannot_be_written_to_is_named(
    tmp_path: Path, place: str, reason: str
) -> None:
    """With the system's reason, and as one of our errors."""
    (tmp_path / "file").write_bytes(b"mine")

    with pytest.raises(HoneyflowError, match=f"cannot be written to .*{place}: {reason}") as caught:
        write(tmp_path / place)

    assert "EXPORT_UNWRITABLE" == caught.value.code
    assert b"mine" == (tmp_path / "file").read_bytes()


def test_a_file_that_cannot_be_finished_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file would be taken for somebody's."""
    if not Path("/dev/full").exists():
        pytest.skip("no device is full here")
    real, full = os.open, os.open("/dev/full", os.O_WRONLY)

    def opened(path: object, flags: int, *more: int) -> int:
        handle = real(str(path), flags, *more)
        if flags & os.O_CREAT:
            os.dup2(full, handle)
        return handle

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(HoneyflowError, match="No space left on device"):
        write(tmp_path)
    os.close(full)

    assert [] == list(tmp_path.iterdir())
