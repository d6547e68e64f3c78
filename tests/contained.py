"""Runs Compose's services without Docker, fenced in by the kernel as their containers would be.

A service gets what its entry in the file says: its user, no capabilities, no new privileges, a root
file system that is read-only where it says so, its tmpfs, volumes and secrets at their places, its
environment and nothing else. All services share a network of their own, in which each is reached by
its name. What an image brings is this machine's instead: its programs and the virtual environment.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
_LOOPBACK_UP = (
    "import fcntl, socket, struct, sys; s = socket.socket(); "
    "fcntl.ioctl(s, 0x8914, struct.pack('16sh14x', b'lo', 0x41)); "
    "print(flush=True); sys.stdin.read()"
)


class Containers:
    """The services of a Compose file that has been read; `folder` is where it lies."""

    def __init__(
        self, file: Mapping[str, Any], folder: Path, home: Path, path: Sequence[Path]
    ) -> None:
        self._file = file
        self.folder = folder
        self._home = home
        self._path = ":".join(map(str, (BIN, *path, "/usr/local/bin", "/usr/bin", "/bin")))
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        self._network = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", _LOOPBACK_UP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._network.stdout is not None
        assert self._network.stdout.readline(), "no network of its own"

    def start(self, name: str, *, program: str | None = None) -> subprocess.Popen[bytes]:
        """Start a service; of some images the file has only the arguments, and they the program."""
        service = self._file["services"][name]
        words = [*service.get("entrypoint", [program] if program else []), *service["command"]]
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                self._words(name, words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started[name] = process
        return process

    def run(
        self, name: str, words: Sequence[str], timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a service runs its own: as `docker compose run` does."""
        return subprocess.run(
            self._words(name, words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def check(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a service's health check."""
        return self.run(name, self.health_words(name))

    def health_words(self, name: str) -> list[str]:
        """The command of a service's health check."""
        kind, *words = self._file["services"][name]["healthcheck"]["test"]
        return words if kind == "CMD" else ["/bin/sh", "-c", *words]

    def wait_said(self, name: str, words: str, timeout: float = 60) -> None:
        """Wait until a service says something."""
        until = time.monotonic() + timeout
        while words not in self.text(name):
            if self.started[name].poll() is not None or time.monotonic() > until:
                raise AssertionError(f"{name} did not say {words!r}:\n{self.text(name)[-4000:]}")
            time.sleep(0.05)

    def wait_healthy(self, name: str, timeout: float = 60) -> None:
        """Wait until a service that was started passes its health check."""
        until = time.monotonic() + timeout
        while (told := self.check(name)).returncode != 0:
            if self.started[name].poll() is not None or time.monotonic() > until:
                raise AssertionError(
                    f"{name}: {told.stdout}{told.stderr}\n{self.text(name)[-4000:]}"
                )
            time.sleep(0.1)

    def stop(self, name: str, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        """Send a service a signal and wait; gives its exit code."""
        process = self.started.pop(name)
        process.send_signal(number)
        try:
            return process.wait(timeout)
        finally:
            _kill_group(process)

    def log(self, name: str) -> Path:
        """Where what a service says goes."""
        return self._home / f"{name}.log"

    def text(self, name: str) -> str:
        """What a service has said so far."""
        return self.log(name).read_text(errors="replace")

    def close(self) -> None:
        """End everything."""
        for process in self.started.values():
            _kill_group(process)
        assert self._network.stdin is not None and self._network.stdout is not None
        self._network.stdin.close()
        self._network.stdout.close()
        self._network.wait(timeout=10)

    def _words(self, name: str, words: Sequence[str]) -> list[str]:
        script = self._home / f"{name}.sh"
        # Once: a shell reads its script while it runs.
        if not script.exists():
            script.write_text(self._script(name, self._file["services"][name]))
        return [
            *("nsenter", f"--net=/proc/{self._network.pid}/ns/net"),
            *("unshare", "--mount", "--uts", "--ipc", "bash", str(script), *words),
        ]

    def _script(self, name: str, service: Mapping[str, Any]) -> str:
        names = " ".join(self._file["services"])
        new = self._home / f"{name}.root"
        new.mkdir(exist_ok=True)
        lines = [
            "set -euo pipefail",
            "mount --make-rprivate /",
            f"cd {new}",
            "mount -t tmpfs tmpfs .",
            f"cd {new}",
            "mkdir upper work root",
            "mount -t overlay overlay -o lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work root",
            "for one in proc dev sys; do mount --rbind /$one root/$one; done",
            # The interpreter may lie there; in an image it would not.
            "chmod 755 root/root",
            f"echo 127.0.0.1 localhost {names} > root/etc/hosts",
            f"hostname {service.get('hostname', name)}",
        ]
        if name == "postgres":
            # Its image lends whoever makes the first database a name, by nss_wrapper.
            lines.append(f"echo {name}:x:{service['user']}::/:/bin/sh >> root/etc/passwd")
        lines += [_tmpfs(one) for one in service.get("tmpfs", ())]
        lines.append(
            _tmpfs(f"/dev/shm:mode=1777,size={service.get('shm_size', '64mb').rstrip('b')}")
        )
        for volume in sorted(service.get("volumes", ()), key=lambda one: one["target"]):
            source = (self.folder / volume["source"]).resolve()
            lines.append(_bind(source, volume["target"], volume.get("read_only", False)))
        for secret in service.get("secrets", ()):
            file = self.folder / self._file["secrets"][secret]["file"]
            lines.append(_bind(file.resolve(), f"/run/secrets/{secret}", read_only=True))
        if service.get("read_only"):
            lines.append("mount -o remount,ro root")
        return "\n".join([*lines, self._exec(service)])

    def _exec(self, service: Mapping[str, Any]) -> str:
        user, _, group = service["user"].partition(":")
        words = ["chroot", "root", "env", "--ignore-environment", f"PATH={self._path}"]
        image = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        words += [
            f"{key}={value}" for key, value in {**image, **service.get("environment", {})}.items()
        ]
        words += ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        if service.get("cap_drop") == ["ALL"]:
            words += ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
        if "no-new-privileges:true" in service.get("security_opt", ()):
            words += ["--no-new-privs"]
        return f'exec {shlex.join(words)} "$@"'


def _tmpfs(told: str) -> str:
    target, _, options = told.partition(":")
    return f"mkdir -p root{target} && mount -t tmpfs -o {options or 'mode=1777'} tmpfs root{target}"


def _bind(source: Path, target: str, read_only: bool) -> str:
    make = f"mkdir -p root{target}"
    if source.is_file():
        make = f"mkdir -p root{Path(target).parent} && touch root{target}"
    bind = f"mount --bind {shlex.quote(str(source))} root{target}"
    bind = f"[ -e root{target} ] || {{ {make}; }}; {bind}"
    return f"{bind}; mount -o remount,ro,bind root{target}" if read_only else bind


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(timeout=10)


def require_visible() -> None:
    """Skip a test whose services, with users and a /tmp of their own, would not see us."""
    for place in (Path(sys.prefix).resolve(), Path(__file__).resolve()):
        if place.is_relative_to("/tmp"):
            pytest.skip(f"{place} lies in /tmp, of which services have one of their own")
        for folder in place.parents:
            if not folder.stat().st_mode & 0o001:
                pytest.skip(f"{folder} is closed to the users that services run as")


def require_namespaces() -> None:
    """Skip a test where this user may not make namespaces and overlays."""
    require_visible()
    program = (
        "mkdir u w r && mount -t overlay o -o lowerdir=/,upperdir=u,workdir=w r && chroot r true"
    )
    words = ["unshare", "--mount", "--net", "--uts", "--ipc", "bash", "-ec"]
    scratch = (
        "cd /tmp && d=$(mktemp -d) && trap 'rmdir $d' EXIT && mount -t tmpfs t $d && cd $d && "
    )
    told = subprocess.run(
        [*words, f"{scratch}{program}; cd /; umount -R $d"], capture_output=True, text=True
    )
    if told.returncode:
        pytest.skip(f"namespaces and overlays need root: {told.stderr.strip()}")


def wait_until(check: Callable[[], Any], timeout: float = 30) -> Any:
    """Wait until `check` gives something true; gives that."""
    until = time.monotonic() + timeout
    while not (value := check()):
        assert time.monotonic() < until, f"not within {timeout} s"
        time.sleep(0.05)
    return value
