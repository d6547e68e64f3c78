"""What a submission says beside its request, checked where the caller is: times, queue, key.

Fields are named as Celery names them, whichever way the submission came.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ledger import WorkerRow
from routing import RoutingError, job_queue, model_queue
from tasks.errors import DeadlineExpired, RequestInvalid, adopt

#: The longest wait or run that makes sense: a hundred years.
FAR_S = 100 * 365.25 * 86_400
MAX_KEY_CHARS = 255

_GONE = frozenset({"stale", "stopped", "failed"})


def fields_of(request: object, *, place: str = "request") -> Mapping[str, Any]:
    """A request's fields, if it has any.

    Raises:
        RequestInvalid: it is no mapping.
    """
    if isinstance(request, Mapping):
        return request
    raise RequestInvalid(
        f"{place}: a request is a mapping of fields, not {_kind(request)}.",
        suggested_action='Give {"model": "…", "prompt": "…"}.',
        details={"field": place},
    )


def requests_of(requests: object) -> list[Mapping[str, Any]]:
    """The fields of each of many requests; an error names the first that has none."""
    if not isinstance(requests, Iterable):
        raise _wrong("requests", f"a list of requests is wanted, not {_kind(requests)}")
    return [fields_of(fields, place=f"requests.{number}") for number, fields in enumerate(requests)]


def delay(given: object) -> float | None:
    """Seconds until a job is due; None and what lies in the past are now."""
    seconds = _seconds("countdown", given)
    return None if seconds is None or seconds <= 0 else seconds


def expiry(given: object) -> float | None:
    """Seconds until a job expires, if ever.

    Raises:
        DeadlineExpired: they are over.
    """
    seconds = _seconds("expires", given)
    if seconds is not None and seconds <= 0:
        raise DeadlineExpired(
            f"The deadline passed {-seconds:.1f} s ago.",
            details={"field": "expires", "seconds": seconds},
        )
    return seconds


def time_limit(hard: object, soft: object = None) -> float | None:
    """A job's run timeout from Celery's two limits: the shorter one.

    Celery's soft limit raises inside the task, which may catch it; nothing of ours does, so both
    end a job.
    """
    limits = [_limit("time_limit", hard), _limit("soft_time_limit", soft)]
    return min((seconds for seconds in limits if seconds is not None), default=None)


def idempotency_key(given: object) -> str | None:
    """The caller's own name for this request, if it has one."""
    if given is None:
        return None
    if not isinstance(given, str):
        raise _wrong("idempotency_key", f"a text is wanted, not {_kind(given)}")
    if not 0 < len(given) <= MAX_KEY_CHARS:
        raise _wrong(
            "idempotency_key", f"{len(given)} characters; 1 to {MAX_KEY_CHARS} are allowed"
        )
    return given


def queue(given: object, *, model: str, fleet: Sequence[WorkerRow] = ()) -> str:
    """The queue of a job: its model's, unless a GPU's is given that `fleet` has.

    A GPU's queue is known once a worker has said that it consumes it, also while it is stopped.

    Raises:
        RequestInvalid: it is no such queue, no worker has it, or those that do serve other models.
    """
    try:
        own = model_queue(model)
        name = own if given is None else job_queue(getattr(given, "name", given), model=model)
    except RoutingError as error:
        raise adopt(error) from error
    if name == own:
        return own
    told = {row.worker: row.facts.get("queues", ()) for row in fleet}
    known = sorted({q for queues in told.values() for q in queues if q.startswith("gpu.")})
    if name not in known:
        raise _no_queue(
            f"No worker consumes the queue {name!r}; known ones: {', '.join(known) or 'none'}.",
            queue=name,
            known=known,
        )
    here = [row for row in fleet if name in told[row.worker] and row.state not in _GONE]
    serving = sorted({str(row.facts.get("model")) for row in here})
    if serving and model not in serving:
        raise _no_queue(
            f"The worker of the queue {name!r} serves {', '.join(serving)}, not {model}.",
            queue=name,
            model=model,
            serving=serving,
        )
    return name


def _no_queue(sentence: str, **details: Any) -> RequestInvalid:
    return RequestInvalid(
        sentence,
        code="QUEUE_INVALID",
        suggested_action="Name the queue of a GPU whose worker serves the model, or leave it out.",
        details={"field": "queue", **details},
    )


def _limit(name: str, given: object) -> float | None:
    seconds = _seconds(name, given)
    if seconds is not None and seconds <= 0:
        raise _wrong(name, f"{given!r} is not more than 0 seconds")
    return seconds


def _seconds(name: str, given: object) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _wrong(name, f"a number of seconds is wanted, not {_kind(given)}")
    if abs(given) > FAR_S or math.isnan(given):
        raise _wrong(name, f"{_kind(given)} is not a usable number of seconds")
    return float(given)


def _wrong(field: str, why: str) -> RequestInvalid:
    return RequestInvalid(f"{field}: {why}.", details={"field": field})


def _kind(value: object) -> str:
    try:
        return f"{type(value).__name__} {value!r:.60}"
    except ValueError:
        # Python does not write out integers of thousands of digits.
        return type(value).__name__
