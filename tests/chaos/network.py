"""Two network namespaces joined by a cable that can be cut, one way or both: real lost packets.

Redis lives in the one, `hub`, and workers in the other, `shore`; nothing else is in either, and
the machine's own network is not touched. The test reaches Redis over its Unix socket:

    with network.cable() as cable:
        home = cluster(unix_socket=True, redis=cable.redis_options, redis_inside=cable.hub)
        home.start_worker(inside=cable.shore, env={"HONEYFLOW_REDIS_URL": cable.url})
        cable.cut()

The cable is cut by letting each side send to a hardware address that nobody has: packets leave and
never arrive, new connections hang, and nobody is told.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import pytest

Way = Literal["up", "down"]
PORT = 6379
_HUB, _SHORE = "10.213.7.1", "10.213.7.2"
_NOBODY = "02:00:00:00:00:99"


class Cable:
    """The cable; `up` is from the shore to the hub."""

    def __init__(self, hub: str, shore: str) -> None:
        self._hub, self._shore = hub, shore
        self.hub = ("ip", "netns", "exec", hub)
        self.shore = ("ip", "netns", "exec", shore)
        self.url = f"redis://{_HUB}:{PORT}/0"
        self.redis_options = {"bind": _HUB, "port": str(PORT), "protected_mode": "no"}

    def lay(self) -> None:
        """Join the two namespaces."""
        pair = ["type", "veth", "peer", "name", "hub", "netns", self._hub]
        _ip("link", "add", "shore", "netns", self._shore, *pair)
        for space, device, address in (
            (self._hub, "hub", _HUB),
            (self._shore, "shore", _SHORE),
        ):
            _ip("-n", space, "address", "add", f"{address}/24", "dev", device)
            for name in ("lo", device):
                _ip("-n", space, "link", "set", name, "up")
        self.mend()

    def cut(self, *ways: Way) -> None:
        """Let nothing arrive, both ways unless one is named."""
        for way in ways or ("up", "down"):
            self._send_to(way, _NOBODY)

    def mend(self) -> None:
        """Let everything arrive."""
        self._send_to("up", _address(self._hub, "hub"))
        self._send_to("down", _address(self._shore, "shore"))

    def _send_to(self, way: Way, hardware: str) -> None:
        space, device, address = (
            (self._shore, "shore", _HUB) if way == "up" else (self._hub, "hub", _SHORE)
        )
        told = ["lladdr", hardware, "dev", device, "nud", "permanent"]
        _ip("-n", space, "neighbour", "replace", address, *told)


@contextmanager
def cable() -> Iterator[Cable]:
    """Two namespaces and their cable, gone when the block ends; skips where that is forbidden."""
    mark = secrets.token_hex(3)
    hub, shore = f"hf-hub-{mark}", f"hf-shore-{mark}"
    with ExitStack() as undo:
        for name in (hub, shore):
            made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"no network namespace can be made here: {made.stderr.strip()}")
            undo.callback(_ip, "netns", "delete", name)
        laid = Cable(hub, shore)
        laid.lay()
        yield laid


def _address(space: str, device: str) -> str:
    words = _ip("-n", space, "link", "show", device).split()
    return words[words.index("link/ether") + 1]


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
