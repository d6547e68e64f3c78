"""A job in a form in which it can be run again: what was asked, and the samples that were drawn.

It is read from a bundle that is first checked against its receipt, in the steps of `proofs.verify`.
So the receipt vouches for the request, the seeds, the sampler's settings and the samples. What the
model read stands in `metadata.json`, which it does not vouch for: another prompt gives other
answers, and never an equal replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from executors import Prompt, Sampling
from executors.resampling import Ballot, ResamplingError, parse_policy
from proofs import Outcome, ProofError, check_receipt, parse_json, parse_report
from tasks import bundle, payloads
from tasks.errors import BundleUnusable, HoneyflowError

_FILES = (bundle.REQUEST, bundle.REPORT, bundle.RECEIPT, bundle.RESULT, bundle.METADATA)

# Larger than a request at its own limits, which stands in it.
_MAX_DEPTH = 48
_MAX_KEYS = 100_000

_PROMPT = TypeAdapter(Prompt)
_SAMPLING = TypeAdapter(Sampling)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSample:
    """One sample as it was counted."""

    index: int
    seed: int
    text: str
    finish_reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A job as it can be run again: what was asked of which model, and its samples by waves."""

    job_id: str
    model: str
    model_digest: str
    engine: str
    engine_digest: str
    device: str
    adapter: str | None
    prompt: Prompt
    sampling: Sampling
    waves: tuple[tuple[RecordedSample, ...], ...]


def read(folder: Path) -> Recording:
    """The recording in a bundle's folder.

    Raises:
        BundleUnusable: a file is missing or out of form, or is not what the receipt vouches for.
    """
    files = bundle.read(folder, _FILES)
    steps = check_receipt(
        files[bundle.RECEIPT],
        report=files[bundle.REPORT],
        request=files[bundle.REQUEST],
        output=files[bundle.RESULT],
    )
    for step in steps:
        if step.outcome is Outcome.FAILED:
            raise BundleUnusable(
                f"The bundle in {folder} is not what its receipt vouches for: step {step.number}, "
                f"{step.name}: {step.message}.",
                details={"step": step.number},
            )
    try:
        return _recording(files)
    except (ProofError, HoneyflowError, ResamplingError) as error:
        raise BundleUnusable(f"The bundle in {folder}: {error.message}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleUnusable(
            f"The bundle in {folder} lacks something that a replay needs, or has it in another "
            f"form: {_told(error)}.",
        ) from error


def waves_of(
    samples: Sequence[RecordedSample], *, policy: str, agreement: Mapping[str, Any]
) -> tuple[tuple[RecordedSample, ...], ...]:
    """Put samples into the waves in which the policy asked for them."""
    decide, ballot = parse_policy(policy).decide, Ballot(payloads.parsed_agreement(agreement))
    waves = []
    while (begun := len(ballot)) < len(samples):
        # A policy of another version may have stopped before; what is left was drawn all the same.
        asked = decide(ballot.tallies()).draw or len(samples)
        waves.append(tuple(samples[begun : begun + asked]))
        for sample in waves[-1]:
            truncated = sample.finish_reason == "length"
            ballot.add(sample.index, sample.text, truncated=truncated)
    return tuple(waves)


def _recording(files: Mapping[str, bytes]) -> Recording:
    document: Any = parse_report(files[bundle.REPORT])
    metadata: Any = parse_json(files[bundle.METADATA], max_depth=_MAX_DEPTH, max_keys=_MAX_KEYS)
    _require_known(metadata["v"])
    companion = document["companion"]
    request = payloads.request_from_bytes(files[bundle.REQUEST])
    if metadata["prompt"] is None:
        raise BundleUnusable(
            "Where it was written, the job's profile was not known any more, so that it does not "
            "tell what the model read.",
            suggested_action="Write it where the profile of that version is known.",
        )
    seeds = {one["index"]: one["seed"] for one in companion["samples"]}
    samples = [
        RecordedSample(
            index=one["index"],
            seed=_whole(seeds[one["index"]]),
            text=_text(one["text"]),
            finish_reason=_text(one["finish_reason"]),
        )
        for one in document["samples"]
    ]
    if [sample.index for sample in samples] != list(range(len(samples))):
        raise ValueError("the samples do not count from 0")
    return Recording(
        job_id=document["job_id"],
        model=request.model,
        model_digest=_text(companion["model_digest"]),
        engine=_text(companion["engine"]),
        engine_digest=_text(companion["engine_digest"]),
        device=_text(companion["device"]),
        adapter=request.adapter,
        prompt=_PROMPT.validate_python(metadata["prompt"]),
        sampling=_sampling(companion["sampler"]),
        waves=waves_of(samples, policy=metadata["policy"], agreement=metadata["agreement"]),
    )


def _require_known(version: object) -> None:
    # True and 1.0 equal 1.
    if type(version) is not int or version != bundle.VERSION:
        raise BundleUnusable(
            f"{bundle.METADATA} is of version {str(version)[:40]!a}; only version {bundle.VERSION} "
            "is known.",
            suggested_action="Replay it with the honeyflow that wrote it, or a newer one.",
        )


def _sampling(sampler: Mapping[str, Any]) -> Sampling:
    if unknown := sampler.keys() - Sampling.__dataclass_fields__.keys():
        raise ValueError(f"the sampler has unknown settings: {', '.join(sorted(unknown))}")
    return _SAMPLING.validate_python(sampler)


def _told(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a value of type {type(value).__name__} stands for a text")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("a sample has no seed")
    return value
