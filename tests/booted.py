"""Boots systemd as the first process of namespaces of its own, with our units and nothing else's.

What a unit asks of systemd is done by the real one: users, credentials, sandboxes, restarts. The
root is an overlay over this machine's, so that whatever happens there is gone afterwards. Its
cgroups have no controllers: limits of memory are accepted and not enforced.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contained import require_visible

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "compose" / "systemd"
_TARGETS = ("sysinit", "basic", "shutdown", "network-online", "umount", "multi-user")
_LOOPBACK_UP = (
    "import fcntl, socket, struct; s = socket.socket(); "
    "fcntl.ioctl(s, 0x8914, struct.pack('16sh14x', b'lo', 0x41))"
)


class Machine:
    """A booted one; `files` are put below its root, with the modes that they need."""

    def __init__(self, home: Path, files: Mapping[str, tuple[int, str]]) -> None:
        self.home = home
        self.out = home / "out"
        self.out.mkdir()
        self._lay(files)
        script = home / "boot.sh"
        script.write_text(self._script())
        with (home / "console.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc"]
                + ["--cgroup", "--net", "bash", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._pid = self._first_process()
        until = time.monotonic() + 30
        while self.run("systemctl", "is-active", "--quiet", "basic.target").returncode:
            assert time.monotonic() < until, (home / "console.log").read_text()
            time.sleep(0.1)

    def run(self, *words: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on it, as root."""
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        return subprocess.run(
            [*enter, "--root", "--wd=/", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/bin", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "-P", name, unit).stdout.strip()

    def log(self, unit: str) -> str:
        """What a unit's processes have said."""
        file = self.out / f"{unit}.service.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def wait_said(self, unit: str, words: str, timeout: float = 60) -> None:
        """Wait until a unit's processes say something."""
        until = time.monotonic() + timeout
        while words not in self.log(unit):
            state = self.show(unit, "ActiveState")
            if state == "failed" or time.monotonic() > until:
                console = (self.home / "console.log").read_text(errors="replace")[-2000:]
                raise AssertionError(f"{unit} is {state}: {self.log(unit)[-4000:]}\n{console}")
            time.sleep(0.2)

    def close(self) -> None:
        """Switch it off."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=20)

    def _lay(self, files: Mapping[str, tuple[int, str]]) -> None:
        """What is put over this machine's root."""
        for name, (mode, text) in files.items():
            file = self.home / "files" / name.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(mode)
        units = self.home / "units"
        units.mkdir()
        for unit in UNITS.iterdir():
            shutil.copy(unit, units)
        for name in _TARGETS:
            needs = "Requires=sysinit.target\nAfter=sysinit.target\n" if name == "basic" else ""
            (units / f"{name}.target").write_text(f"[Unit]\nDefaultDependencies=no\n{needs}")
        (units / "service.d").mkdir()
        (units / "service.d" / "here.conf").write_text(
            "[Service]\nStandardOutput=append:/out/%n.log\nStandardError=append:/out/%n.log\n"
            "Environment=LD_LIBRARY_PATH=/opt/python/lib\n"
        )
        honeyflow = self.home / "honeyflow"
        (honeyflow / "bin").mkdir(parents=True)
        self._environment(honeyflow)

    def _environment(self, place: Path) -> None:
        """This virtual environment once more, where the units look for one."""
        (place / "lib").symlink_to(Path(sys.prefix) / "lib")
        (place / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
        python = Path(sys.executable).resolve()
        (place / "bin" / "python").symlink_to(Path("/opt/python/bin") / python.name)
        for name, module in (("celery", "celery.__main__"), ("honeyflow", "cli.main")):
            file = place / "bin" / name
            file.write_text(
                f"#!/opt/honeyflow/bin/python\nimport sys\nfrom {module} import main\n"
                "if __name__ == '__main__':\n    sys.exit(main())\n"
            )
            file.chmod(0o755)

    def _script(self) -> str:
        return f"""set -euo pipefail
{sys.executable} -c "{_LOOPBACK_UP}"
mount --make-rprivate /
cd {self.home}
mkdir -p machine
mount -t tmpfs tmpfs machine
cd machine
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=$PWD/upper,workdir=$PWD/work root
cd root
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
umount -R sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount --bind {self.home}/units usr/lib/systemd/system
mkdir -p opt/honeyflow opt/python out
mount --bind {self.home}/honeyflow opt/honeyflow
mount --bind {sys.base_prefix} opt/python
mount --bind {self.out} out
rm -rf etc/systemd/system/*
echo honeyflow:x:10001:10001::/nonexistent:/usr/sbin/nologin >> etc/passwd
echo honeyflow:x:10001: >> etc/group
cp -a {self.home}/files/. .
mkdir old
pivot_root . old
umount -l old
mount --make-rshared /
export container=other
exec /lib/systemd/systemd --system --unit=basic.target --log-target=console --show-status=no
"""

    def _first_process(self) -> int:
        """The process that is number 1 there, seen from here."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        until = time.monotonic() + 10
        while not (found := children.read_text().split()):
            assert time.monotonic() < until
            time.sleep(0.05)
        return int(found[0])


def require_systemd() -> None:
    """Skip a test where systemd cannot be booted."""
    require_visible()
    if any(Path(sys.prefix).resolve().is_relative_to(home) for home in ("/home", "/root")):
        pytest.skip(f"{sys.prefix} lies in a home, which the units do not see")
    if not Path("/lib/systemd/systemd").exists():
        pytest.skip("systemd is not installed")
    words = ["unshare", "--fork", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--net"]
    script = (
        "mount --make-rprivate / && mkdir -p /sys/fs/cgroup && mount -t cgroup2 c /sys/fs/cgroup"
    )
    told = subprocess.run(
        [*words, "bash", "-c", f"{script} && mkdir /sys/fs/cgroup/t && rmdir /sys/fs/cgroup/t"],
        capture_output=True,
        text=True,
    )
    if told.returncode:
        pytest.skip(f"namespaces and cgroups need root: {told.stderr.strip()}")


def wait_until(check: Callable[[], Any], timeout: float = 30) -> Any:
    """Wait until `check` gives something true; gives that."""
    until = time.monotonic() + timeout
    while not (value := check()):
        assert time.monotonic() < until, f"not within {timeout} s"
        time.sleep(0.1)
    return value
