"""A real ssh-agent for a test, and sockets that answer like a broken one."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stack import wait_for

needs_agent = pytest.mark.skipif(
    shutil.which("ssh-agent") is None, reason="needs ssh-agent of OpenSSH"
)


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for sockets, whose paths have to be short, as pytest's are not always."""
    with tempfile.TemporaryDirectory(prefix="agent-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def running_agent(*keys: Path, folder: Path | None = None) -> Iterator[Path]:
    """The socket of an agent that holds these keys; `agent` in the folder, if one is named."""
    with contextlib.ExitStack() as stack:
        path = (folder or stack.enter_context(short_folder())) / "agent"
        path.unlink(missing_ok=True)
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
        try:
            wait_for(path.exists)
            for key in keys:
                add(path, str(key))
            yield path
        finally:
            agent.kill()
            agent.wait()


def add(agent: Path, *words: str) -> None:
    """Tell the agent something with ssh-add."""
    environ = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
    subprocess.run(["ssh-add", "-q", *words], env=environ, check=True, capture_output=True)


@contextlib.contextmanager
def broken_agent(answer: Callable[[socket.socket], None]) -> Iterator[Path]:
    """A socket at which each connection is answered by a function, and then closed."""
    with short_folder() as folder:
        path = folder / "agent"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen()

            def serve() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        peer, _ = listener.accept()
                        with peer, contextlib.suppress(OSError):
                            answer(peer)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            try:
                yield path
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()
