"""A real IPFS node, js-ipfs from npm: on loopback, offline, without peers.

`make test-ipfs` installs it outside the tree and names the place in `IPFS_NODE_DIR`. Its own
network stack cannot listen on Node 20, so nothing but its RPC and a gateway does.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLYFILL = """
if (!Promise.withResolvers) Promise.withResolvers = function () {
  let resolve, reject
  const promise = new this((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}
"""

_LISTENS = re.compile(rb"HTTP API listening on /ip4/127\.0\.0\.1/tcp/(\d+)/http")
_READY = b"Daemon is ready"


def installed() -> Path | None:
    """The node's program, if it is installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = Path(os.environ.get("IPFS_NODE_DIR") or cache / "honeyflow" / "ipfs-node")
    program = place / "node_modules" / ".bin" / "jsipfs"
    return program if program.exists() else None


class JsIpfs:
    """A node with a repository of its own in `home`; it is up from `start` to `kill`."""

    def __init__(self, program: Path, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._home = home
        self._program = program
        self._polyfill = home / "polyfill.cjs"
        self._polyfill.write_text(POLYFILL)
        self._repo = home / "repo"
        self._environ = {**os.environ, "IPFS_PATH": str(self._repo)}
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        subprocess.run(
            ["node", str(program), "init", "--profile", "test", "--empty-repo"],
            env=self._environ,
            check=True,
            capture_output=True,
        )
        self._configure(api_port=0)

    def _configure(self, *, api_port: int) -> None:
        file = self._repo / "config"
        config = json.loads(file.read_text())
        config["Addresses"] |= {
            "Swarm": [],
            "API": f"/ip4/127.0.0.1/tcp/{api_port}",
            "Gateway": "/ip4/127.0.0.1/tcp/0",
            "RPC": "/ip4/127.0.0.1/tcp/0",
        }
        config["Bootstrap"] = []
        file.write_text(json.dumps(config))

    def start(self) -> None:
        """Start it and wait until it answers; a node that was killed holds its lock for 10 s."""
        until = time.monotonic() + 60
        while not self._begin(until):
            if time.monotonic() > until:
                raise AssertionError(f"the node does not start: {self.text()[-2000:]}")
            time.sleep(1)

    def _begin(self, until: float) -> bool:
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                ["node", "--require", str(self._polyfill), str(self._program)]
                + ["daemon", "--offline", "--enable-preload=false"],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while self._process.poll() is None and time.monotonic() < until:
            said = self._log.read_bytes()
            if _READY in said and (found := _LISTENS.search(said)):
                self.url = f"http://127.0.0.1:{int(found[1])}"
                # Whoever waits for it while it is down knows it by this address.
                self._configure(api_port=int(found[1]))
                return True
            time.sleep(0.1)
        self.kill()
        return False

    @property
    def _log(self) -> Path:
        return self._home / "daemon.log"

    def text(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def js_ipfs(program: Path, home: Path) -> Iterator[JsIpfs]:
    """A node that ends with the block."""
    node = JsIpfs(program, home)
    try:
        node.start()
        yield node
    finally:
        node.kill()
