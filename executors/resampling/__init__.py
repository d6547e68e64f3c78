"""Dynamic K: how many samples of an answer to draw, which of them is the answer, how sure it is.

`draw_until_settled` is the whole of it: a `Policy` decides on waves, an `Agreement` says which
samples are the same answer, `Thresholds` and a `Calibrator` turn the vote into a verdict. The rules
are pure; only the loop awaits, and it draws through a function it is given. No engine, broker or
store.
"""

from __future__ import annotations

from executors.resampling.agreement import Agreement, parse_agreement
from executors.resampling.ballot import Ballot, Standing
from executors.resampling.calibration import Calibrator, Features, Uncalibrated
from executors.resampling.errors import (
    AgreementInvalid,
    KOutOfRange,
    PolicyUnknown,
    ResamplingError,
    SampleMisplaced,
    SchemaUnsatisfiable,
    ThresholdsInvalid,
)
from executors.resampling.loop import draw_until_settled
from executors.resampling.policy import (
    MAX_K,
    Decision,
    Policy,
    StopReason,
    Tally,
    bounded,
)
from executors.resampling.presets import POLICY_NAMES, parse_policy
from executors.resampling.seeds import sample_seed
from executors.resampling.types import (
    Classified,
    Drawn,
    Outcome,
    Progress,
    RawSample,
    Sample,
    Thresholds,
    Verdict,
    Vote,
)
from executors.resampling.wave import Draw

__all__ = [
    "MAX_K",
    "POLICY_NAMES",
    "Agreement",
    "AgreementInvalid",
    "Ballot",
    "Calibrator",
    "Classified",
    "Decision",
    "Draw",
    "Drawn",
    "Features",
    "KOutOfRange",
    "Outcome",
    "Policy",
    "PolicyUnknown",
    "Progress",
    "RawSample",
    "ResamplingError",
    "Sample",
    "SampleMisplaced",
    "SchemaUnsatisfiable",
    "Standing",
    "StopReason",
    "Tally",
    "Thresholds",
    "ThresholdsInvalid",
    "Uncalibrated",
    "Verdict",
    "Vote",
    "bounded",
    "draw_until_settled",
    "parse_agreement",
    "parse_policy",
    "sample_seed",
]
