"""compose/systemd: what every unit has, and that each thing can be found wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.settings import Timing
from tests.compose_file import FOLDER

UNITS = sorted((FOLDER / "systemd").glob("*.service"))
TEXTS = {path.name: path.read_text() for path in UNITS}
HANDING_BACK_S = 10.0
Keys = dict[str, list[str]]
HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "ProtectProc": "invisible",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectControlGroups": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictRealtime": "yes",
    "LockPersonality": "yes",
    "KeyringMode": "private",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
    "User": "honeyflow",
}


RULES: dict[str, Callable[[Keys], bool]] = {
    "devices": lambda keys: (
        keys.get("PrivateDevices") == ["yes"] or keys.get("DevicePolicy") == ["closed"]
    ),
    "RestrictAddressFamilies": lambda keys: keys.get("RestrictAddressFamilies", [""])[0].startswith(
        "AF_UNIX AF_INET AF_INET6"
    ),
    "TimeoutStopSec": lambda keys: (
        float(keys.get("TimeoutStopSec", ["0"])[0]) >= Timing().grace_s + HANDING_BACK_S + 20
    ),
    "KillMode": lambda keys: keys.get("KillMode") == ["mixed"],
    "Restart": lambda keys: (
        (keys.get("Restart"), keys.get("RestartPreventExitStatus")) == (["on-failure"], ["2"])
    ),
    # What it needs may be away for hours; so it is tried for ever, and seldom.
    "StartLimit": lambda keys: (
        keys.get("StartLimitIntervalSec") == ["0"] and float(keys.get("RestartSec", ["0"])[0]) >= 15
    ),
    "EnvironmentFile": lambda keys: (
        "-/etc/honeyflow/honeyflow.env" in keys.get("EnvironmentFile", ())
    ),
    # It would take the shared memory of every other unit of this user with it.
    "RemoveIPC": lambda keys: "RemoveIPC" not in keys,
}


def read(text: str) -> Keys:
    """Each key's values, in order."""
    found: Keys = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith(("#", "[")):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def wrong(text: str) -> Iterator[str]:
    """What a unit lacks."""
    keys = read(text)
    yield from (key for key, value in HARDENED.items() if keys.get(key) != [value])
    yield from (key for key, holds in RULES.items() if not holds(keys))
    variables = " ".join(keys.get("Environment", ())).split()
    for name, _, value in (variable.partition("=") for variable in variables):
        if re.search(r"pass|secret|token|_URL", name, re.IGNORECASE):
            file = value.removeprefix("%d/")
            if f"{file}:/etc/honeyflow/secrets/{file}" not in keys.get("LoadCredential", ()):
                yield f"credential {name}"


@pytest.mark.parametrize("name", TEXTS)
def test_a_unit_has_all_that_it_should(name: str) -> None:
    """Hardening, time to end, restarts that respect exit codes, credentials."""
    assert [] == list(wrong(TEXTS[name]))


@pytest.mark.parametrize(
    "key",
    [
        *(*HARDENED, "TimeoutStopSec", "KillMode", "LoadCredential"),
        *("Restart", "RestartSec", "StartLimitIntervalSec", "RestartPreventExitStatus"),
    ],
)
def test_what_is_taken_away_is_missed(key: str) -> None:
    """Line by line."""
    text = re.sub(rf"^{key}=.*\n", "", TEXTS["honeyflow-worker@.service"], flags=re.MULTILINE)

    assert list(wrong(text))


def test_every_line_of_the_hardening_has_its_reason() -> None:
    """In the table of the documentation, and no others."""
    text = (Path(__file__).parents[3] / "docs" / "deployment.md").read_text()
    told = set(re.findall(r"^\| `(\w+)=", text, re.MULTILINE))
    sandbox = (*HARDENED, "RestrictAddressFamilies", "PrivateDevices", "DevicePolicy")

    assert {*sandbox, "MemoryDenyWriteExecute"} - {"User", "AmbientCapabilities"} <= told
    used = {key for one in TEXTS.values() for key in read(one)}
    assert told <= used


def test_there_is_one_unit_for_everything() -> None:
    """And a target that starts and stops what is enabled."""
    assert {
        *("honeyflow-worker@.service", "honeyflow-worker-cpu@.service"),
        *("honeyflow-maintenance.service", "honeyflow-beat.service", "honeyflow-metrics.service"),
        *("honeyflow-flower.service", "honeyflow-gateway.service"),
    } == set(TEXTS)
    assert all(["honeyflow.target"] == read(text)["PartOf"] for text in TEXTS.values())


def test_the_instance_is_the_card() -> None:
    """Its model is in a file of its own."""
    keys = read(TEXTS["honeyflow-worker@.service"])

    assert "--gpu %i --model ${MODEL}" in keys["ExecStart"][0]
    assert "/etc/honeyflow/gpu%i.env" in keys["EnvironmentFile"]
