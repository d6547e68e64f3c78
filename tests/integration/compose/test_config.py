"""Docker Compose accepts our file, reads it as our tests do, and refuses broken ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import compose_file, docker_compose

ALL = ("cpu", "cli", "gateway", *(f"gpu{index}" for index in range(8)))
DEVICE = 'device_ids: ["${HONEYFLOW_GPU0_UUID:-}"], capabilities: [gpu, compute, utility]'
BREAKS = {
    "misspelt key": ("    hostname: redis\n", "    hostnam: redis\n", "hostnam"),
    "missing capabilities": (
        DEVICE,
        'device_ids: ["${HONEYFLOW_GPU0_UUID:-}"]',
        "capabilities is required",
    ),
    "count with device_ids": (DEVICE, f"count: 1, {DEVICE}", "exclusive"),
    "unknown service key": (
        "    hostname: postgres\n",
        "    hostname: postgres\n    gpus_please: all\n",
        "gpus_please",
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """compose/ after its init, at a place in a tree of its own."""
    return compose_file.init(tmp_path)


def test_compose_accepts_every_profile(folder: Path) -> None:
    """Alone and all together."""
    for profiles in (("cpu",), ("gpu0",), ALL):
        words = [word for one in profiles for word in ("--profile", one)]
        told = docker_compose.config(folder / "docker-compose.yml", "--quiet", before=words)

        assert (told.returncode, told.stdout, told.stderr) == (0, "", ""), profiles


def test_compose_reads_it_as_our_tests_do(folder: Path) -> None:
    """What the other tests say of services they say of what Compose starts."""
    words = [word for one in ALL for word in ("--profile", one)]
    told = docker_compose.config(folder / "docker-compose.yml", "--format=json", before=words)
    theirs = json.loads(told.stdout)["services"]
    ours = compose_file.load(folder, compose_file.read_env(folder))["services"]

    assert set(ours) == set(theirs)
    for name, service in ours.items():
        assert comparable(service) == comparable(theirs[name]), name


def comparable(service: dict[str, Any]) -> dict[str, Any]:
    """What both write the same way."""
    simple = ("image", "command", "entrypoint", "user", "read_only", "cap_drop", "init", "hostname")
    secrets = [one if isinstance(one, str) else one["source"] for one in service.get("secrets", ())]
    return {
        **{key: service.get(key) for key in (*simple, "security_opt", "tmpfs", "profiles")},
        "environment": service.get("environment", {}),
        "secrets": secrets,
        "networks": sorted(service.get("networks", ())),
        "targets": sorted(volume["target"] for volume in service.get("volumes", ())),
        "depends_on": {k: v["condition"] for k, v in service.get("depends_on", {}).items()},
        # What a shell is to expand, Compose writes as it was read.
        "test": json.dumps(service.get("healthcheck", {}).get("test")).replace("$$", "$"),
    }


@pytest.mark.parametrize("name", BREAKS)
def test_compose_refuses_a_broken_file(folder: Path, name: str) -> None:
    """And names what is wrong with it."""
    old, new, reason = BREAKS[name]
    file = folder / "docker-compose.yml"
    text = file.read_text()
    assert 1 == text.count(old), old
    file.write_text(text.replace(old, new))

    told = docker_compose.config(file, "--quiet", before=["--profile", "gpu0"])

    assert told.returncode != 0
    assert reason in told.stderr


def test_compose_refuses_to_start_before_init(tmp_path: Path) -> None:
    """Nothing runs as nobody in particular, and nothing without passwords."""
    told = docker_compose.config(compose_file.FOLDER / "docker-compose.yml", "--quiet")

    assert told.returncode != 0
    assert re.search(r"run \./init first", told.stderr)
