"""Celery's canvas, kept in the ledger: what a job shall set off when it has ended.

`apply` is the sending half: it takes a call's canvas off the message and puts it into the job's
row. `continue_from` is the finishing half: it stores Celery's copy of the result, and sets off
callbacks, the next step of a chain and the body of a chord. Every task it sets off has an id that
was fixed beforehand: a job of ours is entered once however often it is set off, a foreign task is
sent at least once. A step that cannot be submitted becomes a failed job under its id, so that
whoever waits for it is told.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import redis
from celery import Celery, signature
from celery.app.task import Context
from celery.result import AsyncResult
from celery.utils.functional import maybe_list
from kombu.exceptions import OperationalError

from ledger import Job, jobs
from monitoring import trace_context
from monitoring.trace_context import TraceContext
from tasks import refusals, signatures, wiring
from tasks.errors import (
    HoneyflowError,
    JobCancelled,
    JobConflict,
    JobExpired,
    LedgerMismatch,
    RequestInvalid,
    describe,
    from_dict,
)
from tasks.messages import INFER
from tasks.submission import time_limit

if TYPE_CHECKING:
    from tasks.client import Client

logger = logging.getLogger(__name__)

_CANVAS_OPTIONS = ("link", "link_error", "chain", "chord", "reply_to", "replaced_task_nesting")
_AWAY = (OperationalError, redis.RedisError, ConnectionError, TimeoutError, LedgerMismatch)
_SETTING_OFF: ContextVar[bool] = ContextVar("setting_off", default=False)


@contextmanager
def setting_off() -> Iterator[None]:
    """Within it nobody is there to catch an error: what cannot be submitted is a failed job."""
    token = _SETTING_OFF.set(True)
    try:
        yield
    finally:
        _SETTING_OFF.reset(token)


def is_setting_off() -> bool:
    """Whether an ended job is being delivered, here and now."""
    return _SETTING_OFF.get()


def is_away(error: BaseException) -> bool:
    """Whether an error only says that a store or the broker cannot be used now."""
    if isinstance(error, redis.DataError):
        return False
    return isinstance(error, _AWAY) or bool(getattr(error, "retriable", False))


def apply(
    app: Celery, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]
) -> AsyncResult[Any]:
    """Submit one call of `infer` to the ledger; what `send_task` does for our own task.

    Raises:
        RequestInvalid: this step or a later one is wrong; nothing was entered.
    """
    client = wiring.client()
    parent = app.current_worker_task
    parent_id = parent.request.id if parent is not None else None
    # Celery's tracer, which sets off what follows a foreign task, names the parent itself.
    set_off = is_setting_off() or (parent_id is not None and options.get("parent_id") == parent_id)
    columns = {
        "canvas": _canvas_in(options),
        "group_id": _typed(options, "group_id", str),
        "group_index": _typed(options, "group_index", int),
        "root_id": _typed(options, "root_id", str),
        "parent_id": _typed(options, "parent_id", str) or parent_id,
    }
    job_id: str = options.get("task_id") or str(uuid.uuid4())
    try:
        if not set_off:
            _check(app, client, columns["canvas"] or {})
        client.submit(
            fill_in(kwargs, args),
            job_id=job_id,
            stream=bool(options.get("stream", False)),
            idempotency_key=options.get("idempotency_key"),
            dedupe=bool(options.get("dedupe", False)),
            **_terms(app, options),
            **columns,
        )
    except JobConflict:
        if not set_off:
            raise
        logger.info("job %s was set off before", job_id)
    except HoneyflowError as error:
        if not set_off or is_away(error):
            raise
        _refuse(client, job_id, kwargs, error, columns)
    result: AsyncResult[Any] = AsyncResult(job_id, app=app, task_name=INFER)
    if options.get("add_to_parent", True) and parent is not None:
        parent.add_trail(result)
    return result


def from_message(request: Mapping[str, Any], embed: Mapping[str, Any]) -> dict[str, Any] | None:
    """The canvas that a stock sender's message carries."""
    canvas = {
        "callbacks": embed.get("callbacks"),
        "errbacks": embed.get("errbacks"),
        "chain": embed.get("chain"),
        "chord": embed.get("chord"),
        "reply_to": request.get("reply_to") or None,
    }
    return signatures.plain({key: value for key, value in canvas.items() if value}) or None


def fill_in(fields: Mapping[str, Any], args: Sequence[Any]) -> dict[str, Any]:
    """The request with the results before it in place of `${previous}`."""
    if not args:
        return dict(fields)
    if len(args) > 1:
        raise RequestInvalid(
            "infer takes keyword arguments; the one positional one is a previous result.",
            suggested_action='Call infer.delay(model="…", prompt="…").',
        )
    said = _answers(args[0])
    filled = dict(fields)
    for name in ("prompt", "findings"):
        if isinstance(filled.get(name), str):
            filled[name] = filled[name].replace("${previous}", said)
    if isinstance(turns := filled.get("messages"), list | tuple):
        filled["messages"] = [_said(turn, said) for turn in turns]
    return filled


def _said(turn: Any, said: str) -> Any:
    if not (isinstance(turn, Mapping) and isinstance(turn.get("content"), str)):
        return turn
    return {**turn, "content": turn["content"].replace("${previous}", said)}


def continue_from(
    app: Celery, client: Client, job: Job, *, result: Mapping[str, Any] | None = None
) -> None:
    """Tell Celery how a job ended and set off what waits for it.

    A callback that cannot be set off is given up, with the reason in the log, and stops none of the
    others.

    Raises:
        Exception: the end could not be told. `is_away` knows whether a store or the broker is away;
            the reconciler does it again.
    """
    context = _context(job)
    with setting_off(), trace_context.going_on(_trace_after(job)):
        if job.state == "succeeded":
            told = dict(result) if result is not None else client.result_of(job).celery()
            app.backend.mark_as_done(job.id, told, request=context)
            _set_off(app, context, told)
            return
        error = ending_error(job)
        state = "REVOKED" if job.state in ("cancelled", "expired") else "FAILURE"
        app.backend.mark_as_failure(job.id, error, request=context, state=state)


def sets_nothing_off(job: Job) -> bool:
    """Whether a job has succeeded and nothing of a canvas waits for that."""
    waiting = job.canvas or {}
    return job.state == "succeeded" and not any(map(waiting.get, ("callbacks", "chain", "chord")))


def tell(app: Celery, done: Sequence[tuple[Job, Mapping[str, Any]]]) -> None:
    """Tell Celery the results of jobs that set nothing off, in one round trip.

    Raises:
        Exception: as `continue_from`.
    """
    told = [(_context(job), result) for job, result in done]
    app.backend.store_successes(told)  # type: ignore[attr-defined]


def ending_error(job: Job) -> Exception:
    """The exception that a job which ended without an answer stands for."""
    if job.state == "cancelled":
        return JobCancelled(f"Job {job.id} was cancelled.", details={"job_id": job.id})
    if job.state == "expired":
        return JobExpired(f"Job {job.id} expired before it was done.", details={"job_id": job.id})
    return from_dict(job.error or {})


def _trace_after(job: Job) -> TraceContext | None:
    """Where in its trace goes on what a job sets off."""
    trace = TraceContext.read(job.traceparent)
    return trace and trace.after(job.id, share=wiring.settings().tracing.sample)


def _context(job: Job) -> Context:
    canvas = job.canvas or {}
    return Context(
        id=job.id,
        task=INFER,
        args=(),
        kwargs={},
        group=job.group_id,
        group_index=job.group_index,
        root_id=job.root_id or job.id,
        parent_id=job.parent_id,
        chord=canvas.get("chord"),
        chain=canvas.get("chain"),
        errbacks=canvas.get("errbacks"),
        callbacks=canvas.get("callbacks"),
        delivery_info={"priority": job.priority},
        ignore_result=False,
    )


def _set_off(app: Celery, context: Context, told: Mapping[str, Any]) -> None:
    for number, callback in enumerate(maybe_list(context.callbacks) or ()):
        _start(app, context, callback, told, place=f"link-{number}")
    if context.chain:
        rest: list[Any] = list(context.chain)
        step = rest.pop()
        priority = (context.delivery_info or {}).get("priority")
        options = {"chain": rest, "priority": 3 if priority is None else priority}
        _start(app, context, step, told, place="chain", **options)


def _start(
    app: Celery,
    context: Context,
    step: Any,
    told: Mapping[str, Any],
    *,
    place: str,
    **options: Any,
) -> None:
    """Set off one step; one that cannot be is given up, and whoever waits for it is told."""
    try:
        [given] = signatures.listed(place, step)
        step = signatures.with_ids(given, uuid.UUID(context.id), place)
        signature(step, app=app).apply_async(
            (told,), parent_id=context.id, root_id=context.root_id, **options
        )
    except Exception as error:
        if is_away(error):
            raise
        logger.exception("job %s: its %s cannot be set off", context.id, place)
        left = [one for one in (*options.get("chain", ()), step) if isinstance(one, dict)]
        app.backend._fail_chain(left, from_dict(describe(error)))  # type: ignore[attr-defined]


def _refuse(
    client: Client,
    job_id: str,
    fields: Mapping[str, Any],
    error: HoneyflowError,
    columns: Mapping[str, Any],
) -> None:
    """Enter a step that cannot be run as a failed job, and tell whoever waits for it."""
    job = refusals.enter(client, job_id=job_id, fields=fields, error=error, **columns)
    logger.info("job %s was refused: %s", job_id, error.code)
    if not job.created:
        return
    try:
        continue_from(client.app, client, job)
    except Exception as reason:
        # Not lost: the reconciler delivers what has no delivered_at.
        logger.warning("job %s is refused but not delivered yet: %s", job_id, reason)
        return
    with client.ledger.write() as tx:
        jobs.mark_delivered(tx, [job.id])


def _check(app: Celery, client: Client, canvas: Mapping[str, Any]) -> None:
    """Check what can be checked of the steps that a call will set off.

    Raises:
        RequestInvalid: one of ours could never be submitted, or one is no signature.
    """
    for name, where in (("callbacks", "link"), ("errbacks", "link_error"), ("chain", "chain")):
        for step in signatures.listed(where, canvas.get(name) or []):
            _check_step(app, client, step)
    if canvas.get("chord"):
        _check_step(app, client, *signatures.listed("chord", canvas["chord"]))


def _check_step(app: Celery, client: Client, step: Mapping[str, Any]) -> None:
    for ours in signatures.jobs_in(step):
        options = ours.get("options") or {}
        for name in ("link", "link_error"):
            signatures.listed(name, options.get(name) or [])
        before = () if ours.get("immutable") else ("…",)
        fields = fill_in(ours.get("kwargs") or {}, (*before, *(ours.get("args") or ())))
        client.draft(fields, **_terms(app, options))


def seconds_until(app: Celery, moment: Any, name: str) -> float | None:
    """Seconds from now to a moment given as seconds, a datetime or ISO 8601."""
    if moment is None or moment == "":
        return None
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        return moment
    if isinstance(moment, str):
        try:
            moment = dt.datetime.fromisoformat(moment)
        except ValueError as error:
            raise RequestInvalid(f"{name}: {moment!r} is not a time.") from error
    if isinstance(moment, dt.datetime):
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=app.timezone)
        return float((moment - dt.datetime.now(dt.UTC)).total_seconds())
    raise RequestInvalid(f"{name}: give seconds or a datetime, not {type(moment).__name__}.")


def _answers(previous: Any) -> str:
    if isinstance(previous, Mapping):
        return str(previous.get("answer", ""))
    if isinstance(previous, list | tuple):
        said = [p.get("answer", "") if isinstance(p, Mapping) else p for p in previous]
        return json.dumps(said, ensure_ascii=False)
    return str(previous)


def _canvas_in(options: Mapping[str, Any]) -> dict[str, Any] | None:
    taken = {name: options[name] for name in _CANVAS_OPTIONS if options.get(name)}
    renamed = {"link": "callbacks", "link_error": "errbacks"}
    canvas = {renamed.get(name, name): value for name, value in taken.items()}
    for name in ("callbacks", "errbacks"):
        if name in canvas:
            canvas[name] = maybe_list(canvas[name])
    return signatures.plain(canvas) or None


def _terms(app: Celery, options: Mapping[str, Any]) -> dict[str, Any]:
    """When, how long, how urgently and where a call shall run."""
    priority, delay = options.get("priority"), options.get("countdown")
    if delay is None:
        delay = seconds_until(app, options.get("eta"), "eta")
    return {
        "priority": 3 if priority is None else priority,
        "delay_s": delay,
        "expires_s": seconds_until(app, options.get("expires"), "expires"),
        "run_timeout_s": time_limit(options.get("time_limit"), options.get("soft_time_limit")),
        "queue": options.get("queue"),
    }


def _typed(options: Mapping[str, Any], name: str, kind: type) -> Any:
    value = options.get(name)
    if value is None or (isinstance(value, kind) and not isinstance(value, bool)):
        return value
    raise RequestInvalid(
        f"{name}: {kind.__name__} is wanted, not {type(value).__name__} {value!r:.60}.",
        code="CANVAS_INVALID",
        suggested_action="Leave it to Celery, which sets it for groups and chords.",
        details={"field": name},
    )
