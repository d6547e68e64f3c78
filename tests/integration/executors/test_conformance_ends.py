"""Every engine keeps the contract of `executors/base.py`: aborting, health, unloading, dying."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest

from executors.errors import EngineDead, EngineNotLoaded, ExecutorError, RequestAborted
from executors.types import HealthState, Started, Token

from .conftest import Engine, build, configure, need

# Foreign packages warn about their own insides while they are imported and used.
pytestmark = pytest.mark.filterwarnings("ignore")

ALL = ["fake", "transformers", "vllm"]


def test_closing_the_stream_aborts_only_that_request(engine: Engine) -> None:
    """Who stops listening is dropped; the neighbour is answered."""

    async def main() -> Any:
        neighbour = asyncio.ensure_future(engine.answer(engine.request("stays", seed=7)))
        leaving = engine.executor.generate(
            engine.request("leaves", seed=8, stream=True, max_tokens=100)
        )
        async with aclosing(leaving) as events:
            async for event in events:
                if isinstance(event, Token):
                    break
        return await neighbour

    alone = engine.run(engine.answer(engine.request("alone", seed=7)))
    assert engine.run(main()).text == alone.text
    assert engine.executor.health().in_flight == 0


def test_cancelling_the_reading_task_aborts_only_that_request(engine: Engine) -> None:
    """Task cancellation arrives as itself, and the neighbour is answered."""

    async def main() -> tuple[Any, Any]:
        neighbour = asyncio.ensure_future(engine.answer(engine.request("still-here", seed=7)))
        reader = asyncio.ensure_future(
            engine.answer(engine.request("cancelled", seed=8, max_tokens=200))
        )
        await asyncio.sleep(0.01)
        reader.cancel()
        (outcome,) = await asyncio.gather(reader, return_exceptions=True)
        return await neighbour, outcome

    answer, outcome = engine.run(main())

    assert isinstance(outcome, asyncio.CancelledError)
    assert answer.completion_tokens > 0
    assert engine.executor.health().in_flight == 0


def test_cancel_by_id_aborts_only_that_request(engine: Engine) -> None:
    """Cancelling from outside raises RequestAborted in the reader."""

    async def main() -> tuple[bool, Any, Any]:
        neighbour = asyncio.ensure_future(engine.answer(engine.request("kept", seed=7)))
        started = asyncio.Event()

        async def read() -> None:
            request = engine.request("struck", seed=8, stream=True, max_tokens=200)
            async with aclosing(engine.executor.generate(request)) as events:
                async for event in events:
                    if isinstance(event, Token):
                        started.set()

        reader = asyncio.ensure_future(read())
        await started.wait()
        known = await engine.executor.cancel("struck")
        (outcome,) = await asyncio.gather(reader, return_exceptions=True)
        return known, outcome, await neighbour

    known, outcome, answer = engine.run(main())

    assert known is True
    assert isinstance(outcome, RequestAborted)
    assert outcome.retriable
    assert answer.completion_tokens > 0
    assert engine.run(engine.executor.cancel("struck")) is False


def test_cancel_right_after_started_is_not_lost(engine: Engine) -> None:
    """There is no moment at which a request in flight cannot be cancelled."""

    async def main() -> None:
        request = engine.request("early", max_tokens=200)
        async with aclosing(engine.executor.generate(request)) as events:
            assert isinstance(await anext(events), Started)
            assert await engine.executor.cancel("early") is True
            async for _ in events:
                pass

    with pytest.raises(RequestAborted):
        engine.run(main())


def test_memory_is_held_while_loaded(engine: Engine) -> None:
    """Some bytes on the host and none on a GPU that is not used."""
    memory = engine.executor.memory()

    assert memory.host_bytes > 1024**2
    assert memory.device_bytes == 0


def test_health_counts_what_is_in_flight(engine: Engine) -> None:
    """Ready and idle, ready and busy, ready and idle."""

    async def main() -> list[Any]:
        seen = [engine.executor.health()]
        async with aclosing(engine.executor.generate(engine.request("busy"))) as events:
            await anext(events)
            seen.append(engine.executor.health())
        return [*seen, engine.executor.health()]

    seen = engine.run(main())

    assert [health.in_flight for health in seen] == [0, 1, 0]
    assert {health.state for health in seen} == {HealthState.READY}


def test_another_event_loop_is_refused(engine: Engine) -> None:
    """An executor belongs to the loop that loaded it."""
    other = asyncio.new_event_loop()
    try:
        with pytest.raises(ExecutorError, match="another event loop"):
            other.run_until_complete(engine.answer(engine.request("elsewhere")))
    finally:
        other.close()


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_answered_before_load(name: str, model_path: Path) -> None:
    """Before load: errors for questions, and an unload that does nothing."""
    need(name)
    config = configure(name, model_path)

    async def main() -> None:
        executor = build(config)
        engine = Engine(
            name=name, config=config, executor=executor, loop=asyncio.get_running_loop()
        )
        with pytest.raises(EngineNotLoaded):
            _ = executor.info
        with pytest.raises(EngineNotLoaded):
            await engine.answer(engine.request("early"))
        assert executor.health().state is HealthState.UNLOADED
        assert executor.memory().host_bytes == 0
        assert await executor.cancel("early") is False
        await executor.unload()

    asyncio.run(main())


@pytest.mark.parametrize("name", ["fake", "transformers"])
def test_unload_aborts_what_runs_and_can_be_repeated(name: str, launch: Any) -> None:
    """After unload nothing runs, nothing is held and nothing is answered."""
    engine = launch(name)

    async def main() -> Any:
        reader = asyncio.ensure_future(engine.answer(engine.request("late", max_tokens=200)))
        await asyncio.sleep(0.01)
        await engine.executor.unload()
        await engine.executor.unload()
        outcomes = await asyncio.gather(reader, return_exceptions=True)
        return outcomes[0]

    assert isinstance(engine.run(main()), RequestAborted)
    assert engine.executor.health().state is HealthState.UNLOADED
    assert engine.executor.memory().host_bytes == 0
    with pytest.raises(EngineNotLoaded):
        engine.run(engine.answer(engine.request("after")))


@pytest.mark.parametrize("name", ["fake", "transformers"])
def test_a_dead_engine_ends_all_its_requests(name: str, launch: Any) -> None:
    """Death raises EngineDead in every request, those that come later too, and unload works."""
    engine = launch(name)
    _check_death(engine)


def test_a_stopped_process_makes_the_engine_stuck_and_then_ready(engine: Engine) -> None:
    """Health follows progress: a process that stands still answers nothing and is called stuck."""
    if engine.name != "vllm":
        pytest.skip("this engine has no process of its own")
    family = _family(engine)

    async def main() -> list[Any]:
        reader = asyncio.ensure_future(engine.answer(engine.request("frozen")))
        for process in family:
            process.suspend()
        try:
            await asyncio.sleep(engine.config.stuck_after_s + 0.5)
            stuck = engine.executor.health()
        finally:
            for process in family:
                process.resume()
        answer = await reader
        return [stuck, answer, engine.executor.health()]

    stuck, answer, after = engine.run(main())

    assert stuck.state is HealthState.STUCK
    assert stuck.idle_s > engine.config.stuck_after_s
    assert "1 requests in flight" in stuck.reason
    assert answer.completion_tokens > 0
    assert after.state is HealthState.READY


def test_a_terminals_interrupt_does_not_reach_the_engine(engine: Engine) -> None:
    """Ctrl-C goes to the whole group; the worker drains, so its engine has to go on."""
    if engine.name != "vllm":
        pytest.skip("this engine has no process of its own")

    async def main() -> Any:
        reader = asyncio.ensure_future(engine.answer(engine.request("drained", max_tokens=100)))
        await asyncio.sleep(0.02)
        for process in _family(engine):
            process.send_signal(signal.SIGINT)
        return await reader

    assert engine.run(main()).completion_tokens == 100
    assert engine.executor.health().state is HealthState.READY


def test_a_dead_engine_of_its_own_process_ends_all_its_requests(engine: Engine) -> None:
    """The same for an engine whose process is killed. Keep this test the last of its engine."""
    if engine.name != "vllm":
        pytest.skip("this engine has no process of its own")
    pids = _pids(engine)
    _check_death(engine)

    engine.run(engine.executor.unload())
    engine.run(engine.executor.unload())

    assert not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]


def _check_death(engine: Engine) -> None:
    async def main() -> list[Any]:
        readers = [
            asyncio.ensure_future(engine.answer(engine.request(f"lost-{n}", max_tokens=200)))
            for n in range(4)
        ]
        await asyncio.sleep(0.02)
        await _kill(engine)
        return await asyncio.gather(*readers, return_exceptions=True)

    outcomes = engine.run(main())

    assert {type(outcome) for outcome in outcomes} == {EngineDead}
    assert engine.executor.health().state is HealthState.DEAD
    assert engine.executor.health().reason
    with pytest.raises(EngineDead) as caught:
        engine.run(engine.answer(engine.request("too-late")))
    assert caught.value.retriable


async def _kill(engine: Engine) -> None:
    if engine.name == "fake":
        with pytest.raises(EngineDead):
            await engine.answer(engine.request("killer", prompt="die now"))
    elif engine.name == "transformers":
        # The nearest thing to a device that fails: the next step raises inside the thread.
        engine.executor._loaded.model._model = None
    else:
        os.kill(_pids(engine)[0], signal.SIGKILL)


def _pids(engine: Engine) -> list[int]:
    pids: list[int] = engine.executor._start.pids
    return pids


def _family(engine: Engine) -> list[psutil.Process]:
    roots = [psutil.Process(pid) for pid in _pids(engine)]
    return [*roots, *(child for root in roots for child in root.children(recursive=True))]
