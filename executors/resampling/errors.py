"""What can be wrong with how a job asks to be resampled.

ExecutorError
└── ResamplingError
    ├── PolicyUnknown        no policy of that name or form; the message lists the known ones
    ├── KOutOfRange          a number of samples below 1 or above 40, or limits that cross
    ├── AgreementInvalid     the description of "the same answer" cannot be used
    │   └── SchemaUnsatisfiable  no answer can ever meet the schema; names the place in it
    ├── ThresholdsInvalid    confidence thresholds that are no fractions, or cross
    └── SampleMisplaced      a drawn or stored sample does not carry the index it was asked for

All but the last are the caller's to mend and are found before anything is drawn.
"""

from __future__ import annotations

from executors.errors import ExecutorError


class ResamplingError(ExecutorError):
    """The job cannot be resampled as it asks to be."""

    code = "RESAMPLING_ERROR"
    http_status = 400


class PolicyUnknown(ResamplingError):
    """There is no resampling policy of that name or form."""

    code = "POLICY_UNKNOWN"


class KOutOfRange(ResamplingError):
    """A number of samples lies outside what a job may draw."""

    code = "K_OUT_OF_RANGE"


class AgreementInvalid(ResamplingError):
    """The description of when two answers are the same cannot be used."""

    code = "AGREEMENT_INVALID"


class SchemaUnsatisfiable(AgreementInvalid):
    """No answer can ever meet the schema."""

    code = "SCHEMA_UNSATISFIABLE"


class ThresholdsInvalid(ResamplingError):
    """The confidence thresholds are not fractions in ascending order."""

    code = "THRESHOLDS_INVALID"


class SampleMisplaced(ResamplingError):
    """A sample carries another index than the one it was asked for."""

    code = "SAMPLE_MISPLACED"
    http_status = 500
