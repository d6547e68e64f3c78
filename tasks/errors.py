"""Everything a caller of honeyflow can catch, and what the parts below raise, under one root.

HoneyflowError
├── RequestInvalid            the request's shape or values are wrong; names the field
│   ├── PromptTooLarge        more characters than the limit, with both figures
│   ├── UnknownModel          no such model; names the known ones
│   ├── UnknownProfile        no such profile; names the known ones
│   └── DeadlineExpired       the deadline lies in the past
├── SettingsInvalid           the configuration is wrong; names the file and the key
├── BrokerUnavailable         Redis does not answer
├── BrokerUnsafe              Redis would lose or evict jobs; names the setting and the fix
├── LedgerAway                the ledger does not answer
├── LedgerMismatch            client and workers use different ledgers; names both places
├── JobNotFound               no such job
├── JobUnanswered             the job has no answer, and so no receipt and no report
├── JobConflict               the id or the idempotency key is taken by another request
├── JobFailed                 the job ended without an answer; carries its own code
│   ├── JobTimeout            it ran longer than it may
│   └── JobDead               it crashed its worker three times
├── JobCancelled              somebody cancelled it
├── JobExpired                its deadline passed before it was done
├── WaitTimeout               the caller stopped waiting; the job goes on
├── WorkerMisconfigured       a worker cannot start like this
├── KeyUnusable               a signing key is missing, unsafe or locked; names the file
│   └── AgentUnavailable      the ssh-agent that holds it does not answer, or will not sign
├── KeyExists                 a signing key is there already, and is never overwritten
├── BundleUnusable            a folder holds no bundle that can be used, or cannot take one
└── BundleExists              there is something where a bundle is to be written

Every error has `code` (UPPER_SNAKE_CASE), a sentence, `suggested_action`, `details`, `retriable`,
`http_status` and `exit_code`: 0 is success, 1 a failure, 124 time that ran out, 137 a job that was
killed with its worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class HoneyflowError(Exception):
    """The root. Built from a sentence; the rest has defaults, so that Celery can rebuild it."""

    code = "INTERNAL"
    retriable = False
    http_status = 500
    exit_code = 1
    suggested_action = "Look at the worker's log for the cause."

    def __init__(
        self,
        message: str = "",
        code: str | None = None,
        suggested_action: str | None = None,
        details: Mapping[str, Any] | None = None,
        retriable: bool | None = None,  # noqa: FBT001 - Celery rebuilds errors by position
    ) -> None:
        message = message or (type(self).__doc__ or "").strip()
        super().__init__(
            message,
            code or type(self).code,
            suggested_action or type(self).suggested_action,
            dict(details or {}),
            type(self).retriable if retriable is None else retriable,
        )
        self.message = message
        self.code = code or type(self).code
        self.suggested_action = suggested_action or type(self).suggested_action
        self.details = dict(details or {})
        self.retriable = type(self).retriable if retriable is None else retriable

    def __str__(self) -> str:
        """Say the sentence, the code and what to do."""
        return f"{self.message} [{self.code}] {self.suggested_action}"

    def to_dict(self) -> dict[str, Any]:
        """The error as it is stored and answered."""
        return {
            "code": self.code,
            "message": self.message,
            "suggested_action": self.suggested_action,
            "details": self.details,
            "retriable": self.retriable,
        }


class RequestInvalid(HoneyflowError):
    """The request is not valid."""

    code = "REQUEST_INVALID"
    http_status = 400
    suggested_action = "Correct the request and send it again."


class PromptTooLarge(RequestInvalid):
    """The prompt is longer than the limit."""

    code = "PROMPT_TOO_LARGE"
    http_status = 413
    suggested_action = "Shorten the prompt, or raise limits.max_prompt_chars."


class UnknownModel(RequestInvalid):
    """There is no such model."""

    code = "MODEL_UNKNOWN"
    http_status = 404
    suggested_action = "Use one of the known models, or add it under [models] in honeyflow.toml."


class UnknownProfile(RequestInvalid):
    """There is no such profile."""

    code = "PROFILE_UNKNOWN"
    http_status = 404
    suggested_action = "Use one of the known profiles, or add it under [profiles]."


class DeadlineExpired(RequestInvalid):
    """The deadline has already passed."""

    code = "DEADLINE_EXPIRED"
    suggested_action = "Give a deadline in the future, or none."


class SettingsInvalid(HoneyflowError):
    """The configuration is not valid."""

    code = "SETTINGS_INVALID"
    suggested_action = "Correct honeyflow.toml or the environment variable named above."


class BrokerUnavailable(HoneyflowError):
    """Redis does not answer."""

    code = "BROKER_UNAVAILABLE"
    retriable = True
    http_status = 503
    suggested_action = "Start Redis (`honeyflow redis start`) or correct HONEYFLOW_REDIS_URL."


class BrokerUnsafe(HoneyflowError):
    """Redis is set up so that it would lose jobs."""

    code = "BROKER_UNSAFE"
    suggested_action = "Set appendonly yes and maxmemory-policy noeviction in Redis."


class LedgerAway(HoneyflowError):
    """The ledger does not answer."""

    code = "LEDGER_UNAVAILABLE"
    retriable = True
    http_status = 503
    suggested_action = "Check HONEYFLOW_LEDGER_URL and that the database is up."


class LedgerMismatch(HoneyflowError):
    """This process and the workers use different ledgers."""

    code = "LEDGER_MISMATCH"
    http_status = 409
    suggested_action = "Point HONEYFLOW_LEDGER_URL of both at the same ledger."


class JobNotFound(HoneyflowError):
    """There is no such job in the ledger."""

    code = "JOB_NOT_FOUND"
    http_status = 404
    suggested_action = "Check the id with `honeyflow job list`."


class JobUnanswered(HoneyflowError):
    """The job has no answer, and so no receipt and no report."""

    code = "JOB_UNANSWERED"
    http_status = 404
    suggested_action = "See `honeyflow job show` for what became of it."


class JobConflict(HoneyflowError):
    """The id or the idempotency key belongs to another request."""

    code = "JOB_CONFLICT"
    http_status = 409
    suggested_action = "Use a new id or key, or send the same request again."


class JobFailed(HoneyflowError):
    """The job ended without an answer."""

    code = "JOB_FAILED"
    suggested_action = "See `honeyflow job show` for what happened to it."


class JobTimeout(JobFailed):
    """The job ran longer than its run timeout."""

    code = "TIMEOUT"
    http_status = 504
    exit_code = 124
    suggested_action = "Give it a longer run timeout, or ask for fewer tokens."


class JobDead(JobFailed):
    """The job crashed its worker three times."""

    code = "JOB_DEAD"
    exit_code = 137
    suggested_action = "Look at the reasons; the request itself may bring the engine down."


class JobCancelled(HoneyflowError):
    """The job was cancelled."""

    code = "JOB_CANCELLED"
    http_status = 409
    suggested_action = "Submit it again if it is still wanted."


class JobExpired(HoneyflowError):
    """The job's deadline passed before it was done."""

    code = "JOB_EXPIRED"
    http_status = 504
    exit_code = 124
    suggested_action = "Give it more time, or start more workers for its model."


class WaitTimeout(HoneyflowError):
    """The caller stopped waiting before the job ended; the job goes on."""

    code = "WAIT_TIMEOUT"
    retriable = True
    http_status = 504
    exit_code = 124
    suggested_action = "Wait again, or look with `honeyflow job show`."


class WorkerMisconfigured(HoneyflowError):
    """A worker cannot start with these options."""

    code = "WORKER_MISCONFIGURED"
    suggested_action = "Give --gpu N or --device cpu together with --model NAME, or --maintenance."


class KeyUnusable(HoneyflowError):
    """The signing key cannot be used."""

    code = "KEY_UNUSABLE"
    suggested_action = "Look at `honeyflow keys bee show`."


class AgentUnavailable(KeyUnusable):
    """The ssh-agent that holds the signing key does not sign."""

    code = "AGENT_UNAVAILABLE"
    retriable = True
    http_status = 503
    suggested_action = "Start the agent, add the key with ssh-add, and check ssh_agent_socket."


class KeyExists(HoneyflowError):
    """There is a signing key already."""

    code = "KEY_EXISTS"
    http_status = 409
    suggested_action = "Keep it, or replace it with `honeyflow keys bee rotate`."


class BundleUnusable(HoneyflowError):
    """The folder holds no bundle that can be used."""

    code = "BUNDLE_UNUSABLE"
    http_status = 400
    exit_code = 2
    suggested_action = "Write it again with `honeyflow job bundle JOB -o DIR`."


class BundleExists(HoneyflowError):
    """There is something at that place already."""

    code = "BUNDLE_EXISTS"
    http_status = 409
    suggested_action = "Name a folder that is not there yet, or an empty one."


def describe(error: BaseException) -> dict[str, Any]:
    """Any error as a stored value; the packages below have errors of the same shape."""
    if isinstance(error, HoneyflowError):
        return error.to_dict()
    return {
        "code": getattr(error, "code", "INTERNAL"),
        "message": getattr(error, "message", None) or f"{type(error).__name__}: {error}",
        "suggested_action": getattr(
            error, "suggested_action", "Look at the worker's log for the cause."
        ),
        "details": dict(getattr(error, "details", {}) or {}),
        "retriable": bool(getattr(error, "retriable", False)),
    }


def adopt(error: BaseException) -> HoneyflowError:
    """An error of a package below as one of ours, with its own code, for a caller to catch."""
    if isinstance(error, HoneyflowError):
        return error
    told = describe(error)
    status = getattr(error, "http_status", 500)
    cls = RequestInvalid if 400 <= status < 500 else JobFailed
    by_code = {
        "LEDGER_UNAVAILABLE": LedgerAway,
        "LEDGER_BUSY": LedgerAway,
        "LEDGER_FULL": LedgerAway,
        "JOB_CONFLICT": JobConflict,
        "IDEMPOTENCY_CONFLICT": JobConflict,
        "JOB_NOT_FOUND": JobNotFound,
    }
    return by_code.get(told["code"], cls)(**told)


def from_dict(error: Mapping[str, Any]) -> JobFailed:
    """The stored error of a job as an exception."""
    by_code = {kind.code: kind for kind in (JobTimeout, JobDead)}
    return by_code.get(str(error.get("code")), JobFailed)(
        str(error.get("message", "")),
        code=error.get("code"),
        suggested_action=error.get("suggested_action"),
        details=error.get("details") or {},
        retriable=bool(error.get("retriable", False)),
    )
