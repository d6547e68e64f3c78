"""What can go wrong with a witness that is asked for its cosignature.

HoneyflowError
└── WitnessError             with the witness's name in `details`
    ├── WitnessAway          it does not answer, or not now
    ├── WitnessRefused       it does not know the log or its key
    ├── WitnessContradicts   it holds another history of this log, or more of it than this ledger
    └── WitnessAnswerInvalid its answer is not what a witness answers, or not from its key
"""

from __future__ import annotations

from tasks.errors import HoneyflowError


class WitnessError(HoneyflowError):
    """A witness was asked in vain."""

    code = "WITNESS_ERROR"
    http_status = 502


class WitnessAway(WitnessError):
    """The witness does not answer."""

    code = "WITNESS_UNAVAILABLE"
    retriable = True
    http_status = 503
    suggested_action = "Nothing: it is asked again. If it stays away, tell who runs it."


class WitnessRefused(WitnessError):
    """The witness refuses this log."""

    code = "WITNESS_REFUSED"
    suggested_action = "Give who runs it the log's vkey, as `honeyflow keys bee show` prints it."


class WitnessContradicts(WitnessError):
    """The witness has cosigned another history of this log."""

    code = "WITNESS_CONTRADICTS"
    http_status = 409
    suggested_action = (
        "If the ledger was restored from a copy, open a new log: `honeyflow receipts succeed-log`."
    )


class WitnessAnswerInvalid(WitnessError):
    """The witness's answer is not what a witness answers."""

    code = "WITNESS_ANSWER_INVALID"
    suggested_action = "Check url and vkey of the witness under [witnesses] in honeyflow.toml."
