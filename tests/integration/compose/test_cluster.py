"""Our services, run by the commands, the environment and the confinement of the Compose file."""

from __future__ import annotations

import base64
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.contained import Containers, wait_until
from tests.integration.compose.conftest import BROKER_AND_LEDGER, OURS, has_program

FETCH = """
import base64, json, sys, urllib.request, urllib.error
told = []
for address in sys.argv[2:]:
    request = urllib.request.Request(address)
    if sys.argv[1]:
        word = "honeyflow:" + open(sys.argv[1]).read().strip()
        request.add_header("Authorization", "Basic " + base64.b64encode(word.encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            told.append((answer.status, answer.read().decode()))
    except urllib.error.HTTPError as error:
        told.append((error.code, error.read().decode()))
print(json.dumps(told))
"""
pytestmark = pytest.mark.slow


def fetch(
    cluster: Containers, service: str, *addresses: str, password: str = ""
) -> list[tuple[int, str]]:
    """Ask for pages from within a service's container."""
    told = cluster.run(service, ["python", "-c", FETCH, password, *addresses])
    assert told.stdout, told.stderr
    return [(status, text) for status, text in json.loads(told.stdout)]


def test_a_job_is_answered_and_signed(cluster: Containers) -> None:
    """By the shipped model on the CPU, with a receipt of the key that its passphrase unlocks."""
    findings = "L4-L5: broad disc bulge with moderate bilateral facet arthropathy."
    told = cluster.run("cli", ["honeyflow", "infer", "queenbee-spine", findings, "--timeout", "60"])

    assert told.returncode == 0, told.stdout + told.stderr
    assert re.search(r"receipt sha256:[0-9a-f]{64}", told.stdout + told.stderr)
    (key,) = Path(cluster.folder / "data" / "keys").glob("cpu@*/bee_key")
    assert b"aes256" in base64.b64decode("".join(key.read_text().splitlines()[1:-1]))


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_confined(cluster: Containers, name: str) -> None:
    """No root, no capability, no way to get one."""
    status = Path(f"/proc/{cluster.started[name].pid}/status").read_text()
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)

    assert "0" not in found["Uid"].split()
    assert {"0" * 16} == {found[f"Cap{which}"] for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
    assert "1" == found["NoNewPrivs"]


@pytest.mark.parametrize("name", [*BROKER_AND_LEDGER, *OURS])
def test_no_password_can_be_seen_from_outside(cluster: Containers, name: str) -> None:
    """Neither in what a process was started with nor in what it says."""
    secrets = Path(cluster.folder / "secrets")
    words = [(secrets / secret).read_text().strip() for secret in secrets_of_people(secrets)]
    process = Path(f"/proc/{cluster.started[name].pid}")
    shown = (process / "cmdline").read_text() + (process / "environ").read_text()

    assert words
    assert [] == [word for word in words if word in shown + cluster.text(name)]


def secrets_of_people(secrets: Path) -> list[str]:
    """Those that are a password and nothing else."""
    return [path.name for path in secrets.iterdir() if path.name.endswith(("word", "phrase"))]


def test_flower_asks_for_the_password(cluster: Containers) -> None:
    """All but its health check."""
    pages = ("workers", "tasks", "metrics", "api/workers", "healthcheck")
    addresses = [f"http://flower:5555/{page}" for page in pages]
    password = "/run/secrets/flower_password"

    assert [401, 401, 401, 401, 200] == [one[0] for one in fetch(cluster, "flower", *addresses)]
    told = wait_until(
        lambda: (
            found
            if "cpu@" in (found := fetch(cluster, "flower", *addresses, password=password))[0][1]
            else None
        )
    )
    # Its API is for whoever may control it as well.
    assert [200, 200, 200] == [told[index][0] for index in (0, 1, 2)]


def test_the_numbers_are_served(cluster: Containers) -> None:
    """For Prometheus, under the name that its configuration has."""
    ((status, text),) = fetch(cluster, "prometheus", "http://metrics:9464/metrics")

    assert 200 == status
    assert "# TYPE swarmos_worker_info gauge" in text


def test_prometheus_accepts_its_configuration_and_our_rules(cluster: Containers) -> None:
    """At the places where its container has them."""
    has_program("promtool")
    told = cluster.run(
        "prometheus", ["promtool", "check", "config", "/etc/prometheus/prometheus.yml"]
    )

    assert told.returncode == 0, told.stdout + told.stderr
    assert "rules found" in told.stdout


def test_alertmanager_accepts_its_configuration(containers: Containers) -> None:
    """At the place where its container has it."""
    has_program("amtool")
    file = "/etc/alertmanager/alertmanager.yml"
    told = containers.run("alertmanager", ["amtool", "check-config", file])

    assert told.returncode == 0, told.stdout + told.stderr


def test_prometheus_scrapes_and_finds_alertmanager(cluster: Containers) -> None:
    """Both with the arguments of the file, on a read-only file system."""
    has_program("prometheus", "prometheus-alertmanager")
    cluster.start("alertmanager", program="prometheus-alertmanager")
    cluster.start("prometheus", program="prometheus")
    try:
        cluster.wait_healthy("alertmanager")
        cluster.wait_healthy("prometheus")
        address = "http://prometheus:9090/api/v1"

        def ask(what: str) -> Any:
            ((_, text),) = fetch(cluster, "metrics", f"{address}/{what}")
            return json.loads(text)["data"]

        def up() -> bool:
            targets = ask("targets")
            health = {one["labels"]["job"]: one["health"] for one in targets["activeTargets"]}
            return set(health.values()) == {"up"} and {"honeyflow", "alertmanager"} <= set(health)

        wait_until(up, 40)
        found = ask("alertmanagers")
        assert "http://alertmanager:9093/api/v2/alerts" == found["activeAlertmanagers"][0]["url"]
        rules = ask("rules")["groups"]
        assert rules
        assert [] == [rule for group in rules for rule in group["rules"] if rule.get("lastError")]
    finally:
        ended = {name: cluster.stop(name) for name in ("prometheus", "alertmanager")}
    assert {"prometheus": 0, "alertmanager": 0} == ended


@pytest.mark.parametrize("name", ["flower", "metrics", "worker-cpu", "beat", "maintenance"])
def test_a_service_ends_when_it_is_told(cluster: Containers, name: str) -> None:
    """In time, and with 0, so that nobody takes it for a crash."""
    ended = cluster.stop(name, signal.SIGTERM, timeout=40)

    assert 0 == ended, cluster.text(name)[-2000:]
