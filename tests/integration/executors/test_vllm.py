"""What only vLLM has: a process that may not start, constraints, and a start that is given up."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from executors.config import EngineConfig
from executors.errors import DeviceUnavailable, EngineStartFailed, ExecutorError, OutOfMemory
from executors.types import HealthState
from executors.vllm_engine import VllmExecutor
from tests.stack import wait_for

from .conftest import collect_garbage, configure, need
from .models import make_model

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def before() -> Iterator[set[int]]:
    """The processes of engines that the session shares; they go on."""
    need("vllm")
    yield engine_pids()
    collect_garbage()


def engine_pids() -> set[int]:
    """This process's engine processes and their guards."""
    children = psutil.Process().children()
    guards = {p.pid for p in children if "guard_process" in " ".join(p.cmdline())}
    cores = multiprocessing.active_children()
    return guards | {p.pid for p in cores if p.pid is not None and p.name.startswith("EngineCore")}


def _failed_start(config: EngineConfig, before: set[int]) -> ExecutorError:
    """Load what cannot be loaded, and see that nothing is left of it."""

    async def main() -> ExecutorError:
        executor = VllmExecutor(config)
        try:
            with pytest.raises(ExecutorError) as caught:
                await executor.load(lambda _: None)
            assert executor.health().state is HealthState.UNLOADED
        finally:
            await executor.unload()
        return caught.value

    error = asyncio.run(main())
    assert before == engine_pids()
    return error


def _wait_for_engine_core(before: set[int]) -> None:
    def started() -> bool:
        cores = [p for p in multiprocessing.active_children() if p.name.startswith("EngineCore")]
        return any(core.pid not in before for core in cores)

    wait_for(started, timeout=60.0)


def test_too_large_a_cache_is_out_of_memory_with_figures(
    model_path: Path, before: set[int]
) -> None:
    """The child's own reason and its figures reach the caller."""
    config = configure("vllm", model_path, options={"kv_cache_memory_bytes": 1000 * 1024**3})

    error = _failed_start(config, before)

    assert isinstance(error, OutOfMemory)
    assert error.details["required_bytes"] == 1000 * 1024**3
    assert 0 < error.details["available_bytes"] < 1000 * 1024**3
    assert "1000.0 GiB" in error.message


def test_a_model_that_the_kernels_refuse_fails_at_load(tmp_path: Path, before: set[int]) -> None:
    """A head size of 16 would die at the first request; the load tries one."""
    path = make_model(tmp_path / "narrow", hidden=32, heads=2, layers=1)

    error = _failed_start(configure("vllm", path), before)

    assert isinstance(error, EngineStartFailed)
    assert "head_dim=16" in error.message


def test_a_device_that_the_build_lacks_is_refused(model_path: Path, before: set[int]) -> None:
    """The CPU's build does not stand in for a GPU."""
    error = _failed_start(configure("vllm", model_path, device="cuda"), before)

    assert isinstance(error, DeviceUnavailable)
    assert "cuda" in error.message


def test_a_setting_out_of_range_is_refused_in_its_own_words(
    model_path: Path, before: set[int]
) -> None:
    """What vLLM says about a setting is passed on without its wrapping."""
    error = _failed_start(configure("vllm", model_path, max_model_len=100_000), before)

    assert isinstance(error, EngineStartFailed)
    assert "100000" in error.message
    assert "pydantic" not in error.message


def test_a_cancelled_load_leaves_nothing_running(model_path: Path, before: set[int]) -> None:
    """Who gives up a load gives up its processes too."""
    config = configure("vllm", model_path)

    async def main() -> None:
        executor = VllmExecutor(config)
        loading = asyncio.ensure_future(executor.load(lambda _: None))
        await asyncio.to_thread(_wait_for_engine_core, before)
        await asyncio.sleep(0.5)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert executor.health().state is HealthState.UNLOADED

    asyncio.run(main())

    assert before == engine_pids()
