"""How an answer came about: the part of a report that a receipt's twelve fields have no room for.

It is a member of the report, so that the receipt's `report_hash` covers it. With it a third party
can draw the samples again, count the votes again, and see why drawing stopped. It decides nothing:
it writes down what the worker knew when it committed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from proofs.canonical import MAX_SAFE_INTEGER
from proofs.cid import CidProfile
from proofs.errors import ReportInvalid
from proofs.hashing import is_digest

ENCRYPTIONS = ("age",)
"""How a published report may be encrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleDigest:
    """One sample that was counted.

    `digest` is of the sample's text in UTF-8. `answer_class` is the class the agreement rule put it
    in (written as `class`), None for a sample that is not `valid`.

    Raises:
        ReportInvalid: A value is not of its field's form.
    """

    index: int
    seed: int | None
    digest: str
    answer_class: str | None
    valid: bool

    def __post_init__(self) -> None:
        """Refuse what could not be compared later."""
        _check_count("index", self.index)
        if self.seed is not None:
            _check_count("seed", self.seed)
        _check_digest("digest", self.digest)

    def to_json(self) -> dict[str, object]:
        """Return the sample as it stands in the report."""
        return {
            "index": self.index,
            "seed": self.seed,
            "digest": self.digest,
            "class": self.answer_class,
            "valid": self.valid,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """What produced the answer and how sure it is.

    - `model_digest`, `engine`, `engine_version`, `engine_digest`, `device`: what computed.
    - `sampler`: the sampling settings shared by all samples; each sample's seed is its own.
    - `samples`: every sample counted, in the order of their indices.
    - `policy`, `policy_version`: the rule that chose how many to draw.
    - `profile`, `profile_digest`: the request profile, both None for a bare prompt.
    - `fence`: the claim this was written under; a later claim has a greater one.
    - `confidence_raw`: the leading class's share of all samples, 0..1; `confidence`: the calibrated
      one if `confidence_calibrated`, then with a `calibrator_version`, else the raw one.
    - `k_launched`, `k_invalid`: samples started, and samples that could not be counted for a class.
    - `rounds`: waves of samples; `stop_reason`: why there was no further one.
    - `decision`: what became of the answer; `review_reasons`: why a person should look, or none.
    - `cid_profile`: how the receipt's `ipfs_cid` was computed.
    - `samples_of`: the job that drew samples used here, if the same request of another job did; not
      there otherwise. Their seeds come from that job's id.
    - `clock_skew_s`: whole seconds by which the worker's clock was ahead of the one that gives the
      receipt its timestamp, or that clock was set on during the run; not there within 5 seconds.
    - `report_encryption`: `age` where the receipt's `ipfs_cid` is that of the report's age
      ciphertext; not there where it is that of the report itself.

    Raises:
        ReportInvalid: A value is not of its field's form; the message begins with its name.
    """

    model_digest: str
    engine: str
    engine_version: str
    engine_digest: str
    device: str
    sampler: Mapping[str, object]
    samples: tuple[SampleDigest, ...]
    policy: str
    policy_version: str
    calibrator_version: str | None = None
    profile: str | None = None
    profile_digest: str | None = None
    fence: int
    confidence_raw: float
    confidence: float
    confidence_calibrated: bool = False
    k_launched: int
    k_invalid: int
    rounds: int
    stop_reason: str
    decision: str
    review_reasons: tuple[str, ...] = ()
    cid_profile: str = CidProfile.UNIXFS_V0_2015
    samples_of: str | None = None
    clock_skew_s: int | None = None
    report_encryption: str | None = None

    def __post_init__(self) -> None:
        """Refuse a companion that contradicts itself."""
        _check_digest("model_digest", self.model_digest)
        _check_digest("engine_digest", self.engine_digest)
        if (self.profile is None) != (self.profile_digest is None):
            raise _invalid("profile_digest", "a profile and its digest come together")
        if self.profile_digest is not None:
            _check_digest("profile_digest", self.profile_digest)
        if self.confidence_calibrated != (self.calibrator_version is not None):
            raise _invalid(
                "calibrator_version", "a calibrated confidence and its calibrator come together"
            )
        _check_count("fence", self.fence)
        _check_fraction("confidence_raw", self.confidence_raw)
        _check_fraction("confidence", self.confidence)
        _check_count("k_launched", self.k_launched)
        _check_count("k_invalid", self.k_invalid)
        _check_count("rounds", self.rounds)
        indices = [sample.index for sample in self.samples]
        if indices != sorted(set(indices)):
            raise _invalid("samples", "indices must rise, each given once")
        if self.cid_profile not in tuple(CidProfile):
            raise _invalid("cid_profile", f"there is no CID profile {self.cid_profile!r}")
        if self.report_encryption not in (None, *ENCRYPTIONS):
            raise _invalid(
                "report_encryption", f"{self.report_encryption!r} is no encryption known here"
            )

    def to_json(self) -> dict[str, object]:
        """Return the companion as it stands in the report: its fields by name."""
        members = {field.name: getattr(self, field.name) for field in fields(self)}
        members["samples"] = [sample.to_json() for sample in self.samples]
        for name in ("samples_of", "clock_skew_s", "report_encryption"):
            if members[name] is None:
                del members[name]
        return members


def _check_digest(field: str, value: object) -> None:
    if not is_digest(value):
        raise _invalid(field, "not sha256: and 64 lower-case hexadecimal digits")


def _check_count(field: str, value: object) -> None:
    # Beyond 2**53 - 1 a reader with doubles would see another number, and so another seed.
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SAFE_INTEGER:
        raise _invalid(field, f"not an integer from 0 to {MAX_SAFE_INTEGER}")


def _check_fraction(field: str, value: float) -> None:
    if not math.isfinite(value) or not 0 <= value <= 1:
        raise _invalid(field, f"{value!r} is not within 0..1")


def _invalid(field: str, reason: str) -> ReportInvalid:
    return ReportInvalid(
        f"{field}: {reason}",
        suggested_action="Build the companion from what the engine and the policy reported.",
        details={"field": field},
    )
