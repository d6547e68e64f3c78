"""What an engine's child process writes, passed on as it comes and remembered for its last words.

The child inherits the descriptors 1 and 2 of its parent when it is started, and nothing else of it
can be redirected from outside. So for the time of the start the two are pipes; a thread copies what
comes out of them to where the two pointed before, and keeps the last lines. Afterwards the parent
has its own descriptors back, and the child keeps the pipes for its whole life.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
from collections import deque
from collections.abc import Iterator
from threading import Thread

REMEMBERED_LINES = 2000
CHUNK_BYTES = 65536
DRAIN_S = 2.0


class ChildLog:
    """The last lines that child processes started inside `capture` wrote."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=REMEMBERED_LINES)
        self._pump: Thread | None = None

    def lines(self) -> list[str]:
        """What was written so far, oldest first."""
        return list(self._lines)

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Give children started inside this block pipes as standard output and error.

        What this process itself writes in the meantime takes the same way.
        """
        _flush()
        originals = {1: os.dup(1), 2: os.dup(2)}
        readers: dict[int, int] = {}
        for descriptor, original in originals.items():
            read_end, write_end = os.pipe()
            os.dup2(write_end, descriptor, inheritable=True)
            os.close(write_end)
            readers[read_end] = os.dup(original)
        self._pump = Thread(target=self._copy, args=(readers,), name="child-log", daemon=True)
        self._pump.start()
        try:
            yield
        finally:
            _flush()
            for descriptor, original in originals.items():
                os.dup2(original, descriptor, inheritable=True)
                os.close(original)

    def drain(self) -> None:
        """Wait a moment for the last words of children that have ended."""
        if self._pump is not None:
            self._pump.join(timeout=DRAIN_S)

    def _copy(self, readers: dict[int, int]) -> None:
        """Copy each pipe to its target until every writer has closed it."""
        rests = dict.fromkeys(readers, b"")
        with selectors.DefaultSelector() as selector:
            for reader in readers:
                selector.register(reader, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    data = os.read(key.fd, CHUNK_BYTES)
                    if data:
                        rests[key.fd] = self._take(rests[key.fd] + data)
                        _pass_on(readers[key.fd], data)
                        continue
                    selector.unregister(key.fd)
                    self._take(rests[key.fd] + b"\n")
                    os.close(key.fd)
                    os.close(readers[key.fd])

    def _take(self, data: bytes) -> bytes:
        *lines, rest = data.split(b"\n")
        for line in lines:
            text = line.decode("utf-8", errors="replace").rstrip()
            if text:
                self._lines.append(text)
        return rest[-CHUNK_BYTES:]


def _pass_on(target: int, data: bytes) -> None:
    # Whoever read our output may be gone. The child must not block on a full pipe for that.
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(target, data) :]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
