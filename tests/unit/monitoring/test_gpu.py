"""The inventory: the real pynvml, over a pretended NVML library, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import nvml

pytestmark = pytest.mark.skipif(
    nvml.compiler() is None and "CI" not in os.environ,
    reason="a C compiler is needed to build the pretended NVML library",
)

SURVEY = """
import dataclasses, json
from monitoring import MonitoringError, inventory, readings, survey_gpus

def told(question):
    try:
        return [dataclasses.asdict(each) for each in question()]
    except MonitoringError as error:
        return {"code": error.code, "message": error.message, "do": error.suggested_action,
                **error.details}

survey = survey_gpus()
print(json.dumps({"inventory": told(inventory), "readings": told(readings),
                  "driver": survey.driver_version, "lost": survey.lost}))
"""
PLACE = """
import sys
from monitoring import inventory
from routing import place
print(place(sys.argv[1], inventory=inventory()).cuda_visible_devices)
"""
GB = nvml.GB
FIRST, SECOND = nvml.TWO_GPUS

Look = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pretended library."""
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def look(library: Path, tmp_path: Path) -> Look:
    """Survey a machine with these cards, in a process of its own."""

    def survey(*gpus: nvml.FakeGpu, init_error: int = 0) -> dict[str, Any]:
        state = nvml.write_state(tmp_path / "cards", gpus, init_error=init_error)
        told: dict[str, Any] = json.loads(run(SURVEY, nvml.environment(library, state)))
        return told

    return survey


def run(program: str, environment: dict[str, str], *arguments: str) -> str:
    """Run a Python program with warnings as errors and return what it prints."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def test_every_gpu_is_listed_with_its_memory(look: Look) -> None:
    """Index, UUID, name, and bytes as NVML has them."""
    told = look(FIRST, SECOND)
    assert told["driver"] == "580.65.06"
    assert told["lost"] == []
    assert [gpu["uuid"] for gpu in told["inventory"]] == [FIRST.uuid, SECOND.uuid]
    assert told["inventory"][0] == {
        "index": 0,
        "uuid": FIRST.uuid,
        "name": "Pretended RTX 6000",
        "total_bytes": 96 * GB,
        "free_bytes": 95 * GB,
        "mig_enabled": False,
        "parent": None,
        "mig_index": None,
    }


def test_readings_are_in_the_units_they_are_named_for(look: Look) -> None:
    """Watts and not milliwatts, a ratio and not a percentage."""
    assert look(FIRST)["readings"] == [
        {
            "index": 0,
            "uuid": FIRST.uuid,
            "name": "Pretended RTX 6000",
            "memory_used_bytes": 1 * GB,
            "memory_total_bytes": 96 * GB,
            "temperature_celsius": 41,
            "power_watts": 72.5,
            "utilization_ratio": 0.3,
        }
    ]


def test_what_a_card_does_not_tell_is_none(look: Look) -> None:
    """A missing sensor makes neither a zero nor an error."""
    bare = nvml.FakeGpu(
        uuid="GPU-0", total=None, used=None, temperature=None, power=None, utilization=None
    )
    told = look(bare)
    assert told["inventory"][0]["total_bytes"] is None
    assert told["inventory"][0]["free_bytes"] is None
    silent = {"memory_used_bytes", "temperature_celsius", "power_watts", "utilization_ratio"}
    assert {told["readings"][0][name] for name in silent} == {None}


def test_mig_devices_follow_their_parent(look: Look) -> None:
    """Each with its own UUID and memory, and the parent's index."""
    parts = (nvml.FakePart(uuid="MIG-1"), nvml.FakePart(uuid="MIG-2", total=20 * GB, used=5 * GB))
    told = look(FIRST, nvml.FakeGpu(uuid="GPU-c0ffee", parts=parts))["inventory"]
    assert [gpu["uuid"] for gpu in told] == [FIRST.uuid, "GPU-c0ffee", "MIG-1", "MIG-2"]
    assert [gpu["mig_enabled"] for gpu in told] == [False, True, False, False]
    assert told[3]["index"] == 1
    assert told[3]["mig_index"] == 1
    assert told[3]["parent"] == "GPU-c0ffee"
    assert told[3]["free_bytes"] == 15 * GB


def test_a_card_that_fell_off_the_bus_hides_no_other(look: Look) -> None:
    """The others are listed, and it is named as lost."""
    told = look(FIRST, nvml.FakeGpu(uuid="GPU-dead", lost=1), SECOND)
    assert [gpu["index"] for gpu in told["inventory"]] == [0, 2]
    assert [reading["index"] for reading in told["readings"]] == [0, 2]
    assert told["lost"] == ["GPU 1 does not answer: GPU is lost."]


def test_a_machine_without_cards_has_an_empty_inventory(look: Look) -> None:
    """A driver without a GPU is no error."""
    told = look()
    assert told["inventory"] == []
    assert told["driver"] == "580.65.06"


@pytest.mark.parametrize(
    ("code", "action"),
    [(9, "modprobe"), (18, "reboot"), (4, "/dev/nvidiactl"), (999, "nvidia-smi")],
)
def test_a_driver_that_does_not_work_is_told_with_what_to_do(
    look: Look, code: int, action: str
) -> None:
    """Not loaded, of another version, not permitted, and whatever else NVML may say."""
    told = look(FIRST, init_error=code)
    assert told["inventory"]["code"] == "NVML_UNAVAILABLE"
    assert told["inventory"]["nvml_error"] == code
    assert action in told["inventory"]["do"]
    assert told["readings"]["code"] == "NVML_UNAVAILABLE"
    assert told["driver"] is None


def test_a_library_that_is_not_one_counts_as_none(tmp_path: Path) -> None:
    """A damaged file named like the library is no crash."""
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"no shared object")
    told = json.loads(run(SURVEY, {"LD_LIBRARY_PATH": str(tmp_path)}))
    assert told["inventory"]["code"] == "NVML_UNAVAILABLE"
    assert "--device cpu" in told["inventory"]["do"]


def test_an_inventory_is_what_a_placement_is_made_of(library: Path, tmp_path: Path) -> None:
    """The words of the command line become the value of CUDA_VISIBLE_DEVICES."""
    state = nvml.write_state(tmp_path / "cards")
    environment = nvml.environment(library, state)
    assert run(PLACE, environment, "1").strip() == SECOND.uuid
    assert run(PLACE, environment, "0,1").strip() == f"{FIRST.uuid},{SECOND.uuid}"
