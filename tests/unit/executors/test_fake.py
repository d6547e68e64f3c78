"""The fake engine does what its script says, from Python and from JSON."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from executors.config import EngineConfig
from executors.errors import (
    EngineDead,
    EngineStartFailed,
    OutOfMemory,
    RequestAborted,
    RequestInvalid,
)
from executors.fake import FakeExecutor
from executors.fake_script import Action, Answer, Load, Rule, Script, parse_script
from executors.types import (
    Completion,
    End,
    Error,
    GenerateRequest,
    HealthState,
    LoadProgress,
    Prompt,
    Sampling,
)


def config(**changes: Any) -> EngineConfig:
    return EngineConfig(model="m", path=Path("none"), device="cpu", engine="fake", **changes)


def request(request_id: str = "r", prompt: str = "hello", **sampling: Any) -> GenerateRequest:
    return GenerateRequest(
        request_id=request_id, prompt=Prompt(text=prompt), sampling=Sampling(**sampling)
    )


async def last(executor: FakeExecutor, wanted: GenerateRequest) -> Any:
    async with aclosing(executor.generate(wanted)) as events:
        return [event async for event in events][-1]


async def answer(executor: FakeExecutor, wanted: GenerateRequest) -> Completion:
    end = await last(executor, wanted)
    assert isinstance(end, End)
    output: Completion = end.output
    return output


def with_fake(
    script: Script | None, then: Callable[[FakeExecutor], Awaitable[Any]], **changes: Any
) -> Any:
    """Load a fake engine and run a coroutine on it."""

    async def main() -> Any:
        executor = FakeExecutor(config(**changes), script=script)
        await executor.load(lambda _: None)
        return await then(executor)

    return asyncio.run(main())


def test_an_empty_script_answers_ok() -> None:
    """No script is a script too."""

    async def check(executor: FakeExecutor) -> None:
        assert (await answer(executor, request())).text == "ok"

    with_fake(None, check)


def test_answers_follow_their_weights_and_the_seed() -> None:
    """The seed alone decides; over many seeds the shares are the weights."""
    script = Script(rules=(Rule(answers=(Answer(text="A", weight=3), Answer(text="B"))),))

    async def check(executor: FakeExecutor) -> None:
        texts = [
            (await answer(executor, request(f"r{seed}", seed=seed))).text for seed in range(400)
        ]
        again = [
            (await answer(executor, request(f"s{seed}", seed=seed))).text for seed in range(400)
        ]
        assert texts == again
        assert 250 < Counter(texts)["A"] < 350
        greedy = await answer(executor, request("g", temperature=0.0, seed=9, logprobs=1))
        assert greedy.text == "A"
        assert greedy.mean_logprob is not None

    with_fake(script, check)


def test_rules_apply_by_marker_and_by_count_and_the_first_wins() -> None:
    """A script tells a story over its requests."""
    script = Script(
        rules=(
            Rule(marker="x-ray", answers=(Answer(text="image"),)),
            Rule(until_request=2, answers=(Answer(text="early"),)),
            Rule(from_request=2, answers=(Answer(text="late"),)),
        )
    )

    async def check(executor: FakeExecutor) -> list[str]:
        prompts = ["a", "an x-ray", "b", "c"]
        return [
            (await answer(executor, request(str(i), prompt))).text
            for i, prompt in enumerate(prompts)
        ]

    assert with_fake(script, check) == ["early", "image", "late", "late"]


def test_a_rule_with_once_applies_a_single_time(tmp_path: Path) -> None:
    """Also after a restart: the mark is a file."""
    once = Rule(once=str(tmp_path / "mark"), answers=(Answer(text="first"),))

    async def check(executor: FakeExecutor) -> list[str]:
        return [(await answer(executor, request(str(i)))).text for i in range(2)]

    assert with_fake(Script(rules=(once,)), check) == ["first", "ok"]
    assert with_fake(Script(rules=(once,)), check) == ["ok", "ok"]


@pytest.mark.parametrize("retriable", [True, False])
def test_an_error_is_an_event(retriable: bool) -> None:
    """A request that fails in the engine ends with Error, and the engine lives on."""
    rule = Rule(do=Action.ERROR, code="KV_LOAD", retriable=retriable, until_request=1)

    async def check(executor: FakeExecutor) -> None:
        event = await last(executor, request("a"))
        assert isinstance(event, Error)
        assert (event.code, event.retriable) == ("KV_LOAD", retriable)
        assert (await answer(executor, request("b"))).text == "ok"

    with_fake(Script(rules=(rule,)), check)


def test_garbage_is_no_json_and_repeats_by_seed() -> None:
    """A model that babbles does so reproducibly."""

    async def check(executor: FakeExecutor) -> None:
        first = await answer(executor, request("a", seed=1))
        second = await answer(executor, request("b", seed=1))
        other = await answer(executor, request("c", seed=2))
        assert first.text == second.text != other.text
        with pytest.raises(json.JSONDecodeError):
            json.loads(first.text)

    with_fake(Script(rules=(Rule(do=Action.GARBAGE),)), check)


def test_death_takes_everything_along_and_stays() -> None:
    """In flight, waiting for a place, and later: all get EngineDead with the reason."""
    script = Script(
        rules=(Rule(marker="die", do=Action.DIE, message="bus error"), Rule(do=Action.HANG))
    )

    async def check(executor: FakeExecutor) -> None:
        readers = [asyncio.ensure_future(last(executor, request(str(n)))) for n in range(4)]
        await asyncio.sleep(0)
        # The hanging ones hold both places, so the killer waits until one is given up.
        urgent = replace(request("killer", "die"), priority=-1)
        killer = asyncio.ensure_future(last(executor, urgent))
        await asyncio.sleep(0)
        await executor.cancel("0")
        outcomes = await asyncio.gather(*readers, killer, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RequestAborted, *[EngineDead] * 4]
        assert executor.health().state is HealthState.DEAD
        with pytest.raises(EngineDead, match="bus error"):
            await last(executor, request("later"))
        await executor.unload()

    with_fake(script, check, max_num_seqs=2)


def test_a_hang_turns_health_to_stuck() -> None:
    """No token for longer than the limit."""

    async def check(executor: FakeExecutor) -> None:
        reader = asyncio.ensure_future(last(executor, request()))
        await asyncio.sleep(0.02)
        assert executor.health().state is HealthState.STUCK
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert executor.health().state is HealthState.READY

    with_fake(Script(rules=(Rule(do=Action.HANG),)), check, stuck_after_s=0.005)


def test_no_more_requests_run_than_there_are_places() -> None:
    """The peak is the configured number, although more are in flight."""

    async def check(executor: FakeExecutor) -> None:
        requests = [request(str(n)) for n in range(9)]
        await asyncio.gather(*(answer(executor, wanted) for wanted in requests))
        assert executor.peak_running == 3

    script = Script(rules=(Rule(answers=(Answer(text="a b c"),)),))
    with_fake(script, check, max_num_seqs=3)


def test_progress_of_a_slow_load_rises_to_one() -> None:
    """Every step reports, and the last report is ready."""
    seen: list[LoadProgress] = []

    async def main() -> None:
        script = Script(load=Load(steps=4))
        await FakeExecutor(config(), script=script).load(seen.append)

    asyncio.run(main())

    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert len(fractions) == 6
    assert (seen[0].phase, seen[-1].phase, fractions[-1]) == ("locate", "ready", 1.0)


@pytest.mark.parametrize(
    ("fails", "error"), [("memory", OutOfMemory), ("start", EngineStartFailed)]
)
def test_a_load_fails_as_the_script_says(fails: str, error: type[Exception]) -> None:
    """The executor is unloaded afterwards, with the reason."""

    async def main() -> None:
        executor = FakeExecutor(config(), script=Script(load=Load(fails=fails, message="no luck")))
        with pytest.raises(error, match="no luck"):
            await executor.load(lambda _: None)
        assert executor.health().state is HealthState.UNLOADED
        assert "no luck" in executor.health().reason

    asyncio.run(main())


@pytest.mark.parametrize(
    ("do", "code"), [("exit", 7), ("kill", -signal.SIGKILL)], ids=["exit", "kill"]
)
def test_a_script_can_end_the_process(tmp_path: Path, do: str, code: int) -> None:
    """From a JSON file, in a process of its own, in the middle of an answer."""
    script = tmp_path / "script.json"
    rule = {
        "marker": "poison",
        "do": do,
        "exit_code": 7,
        "after_tokens": 1,
        "answers": [{"text": "a b"}],
    }
    script.write_text(json.dumps({"rules": [rule]}))
    program = """
import asyncio, sys
from pathlib import Path
from executors import EngineConfig, GenerateRequest, Prompt, create
async def main():
    config = EngineConfig(model="m", path=Path("none"), device="cpu", engine="fake",
                          options={"script": sys.argv[1]})
    executor = create(config)
    await executor.load(lambda _: None)
    for prompt in ("fine", "poison"):
        request = GenerateRequest(request_id="r", prompt=Prompt(text=prompt), stream=True)
        async for event in executor.generate(request):
            print(type(event).__name__, flush=True)
asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(script)], capture_output=True, text=True, check=False
    )

    assert ended.returncode == code
    assert ended.stdout.split() == ["Started", "Token", "Metrics", "End", "Started", "Token"]


def test_stop_strings_and_length_are_followed() -> None:
    """An answer ends where the request says."""
    script = Script(rules=(Rule(answers=(Answer(text="one two three four"),)),))

    async def check(executor: FakeExecutor) -> None:
        stopped = await answer(executor, request("a", stop=("three", "four")))
        assert (stopped.text, stopped.finish_reason) == ("one two ", "stop")
        cut = await answer(executor, request("b", max_tokens=3))
        assert (cut.text, cut.finish_reason) == ("one two three ", "length")
        with pytest.raises(RequestInvalid):
            await answer(executor, request("c", "word " * 64))

    with_fake(script, check, max_model_len=64)


def test_digests_do_not_depend_on_the_script(tmp_path: Path) -> None:
    """Two workers with different scripts share their samples."""

    async def check(executor: FakeExecutor) -> tuple[str, str]:
        return executor.info.model_digest, executor.info.engine_digest

    script = tmp_path / "script.json"
    script.write_text("{}")

    assert with_fake(None, check) == with_fake(None, check, options={"script": str(script)})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting"),
        ('{"rule": []}', "does not know rule"),
        ('{"rules": [{"do": "dance"}]}', "dance"),
        ('{"rules": [{"answers": ["a"]}]}', "an object is needed"),
        ("[]", "an object is needed"),
    ],
)
def test_a_wrong_script_says_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    """A test that is mistyped fails at once."""
    script = tmp_path / "script.json"
    script.write_text(text)

    async def main() -> None:
        executor = FakeExecutor(config(options={"script": str(script)}))
        with pytest.raises(EngineStartFailed, match=words):
            await executor.load(lambda _: None)

    asyncio.run(main())


def test_a_script_reads_the_same_from_json() -> None:
    """Every field has the same name in both."""
    value = {
        "load": {"seconds": 1.5, "steps": 3, "fails": "memory"},
        "rules": [
            {"marker": "m", "do": "die", "after_tokens": 2, "from_s": 1.0, "until_s": 2.0},
            {"answers": [{"text": "a", "weight": 2}], "token_s": 0.1, "first_token_s": 0.2},
        ],
    }

    assert parse_script(value) == Script(
        load=Load(seconds=1.5, steps=3, fails="memory"),
        rules=(
            Rule(marker="m", do=Action.DIE, after_tokens=2, from_s=1.0, until_s=2.0),
            Rule(answers=(Answer(text="a", weight=2),), token_s=0.1, first_token_s=0.2),
        ),
    )
