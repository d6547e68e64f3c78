"""A recorded job run again: the same samples with the same seeds, with nothing beside them.

The job's waves are drawn as they were: what the policy asked for at once is drawn at once. An
engine that computes rows of a batch together may give other low bits, and then other words, to the
same row in other company, so that a job which ran among many need not come out the same alone.

What a replay shows is that this model, so asked and with these seeds, gives this answer; not who
ran it before.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import executors
from executors import (
    Completion,
    End,
    EngineConfig,
    Error,
    Executor,
    ExecutorError,
    GenerateRequest,
    ModelInfo,
)
from tasks import pinning
from tasks.errors import HoneyflowError
from tasks.recording import RecordedSample, Recording, read


class Verdict(StrEnum):
    """How a replay ended."""

    EQUAL = "equal"
    DIFFERENT = "different"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A recorded sample beside what was drawn with its seed now."""

    sample: RecordedSample
    text: str
    finish_reason: str

    @property
    def equal(self) -> bool:
        """Whether it came out the same, to the character."""
        return (self.text, self.finish_reason) == (self.sample.text, self.sample.finish_reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of running a job again; `reason` is a sentence, `compared` what was drawn."""

    verdict: Verdict
    reason: str
    compared: tuple[Compared, ...] = ()
    info: ModelInfo | None = None


def run_folder(folder: Path, *, engine: str | None = None, device: str | None = None) -> Replay:
    """Run the bundle in a folder again, on the engine and device it was recorded on or on others.

    Raises:
        BundleUnusable: there is none, or it is not what its receipt vouches for.
    """
    recording = read(folder)
    try:
        config = pinning.engine_config(
            recording.model, device=device or recording.device, engine=engine or recording.engine
        )
    except HoneyflowError as error:
        return Replay(verdict=Verdict.NOT_COMPARABLE, reason=error.message)
    return asyncio.run(run(recording, config))


async def run(recording: Recording, config: EngineConfig) -> Replay:
    """Start an engine, run the recording on it alone, and say how it compares."""
    executor: Executor[Completion] | None = None
    try:
        executor = executors.create(config)
        info = await executor.load(lambda _: None)
        if info.model_digest != recording.model_digest:
            return Replay(
                verdict=Verdict.NOT_COMPARABLE,
                reason=f"The model {info.name} here has the digest {info.model_digest}; recorded "
                f"was {recording.model_digest}.",
                info=info,
            )
        compared = await draw_again(executor, recording)
    except (ExecutorError, HoneyflowError) as error:
        return Replay(verdict=Verdict.NOT_COMPARABLE, reason=error.message)
    finally:
        if executor is not None:
            await executor.unload()
    return _judged(recording, compared, info)


async def draw_again(executor: Executor[Completion], recording: Recording) -> tuple[Compared, ...]:
    """Draw every sample of a recording again, wave by wave.

    Raises:
        executors.ExecutorError: the engine refused, or died.
        HoneyflowError: one sample ended in an error.
    """
    compared: list[Compared] = []
    for wave in recording.waves:
        drawn = await asyncio.gather(
            *(draw_one(executor, recording, index=one.index, seed=one.seed) for one in wave),
            return_exceptions=True,
        )
        for sample, one in zip(wave, drawn, strict=True):
            if isinstance(one, BaseException):
                raise one
            compared.append(
                Compared(sample=sample, text=one.text, finish_reason=str(one.finish_reason))
            )
    return tuple(compared)


async def draw_one(
    executor: Executor[Completion], recording: Recording, *, index: int, seed: int
) -> Completion:
    """Draw one sample of a recording with this seed.

    Raises:
        executors.ExecutorError: the engine refused, or died.
        HoneyflowError: the sample ended in an error.
    """
    asked = GenerateRequest(
        request_id=f"{recording.job_id}.replay.{index}",
        prompt=recording.prompt,
        sampling=replace(recording.sampling, seed=seed),
        adapter=recording.adapter,
    )
    async with aclosing(executor.generate(asked)) as events:
        async for event in events:
            if isinstance(event, End):
                return event.output
            if isinstance(event, Error):
                raise HoneyflowError(f"Sample {index} failed: {event.message}", code=event.code)
    raise HoneyflowError(f"Sample {index} ended without an answer.")


def _judged(recording: Recording, compared: tuple[Compared, ...], info: ModelInfo) -> Replay:
    others = [one.sample.index for one in compared if not one.equal]
    if not others:
        verdict, reason = Verdict.EQUAL, f"All {len(compared)} samples came out as recorded."
    else:
        told = ", ".join(map(str, others))
        verdict = Verdict.DIFFERENT
        reason = f"Of {len(compared)} samples {len(others)} came out otherwise: {told}."
    if info.engine_digest != recording.engine_digest:
        reason += (
            f" The engine is another one, or set up otherwise: {info.engine} "
            f"{info.engine_version} on {info.device}; recorded was {recording.engine} on "
            f"{recording.device}."
        )
    return Replay(verdict=verdict, reason=reason, compared=compared, info=info)
