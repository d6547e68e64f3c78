"""vLLM's AsyncLLM alone, in a process of its own: what the engine gives without any queue.

`BareEngine` is the handle; `python -m benchmarks.bare_engine MODEL` is the process. It reads rounds
of questions as lines of JSON and answers each with one line.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TextIO

from benchmarks import processes
from benchmarks.questions import IN_FLIGHT, MAX_NUM_SEQS, MODEL, Measured, Question
from executors import EngineConfig

OPTIONS = {"enable_chunked_prefill": False}
"""For every engine here: a prompt in two pieces ends a CPU engine that draws with seeds."""

ROOT = Path(__file__).parent.parent


def engine_config(model: Path) -> EngineConfig:
    """How every side starts its engine; honeyflow reads the same from its configuration."""
    return EngineConfig(
        model=MODEL,
        path=model,
        device="cpu",
        engine="vllm",
        max_num_seqs=MAX_NUM_SEQS,
        options=OPTIONS,
    )


def start_engine(model: Path) -> Any:
    """An `AsyncLLM` as honeyflow's executor starts it, and nothing of honeyflow around it."""
    from executors.vllm_settings import engine_arguments, prepare_environment

    config = engine_config(model)
    prepare_environment(config)
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**engine_arguments(config)))


async def ask(engine: Any, question: Question, request_id: str) -> tuple[str, int]:
    """One question's answer and how many tokens it has."""
    last: Any = None
    params = question.sampling_params()
    async for output in engine.generate(question.prompt, params, request_id):
        last = output
    answer = last.outputs[0]
    return answer.text, len(answer.token_ids)


class BareEngine:
    """The process that runs AsyncLLM alone, started and ended with the block."""

    def __init__(self, *, model: Path, log: Path) -> None:
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.bare_engine", str(model)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._log = log

    def __enter__(self) -> Self:
        """Wait until the engine has answered once."""
        try:
            self._read()
        except BaseException:
            processes.stop(self._process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the process and its engine."""
        processes.stop(self._process)

    def round(self, asked: Sequence[Question]) -> Measured:
        """Answer the questions, `IN_FLIGHT` at once."""
        stdin = self._process.stdin
        assert stdin is not None
        before = processes.cpu_seconds([self._process.pid])
        stdin.write(json.dumps([question.plain() for question in asked]).encode() + b"\n")
        stdin.flush()
        answer = self._read()
        return Measured(
            seconds=answer["seconds"],
            tokens=answer["tokens"],
            cpu_s=processes.cpu_seconds([self._process.pid]) - before,
            answers=tuple(answer["answers"]),
        )

    def one_by_one(self, asked: Sequence[Question]) -> Measured:
        """Ask each question only when the one before it is answered."""
        turns = [self.round([question]) for question in asked]
        return Measured(
            seconds=sum(turn.seconds for turn in turns),
            tokens=sum(turn.tokens for turn in turns),
            cpu_s=sum(turn.cpu_s for turn in turns),
        )

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            tail = self._log.read_text(errors="replace")[-4000:]
            raise RuntimeError(f"the bare engine ended:\n{tail}")
        told: dict[str, Any] = json.loads(line)
        return told


async def serve(engine: Any, told: TextIO) -> None:
    """Answer rounds until the input ends."""
    loop = asyncio.get_running_loop()
    number = 0
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        number += 1
        asked = [Question(**plain) for plain in json.loads(line)]
        answer = await _round(engine, asked, number)
        print(json.dumps(answer), file=told, flush=True)


async def _round(engine: Any, asked: Sequence[Question], number: int) -> dict[str, Any]:
    waiting = iter(enumerate(asked))
    answers: dict[int, tuple[str, int]] = {}

    async def lane() -> None:
        for index, question in waiting:
            answers[index] = await ask(engine, question, f"{number}.{index}")

    started = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "tokens": sum(tokens for _, tokens in answers.values()),
        "answers": [answers[index][0] for index in range(len(asked))],
    }


def main(model: Path) -> None:
    """Run one engine for whoever holds the other ends of standard input and output."""
    # What libraries print must not be taken for an answer.
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    processes.end_on_sigterm()
    engine: Any = None

    async def run() -> None:
        nonlocal engine
        engine = start_engine(model)
        await ask(engine, Question(prompt="warm up", seed=0, max_tokens=1), "warm-up")
        print(json.dumps({"ready": True}), file=told, flush=True)
        await serve(engine, told)

    try:
        asyncio.run(run())
    finally:
        if engine is not None:
            engine.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
