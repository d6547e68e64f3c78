"""A recording is read from a bundle that its receipt vouches for, and from nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors import Message, Prompt, Sampling
from proofs import (
    Receipt,
    build_report,
    canonicalize,
    compute_cid,
    confidence_score,
    sha256_digest,
)
from tasks import bundle, recording
from tasks.errors import BundleUnusable
from tasks.recording import RecordedSample, waves_of
from tests.unit.proofs.examples import JSON_VALUES, companion, receipt_fields, sample_digests
from tests.unit.proofs.examples import SAMPLE_TEXTS as TEXTS

REQUEST = {"v": 1, "model": "queenbee-spine", "prompt": "L4-L5?"}
SAMPLER = {name: value for name, value in asdict(Sampling(stop=("\n",))).items() if name != "seed"}
SAMPLES = [
    {"index": index, "text": text, "finish_reason": "stop", "completion_tokens": 3}
    for index, text in enumerate(TEXTS)
]
METADATA: dict[str, Any] = {
    "v": 1,
    "policy": "fixed:5",
    "agreement": {"type": "text"},
    "prompt": {"text": "L4-L5?"},
}


def write(folder: Path, *, metadata: object = METADATA, **parts: Any) -> Path:
    """A bundle with a receipt that vouches for its parts, whatever they are."""
    vouched = companion(**{"sampler": SAMPLER, **parts.pop("companion", {})})
    given = {"job_id": receipt_fields()["job_id"], "request": REQUEST, "answer": TEXTS[0]}
    report = build_report(**{**given, "samples": SAMPLES, "companion": vouched, **parts})
    issued = receipt_fields(
        input_hash=sha256_digest(canonicalize(REQUEST)),
        report_hash=sha256_digest(report),
        ipfs_cid=compute_cid(report),
        confidence_score=confidence_score(0.6),
    )
    folder.mkdir(exist_ok=True)
    files = {
        bundle.REQUEST: canonicalize(REQUEST),
        bundle.REPORT: report,
        bundle.RECEIPT: Receipt(**issued).to_bytes(),  # type: ignore[arg-type]
        bundle.RESULT: TEXTS[0].encode(),
        bundle.METADATA: json.dumps(metadata).encode(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_a_recording_has_what_was_asked_and_drawn(tmp_path: Path) -> None:
    """Settings, seeds and samples come from the report, the prompt from the metadata."""
    read = recording.read(write(tmp_path))

    assert (Prompt(text="L4-L5?"), Sampling(stop=("\n",))) == (read.prompt, read.sampling)
    ((*samples,),) = read.waves
    assert [one.text for one in samples] == list(TEXTS)
    assert [one.seed for one in samples] == [one.seed for one in sample_digests()]
    assert ("transformers", "cpu") == (read.engine, read.device)


def test_a_chat_comes_back_as_a_chat(tmp_path: Path) -> None:
    """Its turns, in order."""
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "L4?"}]
    read = recording.read(write(tmp_path, metadata={**METADATA, "prompt": {"messages": turns}}))

    expected = (Message(role="system", content="be brief"), Message(role="user", content="L4?"))
    assert Prompt(messages=expected) == read.prompt


def test_a_bias_is_by_token_again(tmp_path: Path) -> None:
    """JSON has no integers for keys."""
    sampler = {**SAMPLER, "logit_bias": {"17": 5.0}}

    read = recording.read(write(tmp_path, companion={"sampler": sampler}))

    assert {17: 5.0} == read.sampling.logit_bias


def recorded(*texts: str) -> list[RecordedSample]:
    """Samples of these texts."""
    return [
        RecordedSample(index=index, seed=index, text=text, finish_reason="stop")
        for index, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("policy", "texts", "sizes"),
    [
        ("dynamic", "aaa", [3]),
        ("dynamic", "abaaa", [3, 2]),
        ("fixed:5", "abcde", [5]),
        # Drawn by another version of the policy, which had not had enough yet.
        ("fixed:3", "aaaaa", [3, 2]),
        ("dynamic", "", []),
    ],
)
def test_waves_are_those_of_the_policy(policy: str, texts: str, sizes: list[int]) -> None:
    """What was asked for at once is drawn at once."""
    waves = waves_of(recorded(*texts), policy=policy, agreement={"type": "text"})

    assert sizes == [len(wave) for wave in waves]
    assert recorded(*texts) == [sample for wave in waves for sample in wave]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"samples": [*SAMPLES[1:]]}, "the samples do not count from 0"),
        ({"samples": SAMPLES[::-1]}, "the samples do not count from 0"),
        ({"samples": [{"index": 0, "text": TEXTS[0]}]}, "KeyError: 'finish_reason'"),
        ({"samples": [{"index": 0, "finish_reason": "stop"}]}, "KeyError: 'text'"),
        ({"companion": {"sampler": {**SAMPLER, "warmth": 1}}}, "unknown settings: warmth"),
        ({"companion": {"sampler": {**SAMPLER, "max_tokens": "many"}}}, "max_tokens: Input"),
        ({"metadata": []}, "TypeError: list indices"),
        ({"metadata": {**METADATA, "prompt": {"text": 5}}}, "text: Input should be"),
        ({"metadata": {**METADATA, "prompt": {}}}, "either a text or a list of messages"),
        ({"metadata": {**METADATA, "policy": "magic"}}, "magic"),
        ({"metadata": {**METADATA, "agreement": {"type": "magic"}}}, "magic"),
        ({"metadata": {**METADATA, "v": 2}}, "metadata.json is of version '2'; only version 1 is"),
        ({"metadata": {**METADATA, "v": True}}, "metadata.json is of version 'True'"),
        ({"metadata": {**METADATA, "v": "1" * 99}}, f"version '{'1' * 40}'; only version 1"),
        ({"metadata": {"policy": "fixed:5"}}, "KeyError: 'v'"),
    ],
)
def test_what_cannot_be_run_again_is_refused(
    tmp_path: Path, parts: dict[str, Any], reason: str
) -> None:
    """A receipt vouches for whatever its issuer wrote; the message says what is wrong."""
    with pytest.raises(BundleUnusable) as caught:
        recording.read(write(tmp_path, **parts))

    assert reason in caught.value.message


@given(changed=st.dictionaries(st.sampled_from(sorted(METADATA)), JSON_VALUES), prompt=JSON_VALUES)
def test_any_metadata_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changed: dict[str, Any], prompt: object
) -> None:
    """Nothing else ever comes out of it."""
    folder = tmp_path_factory.getbasetemp() / "fuzzed"
    metadata = {**METADATA, "prompt": {"text": prompt}, **changed}
    try:
        recording.read(write(folder, metadata=metadata))
    except BundleUnusable as error:
        assert 2 == error.exit_code
