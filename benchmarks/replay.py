"""How many jobs that ran among many come out the same when they are run again alone.

    python -m benchmarks.replay [--quick] [--engine transformers|vllm|fake] [--random]

Jobs about different spine findings are drawn with the shipped QueenBee model under the profile's
own policy, 64 of them in flight on one engine, each sample with the seed that a worker would give
it. Then a fresh engine of the same kind draws each job again alone, as `honeyflow job replay` does.
For comparison other jobs are drawn alone before. With `--random` the model is a larger one with
random weights in bf16, three samples of 64 tokens a job: nothing it says is much more likely than
the rest, so that the smallest difference in arithmetic shows. The last line of the output is one
JSON object; `equal_rate` is the share of jobs of which every sample came out as recorded.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import executors
from benchmarks import models
from benchmarks.bars import options, say, tell, versions
from examples.queenbee.grammar import GRAMMARS
from examples.queenbee.shipping import MODELS
from executors import Completion, EngineConfig, Executor
from executors.resampling import RawSample, draw_until_settled, parse_policy, sample_seed
from tasks import payloads, recording, replay
from tasks.catalogue import Catalogue, build
from tasks.recording import RecordedSample, Recording
from tasks.settings import read as read_settings

MODEL = "queenbee-spine"
IN_FLIGHT = 64
MAX_NUM_SEQS = 64
FINDINGS_SEED = 7
# vLLM 0.32 dies on the CPU when it has read a part of a prompt whose request has a seed.
WHOLE_PROMPTS = {
    "enable_chunked_prefill": False,
    "max_num_batched_tokens": MAX_NUM_SEQS * models.MAX_LENGTH,
}
QUICK, FULL = 120, 640


def findings(count: int) -> list[str]:
    """As many different held-out findings."""
    texts = (one.text for one in GRAMMARS[MODEL].findings(seed=FINDINGS_SEED, split="held-out"))
    seen: dict[str, None] = {}
    for text in itertools.islice(texts, 50 * count):
        seen.setdefault(text)
        if len(seen) == count:
            break
    return list(seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is asked of which model."""

    config: EngineConfig
    catalogue: Catalogue
    requests: Sequence[Mapping[str, Any]]


def shipped(engine: str, count: int) -> Workload:
    """Findings for the shipped model, under its profile."""
    catalogue = build(read_settings({"XDG_CONFIG_HOME": "/nowhere", "XDG_DATA_HOME": "/nowhere"}))
    config = EngineConfig(
        model=MODEL, path=MODELS / MODEL, device="cpu", engine=engine, max_num_seqs=MAX_NUM_SEQS
    )
    asked = [{"model": MODEL, "findings": text} for text in findings(count)]
    return Workload(config=config, catalogue=catalogue, requests=asked)


def random(engine: str, count: int, folder: Path) -> Workload:
    """Pieces of text for a model with random weights."""
    models.make_model(folder / "random")
    config = EngineConfig(
        model="random",
        path=folder / "random",
        device="cpu",
        engine=engine,
        max_num_seqs=MAX_NUM_SEQS,
        max_model_len=models.MAX_LENGTH,
        options=WHOLE_PROMPTS if engine == "vllm" else {},
    )
    settings = {"model": "random", "k": 3, "max_tokens": 64, "temperature": 1.0}
    asked = [{**settings, "prompt": one} for one in models.prompts(count, seed=FINDINGS_SEED)]
    return Workload(config=config, catalogue=Catalogue(models={}, profiles={}), requests=asked)


async def record(
    executor: Executor[Completion], fields: Mapping[str, Any], catalogue: Catalogue
) -> Recording:
    """Draw one job as a worker does; gives it in the form in which it can be run again."""
    request = payloads.parse_request(fields)
    profile = payloads.profile_of(request, catalogue)
    spec = payloads.agreement_of(request, profile)
    policy = request.policy_name or (profile.policy if profile else "dynamic")
    # Not at random: two runs of this benchmark draw the same.
    job_id = str(uuid.uuid5(uuid.NAMESPACE_OID, str(request.to_bytes())))
    info = executor.info
    asked = Recording(
        job_id=job_id,
        model=info.name,
        model_digest=info.model_digest,
        engine=info.engine,
        engine_digest=info.engine_digest,
        device=info.device,
        adapter=None,
        prompt=payloads.prompt_of(request, profile),
        sampling=payloads.sampling_of(request, profile, seed=None),
        waves=(),
    )
    drawn: dict[int, RecordedSample] = {}

    async def draw(index: int) -> RawSample:
        seed = sample_seed(job_id, index)
        done = await replay.draw_one(executor, asked, index=index, seed=seed)
        drawn[index] = RecordedSample(
            index=index, seed=seed, text=done.text, finish_reason=str(done.finish_reason)
        )
        return RawSample(
            index=index,
            seed=seed,
            text=done.text,
            finish_reason=str(done.finish_reason),
            prompt_tokens=done.prompt_tokens,
            completion_tokens=done.completion_tokens,
        )

    agreement = payloads.parsed_agreement(spec)
    await draw_until_settled(draw=draw, policy=parse_policy(policy), agreement=agreement)
    samples = [drawn[index] for index in sorted(drawn)]
    waves = recording.waves_of(samples, policy=policy, agreement=spec)
    return replace(asked, waves=waves)


async def record_all(
    executor: Executor[Completion],
    requests: Sequence[Mapping[str, Any]],
    *,
    at_once: int,
    catalogue: Catalogue,
) -> list[Recording]:
    """Draw a job for each request, `at_once` of them in flight."""
    turn = asyncio.Semaphore(at_once)

    async def one(fields: Mapping[str, Any]) -> Recording:
        async with turn:
            return await record(executor, fields, catalogue)

    return list(await asyncio.gather(*map(one, requests)))


async def replay_all(
    executor: Executor[Completion], recordings: Sequence[Recording]
) -> tuple[int, int, int]:
    """Draw each again alone: how many jobs and samples came out the same, and of how many."""
    jobs = samples = total = 0
    for one in recordings:
        compared = await replay.draw_again(executor, one)
        equal = sum(sample.equal for sample in compared)
        jobs += equal == len(compared)
        samples += equal
        total += len(compared)
    return jobs, samples, total


async def measure(work: Workload) -> dict[str, Any]:
    """Record, replay and count."""
    config, catalogue = work.config, work.catalogue
    # Other prompts, and first: an engine remembers prompts, and how they were read.
    few = len(work.requests) // 5
    lonely, requests = work.requests[:few], work.requests[few:]
    recorder = executors.create(config)
    await recorder.load(lambda _: None)
    alone = await record_all(recorder, lonely, at_once=1, catalogue=catalogue)
    started = time.perf_counter()
    crowded = await record_all(recorder, requests, at_once=IN_FLIGHT, catalogue=catalogue)
    recorded_s = time.perf_counter() - started
    info = recorder.info
    await recorder.unload()
    replayer = executors.create(config)
    await replayer.load(lambda _: None)
    alone_jobs, _, _ = await replay_all(replayer, alone)
    started = time.perf_counter()
    jobs, samples, total = await replay_all(replayer, crowded)
    replayed_s = time.perf_counter() - started
    await replayer.unload()
    return {
        "model": info.name,
        "engine": info.engine,
        "engine_version": info.engine_version,
        "device": info.device,
        "jobs": len(crowded),
        "in_flight": min(IN_FLIGHT, len(crowded)),
        "max_num_seqs": MAX_NUM_SEQS,
        "samples": total,
        "equal_jobs": jobs,
        "equal_rate": jobs / len(crowded),
        "equal_sample_rate": samples / total,
        "alone_jobs": len(alone),
        "alone_equal_rate": alone_jobs / len(alone),
        "recorded_s": recorded_s,
        "replayed_s": replayed_s,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and print the figures and, last, one JSON object."""
    parser = options("replay", __doc__, quick="fewer jobs, about a minute")
    parser.add_argument("--engine", choices=sorted(executors.available_engines()))
    parser.add_argument("--random", action="store_true", help="a larger model with random weights")
    chosen = parser.parse_args(arguments)
    engine, count = chosen.engine or "transformers", QUICK if chosen.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        work = random(engine, count, Path(folder)) if chosen.random else shipped(engine, count)
        figures = asyncio.run(measure(work))
    for name, value in figures.items():
        say(f"{name:<18} {value}")
    tell("replay", {**figures, "versions": versions(["honeyflow"])}, quick=chosen.quick)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
