"""The findings about ledger, engines and GPUs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger import Ledger
from monitoring import Check, GpuSurvey, NvmlUnavailable
from monitoring.checks import readable_size
from monitoring.doctor import as_json, engine_check, gpu_check, ledger_check
from routing import Gpu

GB = 1_000_000_000


def gpu(index: int, *, free: int | None = 20 * GB) -> Gpu:
    """A whole GPU of 24 GB."""
    return Gpu(index=index, uuid=f"GPU-{index}", name="RTX", total_bytes=24 * GB, free_bytes=free)


def test_a_ledger_that_can_be_written_is_fit(tmp_path: Path) -> None:
    """It is opened, and a transaction is begun."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    Ledger.open(url, migrate=True).close()
    check = ledger_check(url)
    assert check.ok is True
    assert check.figures["dialect"] == "sqlite"


def test_a_ledger_that_is_not_made_yet_is_a_note(tmp_path: Path) -> None:
    """The first worker makes it; the doctor makes nothing."""
    check = ledger_check(f"sqlite:///{tmp_path}/new/ledger.db")
    assert check.ok is None
    assert check.how_to_mend
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_could_not_be_made_is_a_finding(tmp_path: Path) -> None:
    """A file is where its folder would have to be."""
    (tmp_path / "file").touch()
    check = ledger_check(f"sqlite:///{tmp_path}/file/ledger.db")
    assert check.ok is False
    assert "cannot be written" in check.message


def test_another_programs_file_is_no_ledger(tmp_path: Path) -> None:
    """The ledger's own error is told, with its code."""
    (tmp_path / "ledger.db").write_bytes(b"this is no database at all" * 100)
    check = ledger_check(f"sqlite:///{tmp_path}/ledger.db")
    assert check.ok is False
    assert check.figures["code"].startswith("LEDGER_")


@pytest.mark.parametrize("url", ["mysql://host/name", "no address", "sqlite://"])
def test_an_address_that_is_no_ledgers_is_a_finding(url: str) -> None:
    """Not an exception."""
    assert ledger_check(url).ok is False


def test_an_engine_that_runs_models_is_needed() -> None:
    """The scripted twin for tests does not count."""
    assert engine_check(("fake", "transformers")).figures == {"engines": ["transformers"]}
    for nothing in ((), ("fake",), None):
        check = engine_check(nothing)
        assert check.ok is False
        assert "honeyflow[vllm]" in check.how_to_mend


def test_gpus_are_listed_with_what_is_free() -> None:
    """And with the driver's version."""
    check = gpu_check(GpuSurvey(gpus=(gpu(0), gpu(1, free=None)), driver_version="580.65"))
    assert check.ok is True
    assert check.message == "Driver 580.65; GPUs: 0 = RTX (20.00 GB free), 1 = RTX."


def test_a_machine_without_a_driver_is_fit_for_cpu_workers() -> None:
    """It is a note that says why there is no GPU."""
    problem = NvmlUnavailable("NVML is not here.", suggested_action="Install the driver.")
    check = gpu_check(GpuSurvey(gpus=(), unavailable=problem))
    assert check.ok is None
    assert check.how_to_mend == "Install the driver."


def test_a_driver_without_a_gpu_is_a_note() -> None:
    """A machine may have no card in it."""
    check = gpu_check(GpuSurvey(gpus=(), driver_version="580.65"))
    assert check.ok is None
    assert "none" in check.message


def test_a_full_gpu_is_a_note_and_a_lost_one_a_finding() -> None:
    """Memory can be freed by ending a program; a card off the bus needs a reboot."""
    assert gpu_check(GpuSurvey(gpus=(gpu(0, free=1),), driver_version="1")).ok is None
    lost = GpuSurvey(gpus=(gpu(0),), driver_version="1", lost=("GPU 1 does not answer: lost.",))
    assert gpu_check(lost).ok is False


def test_findings_as_json_say_whether_anything_failed() -> None:
    """A note fails nothing."""
    note = Check(name="key", ok=None, message="none")
    bad = Check(name="disk", ok=False, message="full", figures={"available_bytes": 1})
    assert json.loads(as_json([note]))["ok"] is True
    told = json.loads(as_json([note, bad]))
    assert told["ok"] is False
    assert told["checks"][1]["figures"] == {"available_bytes": 1}


def test_sizes_are_told_in_units_people_read() -> None:
    """Small ones in megabytes, so that a fresh Redis does not use 0.00 GB."""
    assert readable_size(937_672) == "0.9 MB"
    assert readable_size(96 * GB) == "96.00 GB"
