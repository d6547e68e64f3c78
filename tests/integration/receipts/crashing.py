"""Processes that end, if told to, before the n-th thing that they do to the disk.

Nothing is replaced for that: the interpreter tells of every call into C, and the process kills
itself before the n-th one that executes SQL, commits, or opens, writes, syncs, links, renames or
deletes a file. What is on the disk after such a call is what is there before the next.

Run as a program, it does one deed of `lives` for each line of JSON on its input, in a fork of its
own, and answers with how that one ended.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from tests.integration.receipts.lives import DEEDS, Home, job_ids

ROOT = Path(__file__).parents[3]

_ON_FILES = frozenset(
    (os.open, os.fsync, os.link, os.rename, os.replace, os.unlink, os.remove, os.mkdir, os.rmdir)
)
_ON_OBJECTS = {
    sqlite3.Cursor: {"execute", "executemany"},
    sqlite3.Connection: {"execute", "commit"},
    io.BufferedWriter: {"write", "flush"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended: its exit status, less than 0 for a signal, and what it did by then.

    `places` are the boundaries it came to, in words.
    """

    status: int
    places: Sequence[str]

    @property
    def killed(self) -> bool:
        """Whether it was ended before it was done."""
        return self.status == -signal.SIGKILL


class Processes:
    """Does deeds, each in a process of its own."""

    def __init__(self, template: Path) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(template)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(
        self,
        deed: str,
        home: Home,
        jobs: Sequence[str],
        *,
        at: int | None = None,
        after_s: float | None = None,
        seed: int = 0,
    ) -> Ended:
        """Do a deed; the process ends before boundary `at`, or `after_s` seconds from its start."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        asked = {
            "deed": deed,
            "home": str(home.path),
            "batch": home.batch,
            "jobs": list(jobs),
            "at": at,
            "after_s": after_s,
            "seed": seed,
        }
        self._program.stdin.write(json.dumps(asked) + "\n")
        self._program.stdin.flush()
        return Ended(**json.loads(self._program.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.close()
        self._program.wait()
        self._program.stdout.close()


class Failpoint:
    """Notes what this process does to the disk, and ends it before number `at`, from 1."""

    def __init__(self, at: int | None) -> None:
        self._at = at
        self.places: list[str] = []

    def __call__(self, frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call" or not _touches_the_disk(called):
            return
        self.places.append(f"{called.__name__} from {_caller(frame)}")
        if len(self.places) == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def _touches_the_disk(called: Any) -> bool:
    if called in _ON_FILES:
        return True
    names = _ON_OBJECTS.get(type(getattr(called, "__self__", None)))
    return names is not None and called.__name__ in names


def _caller(frame: FrameType | None) -> str:
    """The lines of ours that a call comes from, innermost first."""
    lines: list[str] = []
    while frame is not None and len(lines) < 3:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(ROOT) and "site-packages" not in file.parts:
            lines.append(f"{file.relative_to(ROOT)}:{frame.f_lineno}")
        frame = frame.f_back
    return ", ".join(lines)


def _fork(asked: dict[str, Any]) -> dict[str, Any]:
    """Do one deed in a child, and wait for its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os._exit(_child(asked, writing))
    os.close(writing)
    if asked["after_s"] is not None:
        until = time.monotonic() + asked["after_s"]
        while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
                break
            time.sleep(0.002)
    with os.fdopen(reading, "rb") as stream:
        places = json.loads(stream.read() or b"[]")
    _, status = os.waitpid(child, 0)
    return {"status": os.waitstatus_to_exitcode(status), "places": places}


def _child(asked: dict[str, Any], writing: int) -> int:
    home = Home(path=Path(asked["home"]), batch=asked["batch"])
    failpoint = Failpoint(asked["at"])
    try:
        if asked["after_s"] is None:
            sys.setprofile(failpoint)
        try:
            DEEDS[asked["deed"]](home, asked["jobs"], asked["seed"])
        finally:
            sys.setprofile(None)
        os.write(writing, json.dumps(failpoint.places).encode())
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    """Answer every line of the input."""
    with tempfile.TemporaryDirectory(prefix="honeyflow-crashing-") as scratch:
        # What is imported late is there before the first fork, and no file of it is counted.
        warm = Home.make(Path(scratch) / "warm", Path(sys.argv[1]))
        DEEDS["hand_over"](warm, job_ids(3), 0)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_fork(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
