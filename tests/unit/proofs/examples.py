"""One job's material, whole and consistent, and Hypothesis strategies for more of it."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from proofs import (
    CidProfile,
    Companion,
    Receipt,
    SampleDigest,
    build_report,
    canonicalize,
    compute_cid,
    confidence_score,
    sha256_digest,
    timestamp,
)
from proofs.canonical import MAX_SAFE_INTEGER

# A busy machine is no failure: properties are about values, never about time.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

JOB_ID = "0b0f7c1e-52a4-4d39-9f6e-2f6a1c1d7e55"
REQUEST: Mapping[str, object] = {
    "v": 1,
    "model": "queenbee-spine",
    "prompt": "L4-L5: moderate stenosis, 2 mm anterolisthesis – no cord signal change",
    "temperature": 0.7,
    "max_tokens": 96,
    "profile": "spine",
}
ANSWER = '{"grade":"moderate","impression":"Stenosis at L4–L5","level":"L4-L5"}'
OTHER_ANSWER = '{"grade":"severe","impression":"Stenosis at L4–L5","level":"L4-L5"}'
SALT = bytes(range(32))
SAMPLE_TEXTS = (ANSWER, ANSWER, OTHER_ANSWER, ANSWER, "not even JSON")
SAMPLES = tuple(
    {"index": index, "text": text, "completion_tokens": 31}
    for index, text in enumerate(SAMPLE_TEXTS)
)


def sample_digests() -> tuple[SampleDigest, ...]:
    """Return the digests of the example's samples: three alike, one other, one invalid."""
    classes = ("a", "a", "b", "a", None)
    return tuple(
        SampleDigest(
            index=index,
            seed=1000 + index,
            digest=sha256_digest(text.encode("utf-8")),
            answer_class=classes[index],
            valid=classes[index] is not None,
        )
        for index, text in enumerate(SAMPLE_TEXTS)
    )


def companion(**changes: object) -> Companion:
    """Return the example's companion, with some of its values changed."""
    values: dict[str, object] = {
        "model_digest": "sha256:" + "ab" * 32,
        "engine": "transformers",
        "engine_version": "5.19.0",
        "engine_digest": "sha256:" + "cd" * 32,
        "device": "cpu",
        "sampler": {"temperature": 0.7, "top_p": 1.0, "max_tokens": 96},
        "samples": sample_digests(),
        "policy": "dynamic",
        "policy_version": "1",
        "profile": "spine",
        "profile_digest": "sha256:" + "ef" * 32,
        "fence": 1,
        "confidence_raw": 0.6,
        "confidence": 0.6,
        "k_launched": 5,
        "k_invalid": 1,
        "rounds": 2,
        "stop_reason": "settled",
        "decision": "accepted",
        "review_reasons": ("below_accept",),
    }
    return Companion(**{**values, **changes})  # type: ignore[arg-type]  # broken on purpose in tests


def report(**changes: object) -> bytes:
    """Return the example's report, with some of its parts changed."""
    values: dict[str, object] = {
        "job_id": JOB_ID,
        "request": REQUEST,
        "answer": ANSWER,
        "samples": SAMPLES,
        "companion": companion(),
    }
    return build_report(**{**values, **changes})  # type: ignore[arg-type]  # as above


def receipt_fields(**changes: object) -> dict[str, object]:
    """Return the twelve values of the example's receipt, with some of them changed."""
    stored = report()
    values: dict[str, object] = {
        "job_id": JOB_ID,
        "worker_ens": "bumble70b.swarmbee.eth",
        "model": "queenbee-spine",
        "input_hash": sha256_digest(canonicalize(REQUEST)),
        "output_hash": sha256_digest(ANSWER.encode("utf-8")),
        "report_hash": sha256_digest(stored),
        "inference_time_ms": 75000,
        "confidence_score": confidence_score(0.6),
        "k_samples": 5,
        "timestamp": timestamp(1767216600.9),
        "epoch": 0,
        "ipfs_cid": compute_cid(stored),
    }
    return {**values, **changes}


def receipt(**changes: object) -> Receipt:
    """Return the example's receipt, with some of its fields changed."""
    return Receipt(**receipt_fields(**changes))  # type: ignore[arg-type]  # as above


_NAME_CHARACTERS = st.characters(codec="utf-8", exclude_categories=("C", "Z"))
_NAMES = st.text(_NAME_CHARACTERS, min_size=1, max_size=40)
_DIGESTS = st.binary(max_size=8).map(sha256_digest)
_NATURAL = st.integers(min_value=0, max_value=MAX_SAFE_INTEGER)

RECEIPTS = st.builds(
    Receipt,
    job_id=st.uuids().map(str),
    worker_ens=_NAMES.filter(lambda name: not set(name) & set("+/")),
    model=_NAMES,
    input_hash=_DIGESTS,
    output_hash=_DIGESTS,
    report_hash=_DIGESTS,
    inference_time_ms=_NATURAL,
    confidence_score=st.integers(min_value=0, max_value=100),
    k_samples=st.integers(min_value=1, max_value=MAX_SAFE_INTEGER),
    timestamp=st.integers(min_value=0, max_value=253402300799).map(timestamp),
    epoch=_NATURAL,
    ipfs_cid=st.builds(compute_cid, st.binary(max_size=8), st.sampled_from(CidProfile)),
)

_TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-MAX_SAFE_INTEGER, max_value=MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)
