"""A worker's cards, look by look: the real pynvml, over a pretended NVML library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import nvml

pytestmark = pytest.mark.skipif(
    nvml.compiler() is None and "CI" not in os.environ,
    reason="a C compiler is needed to build the pretended NVML library",
)

LOOKS = """
import dataclasses, json, os, shutil, sys
from monitoring.gpu_watch import GpuWatch

moments = iter(range(0, 1000, 10))
watch = GpuWatch(json.loads(sys.argv[1]), clock=lambda: float(next(moments)))
told = []
for state in sys.argv[2:]:
    shutil.copy(state, os.environ["FAKE_NVML_STATE"])
    told.append(dataclasses.asdict(watch.look()))
watch.close()
print(json.dumps(told))
"""
GB = nvml.GB
FIRST, SECOND = nvml.TWO_GPUS
SW_POWER, HW_SLOW, SW_THERMAL = 0x4, 0x8, 0x20

Look = Callable[..., list[dict[str, Any]]]
State = Sequence[nvml.FakeGpu] | int


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pretended library."""
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def look(library: Path, tmp_path: Path) -> Look:
    """Look at the cards with these UUIDs once in each state; a number is an error of NVML's."""

    def looked(*states: State, uuids: Sequence[str] = (FIRST.uuid,)) -> list[dict[str, Any]]:
        files = []
        for number, state in enumerate(states):
            file = tmp_path / f"state-{number}"
            if isinstance(state, int):
                files.append(nvml.write_state(file, init_error=state))
            else:
                files.append(nvml.write_state(file, state))
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", LOOKS, json.dumps(uuids), *map(str, files)],
            env={**os.environ, **nvml.environment(library, tmp_path / "cards")},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        told: list[dict[str, Any]] = json.loads(ran.stdout)
        # One sentence for all looks.
        assert len(ran.stderr.splitlines()) <= 1, ran.stderr
        return told

    return looked


def test_a_card_tells_what_it_has_in_the_units_of_the_names(look: Look) -> None:
    """Watts, joules, seconds; and only the worker's own card is read."""
    full = replace(
        SECOND,
        energy=5_000_000,
        violations={0: 3_000_000_000, 1: 500_000_000},
        ecc={0: 2, 1: 1},
        xids=[],
    )

    (told,) = look([FIRST, full], uuids=[SECOND.uuid])

    assert ["Pretended RTX 6000"] == told["names"]
    assert "580.65.06" == told["driver"]
    assert [
        {
            "gpu": "1",
            "uuid": SECOND.uuid,
            "utilization_percent": 30.0,
            "temperature_celsius": 41,
            "memory_used_bytes": 1 * GB,
            "memory_total_bytes": 96 * GB,
            "power_watts": 72.5,
            "energy_joules": 5000.0,
            "xid": {},
            "throttle_seconds": {"power": 3.0, "thermal": 0.5},
            "ecc_errors": {"corrected": 2, "uncorrected": 1},
        }
    ] == told["readings"]


def test_what_a_card_does_not_tell_is_none(look: Look) -> None:
    """A missing sensor is neither 0 nor an error."""
    bare = nvml.FakeGpu(
        uuid=FIRST.uuid, total=None, used=None, temperature=None, power=None, utilization=None
    )
    (told,) = look([bare])
    (reading,) = told["readings"]
    assert {"gpu": "0", "uuid": FIRST.uuid} == {
        name: value for name, value in reading.items() if value is not None
    }


def test_faults_are_counted_from_the_first_look_on(look: Look) -> None:
    """What was before is not told; each code is counted, and told once for each look."""
    looks = look(
        [replace(FIRST, xids=[13])],
        [replace(FIRST, xids=[13, 79, 31, 79])],
        [replace(FIRST, xids=[13, 79, 31, 79])],
        [replace(FIRST, xids=[13, 79, 31, 79, 79])],
    )
    assert [{}, {"79": 2, "31": 1}, {"79": 2, "31": 1}, {"79": 3, "31": 1}] == [
        one["readings"][0]["xid"] for one in looks
    ]
    assert [[], [(79, 2), (31, 1)], [], [(79, 1)]] == [
        [(fault["xid"], fault["times"]) for fault in one["faults"]] for one in looks
    ]


def test_a_card_that_is_lost_is_told_once_and_comes_back(look: Look) -> None:
    """With the fault that says why; the other card is read all the while."""
    broken = replace(FIRST, xids=[79], lost=1)
    looks = look(
        [replace(FIRST, xids=[]), SECOND],
        [broken, SECOND],
        [broken, SECOND],
        [replace(FIRST, xids=[79]), SECOND],
        uuids=[FIRST.uuid, SECOND.uuid],
    )
    assert [[], [79, None], [], []] == [[f["xid"] for f in one["faults"]] for one in looks]
    assert [41, None, None, 41] == [one["readings"][0]["temperature_celsius"] for one in looks]
    assert {41} == {one["readings"][1]["temperature_celsius"] for one in looks}
    assert ["0"] * 4 == [one["readings"][0]["gpu"] for one in looks]


def test_slowdowns_are_measured_from_look_to_look_where_the_driver_does_not_count(
    look: Look,
) -> None:
    """Ten seconds between two looks; a reason counts for the time up to the look that saw it."""
    looks = look(
        [replace(FIRST, reasons=0)],
        [replace(FIRST, reasons=SW_THERMAL | HW_SLOW)],
        [replace(FIRST, reasons=SW_POWER)],
    )
    assert [
        {"thermal": 0.0, "power": 0.0, "hw": 0.0},
        {"thermal": 10.0, "power": 0.0, "hw": 10.0},
        {"thermal": 10.0, "power": 10.0, "hw": 10.0},
    ] == [one["readings"][0]["throttle_seconds"] for one in looks]


def test_a_mig_device_has_its_own_memory_and_its_gpus_temperature(look: Look) -> None:
    """Power and energy are the whole card's: they are nobody's here."""
    parts = (nvml.FakePart(uuid="MIG-1", total=10 * GB, used=2 * GB),)
    whole = nvml.FakeGpu(uuid="GPU-c0ffee", temperature=66, energy=1, xids=[], parts=parts)
    (told,) = look([FIRST, whole], uuids=["MIG-1"])
    (reading,) = told["readings"]
    assert ("1/0", 2 * GB, 66, {}) == (
        reading["gpu"],
        reading["memory_used_bytes"],
        reading["temperature_celsius"],
        reading["xid"],
    )
    assert (None, None) == (reading["power_watts"], reading["energy_joules"])


@pytest.mark.parametrize("code", [9, 18, 999])
def test_a_driver_that_does_not_work_is_looked_for_again(look: Look, code: int) -> None:
    """No reading and no error; once it works, the cards are read."""
    away, there = look(code, [FIRST])
    assert ([], []) == (away["readings"], away["faults"])
    assert 41 == there["readings"][0]["temperature_celsius"]


def test_a_worker_without_cards_never_asks(look: Look) -> None:
    """Not even whether there is a driver."""
    (told,) = look([FIRST], uuids=[])
    assert [] == told["readings"]
