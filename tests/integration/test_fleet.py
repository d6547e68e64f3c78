"""What a fleet says of itself: real workers, their heartbeats, their states, and their silence."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pty
import select
import signal
import subprocess
import termios
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app
from ledger import EventRow, WorkerRow, bookmarks, events, workers
from monitoring.heartbeat import Heartbeat
from tasks import infer, ledger_id, maintenance, worker_hash
from tasks.client import Client
from tests import nvml
from tests.integration.scripts import SLOW, YES, state_of
from tests.stack import BIN, TIMING, Worker, wait_for

Start = Callable[..., Worker]
STALE_S = 2.0
LOADS = {"load": {"seconds": 1.0}, "rules": SLOW["rules"]}
FAILS = {"load": {"fails": "start", "message": "no such weights"}}
DIES = {"rules": [{"do": "die", "message": "out of luck"}]}


@pytest.fixture
def name() -> str:
    """A worker's name that no other test has."""
    return f"w{uuid.uuid4().hex[:8]}@testnode"


@pytest.fixture
def begin(start: Start, name: str) -> Callable[..., Worker]:
    """Starts the worker of that name."""

    def begun(script: dict[str, Any] = YES, **more: Any) -> Worker:
        return start("--device", "cpu", "--model", "fake-a", "-n", name, script=script, **more)

    return begun


@pytest.fixture
def impatient(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process's sweeps find a worker stale after two seconds."""
    timing = dataclasses.replace(client.settings.timing, stale_s=STALE_S)
    settings = dataclasses.replace(client.settings, timing=timing)
    monkeypatch.setattr(client, "settings", settings)


def run(*words: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(app, ["workers", *words])


def row_of(client: Client, name: str) -> WorkerRow:
    """A worker's row."""
    with client.ledger.read() as tx:
        return next(row for row in workers.list(tx) if row.worker == name)


def told_of(client: Client, name: str) -> list[EventRow]:
    """A worker's events."""
    with client.ledger.read() as tx:
        return [event for event in events.after(tx, 0, limit=100_000) if event.subject == name]


def kinds_of(client: Client, name: str) -> list[str]:
    """The kinds of a worker's events, in order."""
    return [event.kind for event in told_of(client, name)]


class Watcher:
    """Looks at a worker's state as often as it can and keeps every change."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._name = name
        self.seen: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.01):
            with self._client.ledger.read() as tx:
                states = [row.state for row in workers.list(tx) if row.worker == self._name]
            if states and states != self.seen[-1:]:
                self.seen += states

    def stop(self) -> list[str]:
        """Stop looking; gives what was seen."""
        self._over.set()
        self._thread.join()
        return self.seen


@pytest.fixture
def watcher(client: Client, name: str) -> Iterator[Watcher]:
    """Watches the worker of that name from before its start."""
    made = Watcher(client, name)
    yield made
    made.stop()


def test_a_workers_life_is_told_state_by_state(
    client: Client, begin: Callable[..., Worker], name: str, watcher: Watcher
) -> None:
    """Starting, loading, idle, busy, drained, taken back, stopping, stopped; and its events."""
    worker = begin(LOADS)
    wait_for(lambda: watcher.seen[-1:] == ["idle"])
    long = infer.delay(model="fake-a", prompt="LONG")
    wait_for(lambda: watcher.seen[-1:] == ["busy"])
    client.cancel(long.id)
    wait_for(lambda: watcher.seen[-1:] == ["idle"])
    with client.ledger.write() as tx:
        workers.set_flag(tx, name, drain=True)
    wait_for(lambda: watcher.seen[-1:] == ["draining"], timeout=5)
    with client.ledger.write() as tx:
        workers.set_flag(tx, name, drain=False)
    wait_for(lambda: watcher.seen[-1:] == ["idle"], timeout=5)
    short = infer.delay(model="fake-a", prompt="SHORT")
    wait_for(lambda: state_of(client, short.id) == "running")

    assert 0 == worker.stop()
    wait_for(lambda: watcher.seen[-1:] == ["stopped"])

    seen = [state for state in watcher.stop() if state != "busy"]
    assert ["starting", "loading", "idle", "draining", "idle", "stopping", "stopped"] == [
        state for place, state in enumerate(seen) if state != seen[place - 1] or place == 0
    ]
    assert ["model_loaded", "worker_started", "worker_stopped"] == kinds_of(client, name)
    loaded = told_of(client, name)[0].details
    assert "fake-a" == loaded["model"]
    assert 1.0 <= loaded["seconds"] < 30
    assert 1 == len([line for line in run("--once").stdout.splitlines() if f"{name}" in line])


def test_a_heartbeat_tells_what_was_done_since_the_last(
    client: Client, begin: Callable[..., Worker], name: str
) -> None:
    """Tokens, progress, tags, cost, the machine; and a copy in Redis that goes by itself."""
    worker = begin(env={"WORKER_TAGS": "fast, eu", "WORKER_COST_PER_HOUR": "2.5"})
    asked = time.time()
    infer.delay(model="fake-a", prompt="x").get(timeout=10)

    def told() -> Heartbeat | None:
        beat = Heartbeat.from_facts(row_of(client, name).facts)
        return beat if beat.progress_at is not None else None

    beat: Heartbeat = wait_for(told)

    assert asked <= beat.progress_at <= time.time()  # type: ignore[operator]
    assert ("fake-a", "fake", "cpu", 20, 0) == (
        beat.model,
        beat.engine,
        beat.backend,
        beat.places,
        beat.in_flight,
    )
    assert (("fast", "eu"), 2.5, True) == (beat.tags, beat.cost_per_hour, beat.engine_up)
    assert beat.logged_errors == 0
    assert 0 < (beat.host.memory_available_bytes or 0) <= (beat.hardware.memory_total_bytes or 0)
    assert 0 < (beat.host.disk_available_bytes or 0) <= (beat.hardware.disk_total_bytes or 0)
    with ledger_id.connect(client.settings) as redis:
        copied: Any = redis.hgetall(worker_hash.key(name))
        assert 100 < int(redis.ttl(worker_hash.key(name))) <= 120  # type: ignore[arg-type]
    assert (b"fake-a", b"fast,eu", b"2.5") == (
        copied[b"model"],
        copied[b"tags"],
        copied[b"cost_per_hour"],
    )
    assert int(copied[b"host.memory_available_bytes"]) > 0
    worker.kill()


def test_a_worker_is_stale_for_as_long_as_it_is_silent(
    client: Client, begin: Callable[..., Worker], name: str
) -> None:
    """One that was only slow returns; tokens are counted from heartbeat to heartbeat meanwhile."""
    begin()

    def rate() -> float:
        return Heartbeat.from_facts(row_of(client, name).facts).tokens_per_s or 0.0

    client.submit_many([{"model": "fake-a", "prompt": f"{n}"} for n in range(20)])
    wait_for(lambda: rate() > 0)
    wait_for(lambda: rate() == 0)
    with client.ledger.write() as tx:
        assert name in workers.sweep(tx, stale_after=0.0)
        assert name not in workers.sweep(tx, stale_after=0.0)

    wait_for(lambda: row_of(client, name).state == "idle")
    assert ["worker_stale", "worker_returned"] == kinds_of(client, name)[-2:]


def test_a_killed_worker_is_stale_until_it_returns_and_gone_when_forgotten(
    client: Client, begin: Callable[..., Worker], name: str, impatient: None
) -> None:
    """An event with its last facts; the living are not forgotten; the dead are, everywhere."""
    worker = begin()
    assert "WORKER_ALIVE" == getattr(run("forget", name).exception, "code", None)
    maintenance.sweep_workers()
    assert "stale" != row_of(client, name).state

    worker.kill()
    wait_for(lambda: maintenance.sweep_workers() and row_of(client, name).state == "stale")

    stale, unwell = told_of(client, name)[-2:]
    assert ("worker_stale", "worker_failed") == (stale.kind, unwell.kind)
    assert "fake-a" == stale.details["facts"]["model"]
    assert "heartbeat" == unwell.details["check"]
    assert "stale" in next(line for line in run("--once").stdout.splitlines() if name in line)
    with client.ledger.read() as tx:
        assert (found := bookmarks.get(tx, "beat")) is not None
        assert tx.now - found.at < 5

    again = begin()
    assert ["worker_returned", "model_loaded", "worker_started"] == kinds_of(client, name)[-3:]
    again.stop()
    with ledger_id.connect(client.settings) as redis:
        assert b"stopped" == redis.hget(worker_hash.key(name), "state")
        assert 0 == run("forget", name).exit_code
        assert not redis.exists(worker_hash.key(name))
    assert name not in run("--once").stdout
    assert "WORKER_UNKNOWN" == getattr(run("forget", name).exception, "code", None)


@pytest.mark.parametrize("how", ["engine", "start"])
def test_a_worker_whose_engine_fails_has_failed(
    client: Client, begin: Callable[..., Worker], name: str, how: str
) -> None:
    """Whether it dies later or never comes up; the sweep leaves that state as it is."""
    worker = begin(FAILS if how == "start" else DIES, ready=how == "engine")
    if how == "engine":
        infer.delay(model="fake-a", prompt="x", policy="fixed:1")

    assert 1 == worker.wait_exit()

    assert "failed" == row_of(client, name).state
    last = told_of(client, name)[-1]
    if how == "engine":
        assert ("worker_failed", "engine") == (last.kind, last.details["check"])
        assert "out of luck" in last.details["reason"]
    else:
        assert ("start_failed", "ENGINE_START_FAILED") == (last.kind, last.details["code"])
    with client.ledger.write() as tx:
        assert name not in workers.sweep(tx, stale_after=0.0)


@pytest.mark.skipif(nvml.compiler() is None, reason="a C compiler is needed for pretended cards")
def test_a_workers_card_is_seen_from_the_heartbeat_to_the_table(
    client: Client, start: Start, tmp_path: Path
) -> None:
    """The real pynvml; only its own card; a fault and a loss are events, and it works on."""
    nvml.build(tmp_path)
    own = dataclasses.replace(nvml.TWO_GPUS[0], temperature=77, energy=9_000_000, xids=[13])
    other = dataclasses.replace(nvml.TWO_GPUS[1], temperature=33)
    state = nvml.write_state(tmp_path / "state", [own, other])
    start("--gpu", "0", "--model", "fake-a", script=YES, env=nvml.environment(tmp_path, state))
    name = "gpu-GPU-5fd4f087@testnode"

    def readings() -> list[dict[str, Any]]:
        return list(row_of(client, name).facts["readings"])

    def told_now() -> list[dict[str, Any]]:
        return list(row_of(client, name).facts.get("readings", []))

    (first,) = readings()
    assert (own.uuid, "0", 77, 72.5, 9000.0) == (
        first["uuid"],
        first["gpu"],
        first["temperature_celsius"],
        first["power_watts"],
        first["energy_joules"],
    )
    hardware = row_of(client, name).facts["hardware"]
    assert ("Pretended RTX 6000", "580.65.06") == (hardware["gpu_name"], hardware["driver"])
    table = run("--once").stdout
    assert all(word in table for word in ("0: 77 °C", "30 %", "1.0/96 GB")), table
    (line,) = [one for one in json.loads(run("--json").stdout)["workers"] if one["worker"] == name]
    assert 77 == line["readings"][0]["temperature_celsius"]

    hot = dataclasses.replace(own, temperature=91, xids=[13, 79])
    nvml.write_state(state, [hot, other])
    wait_for(lambda: readings()[0].get("temperature_celsius") == 91)
    assert {"79": 1} == readings()[0]["xid"]
    nvml.write_state(state, [dataclasses.replace(hot, lost=1), other])
    wait_for(lambda: "temperature_celsius" not in readings()[0])

    told = {event.kind: event.details for event in told_of(client, name)}
    assert {"gpu": "0", "uuid": own.uuid, "xid": 79, "times": 1} == told["xid"]
    assert {"gpu": "0", "uuid": own.uuid} == told["gpu_lost"]
    assert "yes" == infer.delay(model="fake-a", prompt="y").get(timeout=10)["answer"]
    nvml.write_state(state, [hot, other])
    wait_for(lambda: readings()[0].get("temperature_celsius") == 91)
    nvml.write_state(state, [hot, other], hang=True)
    wait_for(lambda: not told_now())
    facts = row_of(client, name).facts
    assert facts["machine_age_s"] > 3 * TIMING["heartbeat_s"]
    assert "memory_available_bytes" not in facts["host"]
    assert ("Pretended RTX 6000", True) == (facts["hardware"]["gpu_name"], facts["engine_up"])
    assert "not read" in next(x for x in run("--once").stdout.splitlines() if name in x)
    with ledger_id.connect(client.settings) as redis:
        # A driver that hangs does not keep the copy from going on.
        before = redis.hget(worker_hash.key(name), "seen_at")
        wait_for(lambda: redis.hget(worker_hash.key(name), "seen_at") != before)
    nvml.write_state(state, [hot, other])
    wait_for(lambda: [91] == [one.get("temperature_celsius") for one in told_now()])
    nvml.write_state(state, [hot, other], init_error=9)
    assert "yes" == infer.delay(model="fake-a", prompt="z").get(timeout=10)["answer"]
    assert TIMING["heartbeat_s"] * 10 > time.time() - (row_of(client, name).seen_at or 0)


@pytest.mark.skipif(nvml.compiler() is None, reason="a C compiler is needed for pretended cards")
def test_a_fault_that_kills_the_engine_is_told_though_no_heartbeat_was_due(
    client: Client, start: Start, tmp_path: Path
) -> None:
    """The card is looked at once more before the last word."""
    nvml.build(tmp_path)
    card = dataclasses.replace(nvml.TWO_GPUS[1], xids=[])
    state = nvml.write_state(tmp_path / "state", [card])
    env = {**nvml.environment(tmp_path, state), "HONEYFLOW_TIMING": "heartbeat_s=600"}
    worker = start("--gpu", "0", "--model", "fake-a", script=DIES, env=env)
    name = "gpu-GPU-a1b2c3d4@testnode"
    nvml.write_state(state, [dataclasses.replace(card, xids=[79])])

    infer.delay(model="fake-a", prompt="x", policy="fixed:1")

    assert 1 == worker.wait_exit()
    assert ["engine_lost", "xid", "worker_failed"] == kinds_of(client, name)[-3:]
    assert {"79": 1} == row_of(client, name).facts["readings"][0]["xid"]


def test_the_table_is_live_on_a_terminal_until_it_is_left(
    client: Client, home: Path, name: str
) -> None:
    """A worker that is heard of while somebody looks appears; Ctrl-C is no error."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 160))
    looking = subprocess.Popen(
        # A run that a script started in the background has Ctrl-C switched off.
        ["env", "--default-signal=INT", str(BIN / "honeyflow"), "workers"],
        env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml"), "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = ""

    def shows(word: str) -> bool:
        nonlocal shown
        # There is nothing to read any more once it has left.
        with contextlib.suppress(OSError):
            while select.select([master], [], [], 0)[0]:
                shown += os.read(master, 65536).decode(errors="replace")
        return word in shown

    try:
        wait_for(lambda: shows("Ctrl-C ends this."))
        with client.ledger.write() as tx:
            workers.beat(tx, worker=name, session="s", state="busy", facts={"model": "fake-a"})
        wait_for(lambda: shows(name))
        looking.send_signal(signal.SIGINT)
        # What it still writes has to be read, or it waits for that.
        wait_for(lambda: not shows("\0") and looking.poll() is not None)
        assert 0 == looking.returncode
    finally:
        looking.kill()
        looking.wait()
        os.close(master)
        run("forget", name)
