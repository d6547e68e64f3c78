"""A real Redis and real workers as processes, for the integration and acceptance tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent

TIMING = {
    "lease_s": 2.0,
    "renew_s": 0.5,
    "stall_s": 5.0,
    "heartbeat_s": 1.0,
    "attention_s": 0.1,
    "reconcile_s": 0.3,
    "reconcile_lease_s": 2.0,
    "resend_after_s": 1.0,
    "redeliver_after_s": 0.5,
    "grace_s": 5.0,
    "engine_check_s": 0.2,
}


def write_config(home: Path, *, ledger_url: str | None = None, **more: str) -> Path:
    """A honeyflow.toml with fake models `fake-a` and `fake-b` and short timers."""
    for name in ("fake-a", "fake-b"):
        model = home / "models" / name
        model.mkdir(parents=True, exist_ok=True)
        (model / "config.json").write_text(json.dumps({"model_type": "fake"}))
    lines = [f'data_dir = "{home / "data"}"', 'node = "testnode"']
    if ledger_url is not None:
        lines.append(f'ledger_url = "{ledger_url}"')
    lines += [f"{key} = {value}" for key, value in more.items()]
    lines += ["[timing]", *(f"{name} = {value}" for name, value in TIMING.items())]
    for name in ("fake-a", "fake-b"):
        lines += [
            f"[models.{name}]",
            f'path = "{home / "models" / name}"',
            'engine = "fake"',
            "max_num_seqs = 16",
            "stuck_after_s = 2",
            f'options = {{ script = "{home / "models" / name / "script.json"}" }}',
        ]
        write_script(home, name, {})
    file = home / "honeyflow.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


def write_script(home: Path, model: str, script: Mapping[str, Any]) -> None:
    """Say how a fake model behaves from its next start on."""
    (home / "models" / model / "script.json").write_text(json.dumps(script))


class Worker:
    """One `celery -A tasks worker` process; `inside` is a command that runs it, as `unshare`."""

    def __init__(
        self,
        home: Path,
        options: Sequence[str],
        env: Mapping[str, str],
        *,
        inside: Sequence[str] = (),
    ) -> None:
        self.log = home / f"worker-{time.monotonic_ns()}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*inside, str(BIN / "celery"), "-A", "tasks", "worker", "-l", "INFO", *options],
                env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml"), **env},
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        """What it has logged so far."""
        return self.log.read_text(errors="replace")

    def wait_ready(self, timeout: float = 60.0) -> Worker:
        """Wait until Celery says that it is ready."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the worker ended: {self.text()[-4000:]}")
            return " ready." in self.text()

        wait_for(ready, timeout, lambda: self.text()[-4000:])
        return self

    def wait_exit(self, timeout: float = 30.0) -> int:
        """Wait until it has ended; gives its exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker does not end: {self.text()[-4000:]}") from None

    def signal(self, number: int) -> None:
        """Send a signal to its main process."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, and wait."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait_exit(timeout)
        finally:
            self.kill()


def wait_for(
    check: Callable[[], Any], timeout: float = 20.0, explain: Callable[[], str] = lambda: ""
) -> Any:
    """Wait until `check` gives something true; gives that."""
    until = time.monotonic() + timeout
    while True:
        if value := check():
            return value
        if time.monotonic() > until:
            raise AssertionError(f"not within {timeout} s. {explain()}")
        time.sleep(0.05)


@contextmanager
def running_redis(directory: Path) -> Iterator[None]:
    """The embedded Redis of a home, for as long as the block lasts."""
    from tasks import redis_server

    redis_server.start_detached(directory)
    try:
        yield
    finally:
        redis_server.stop_detached(directory)


def start_up(home: Path, *options: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """`honeyflow up` in a home, in a group of its own; what it prints is kept."""
    return subprocess.Popen(
        [str(BIN / "honeyflow"), "up", *options],
        env={**os.environ, **env},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def is_served(home: Path) -> bool:
    """Whether a worker of a home has found both its ledger and its Redis."""
    from tasks import ledger_id, settings

    theirs = settings.read({"HONEYFLOW_CONFIG": str(home / "honeyflow.toml")})
    with ledger_id.connect(theirs) as client:
        return bool(client.exists(ledger_id.KEY))
