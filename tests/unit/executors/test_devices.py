"""Devices and memory are checked with figures, and never replaced."""

from __future__ import annotations

import os

import pytest

from executors import devices
from executors.errors import DeviceUnavailable, EngineStartFailed, OutOfMemory

GIB = 1024**3


def test_an_unknown_device_is_refused() -> None:
    """The known ones are named."""
    with pytest.raises(DeviceUnavailable, match="cpu, cuda"):
        devices.check_device_name("tpu")


def test_missing_gpus_are_told_with_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many were asked for, how many are there, and who says so."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    devices.check_cuda(found=2, needed=2, build="torch 2.13.0")

    with pytest.raises(DeviceUnavailable) as caught:
        devices.check_cuda(found=1, needed=2, build="torch 2.13.0")

    assert caught.value.details["needed"] == 2
    assert "'GPU-1'" in caught.value.message
    assert "1 found by torch 2.13.0" in caught.value.message


def test_a_model_that_cannot_fit_is_told_with_figures() -> None:
    """Required and available, in words and in bytes."""
    devices.check_memory(required=GIB, available=GIB, where="GPU")

    with pytest.raises(OutOfMemory, match=r"2\.00 GiB on the GPU and 1\.50 GiB") as caught:
        devices.check_memory(required=2 * GIB, available=3 * GIB // 2, where="GPU")

    assert caught.value.details["required_bytes"] == 2 * GIB


def test_an_engine_of_one_device_refuses_several() -> None:
    """Tensor parallelism is not silently dropped."""
    devices.check_no_tensor_parallel(engine="transformers", tensor_parallel=1)
    with pytest.raises(EngineStartFailed, match="tensor_parallel is 2"):
        devices.check_no_tensor_parallel(engine="transformers", tensor_parallel=2)


def test_memory_of_processes_is_counted() -> None:
    """This process holds something; a process that is gone holds nothing."""
    assert devices.own_bytes() > 0
    assert devices.host_bytes([os.getpid()]) >= devices.own_bytes() // 2
    assert devices.host_bytes([2**22 + 1]) == 0
    assert devices.available_host_bytes() > 0
