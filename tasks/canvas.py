"""Celery's canvas, kept in the ledger: what a job shall set off when it has ended.

`apply` is the sending half: it takes a call's canvas off the message and puts it into the job's
row. `continue_from` is the finishing half: it stores Celery's copy of the result, and sets off
callbacks, the next step of a chain and the body of a chord. Jobs of ours it sets off have ids that
were fixed beforehand, so that doing it twice does nothing; callbacks of foreign tasks are at least
once.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from celery import Celery, signature
from celery.app.task import Context
from celery.result import AsyncResult
from celery.utils.functional import maybe_list

from ledger import Job
from tasks import wiring
from tasks.errors import JobCancelled, JobExpired, RequestInvalid, from_dict

if TYPE_CHECKING:
    from tasks.client import Client

_CANVAS_OPTIONS = ("link", "link_error", "chain", "chord", "reply_to", "replaced_task_nesting")


def apply(
    app: Celery, args: Sequence[Any], kwargs: Mapping[str, Any], options: dict[str, Any]
) -> AsyncResult[Any]:
    """Submit one call of `infer` to the ledger; what `send_task` does for our own task."""
    client = wiring.client()
    parent = app.current_worker_task
    ticket = client.submit(
        fill_in(kwargs, args),
        job_id=options.get("task_id"),
        priority=_priority(options.get("priority")),
        delay_s=_delay(app, options),
        expires_s=seconds_until(app, options.get("expires"), "expires"),
        run_timeout_s=options.get("time_limit"),
        stream=bool(options.get("stream", False)),
        idempotency_key=options.get("idempotency_key"),
        canvas=_take_canvas(options),
        group_id=options.get("group_id"),
        group_index=options.get("group_index"),
        root_id=options.get("root_id"),
        parent_id=options.get("parent_id") or (parent.request.id if parent is not None else None),
    )
    result: AsyncResult[Any] = AsyncResult(ticket.job_id, app=app, task_name="tasks.infer")
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
    return _plain({key: value for key, value in canvas.items() if value}) or None


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
    for turn in filled.get("messages") or ():
        if isinstance(turn, dict) and isinstance(turn.get("content"), str):
            turn["content"] = turn["content"].replace("${previous}", said)
    return filled


def continue_from(
    app: Celery, client: Client, job: Job, *, result: Mapping[str, Any] | None = None
) -> None:
    """Tell Celery how a job ended and set off what waits for it.

    Raises:
        kombu.exceptions.OperationalError, redis.RedisError: the broker or the result store is away;
            the reconciler does it again.
    """
    canvas = job.canvas or {}
    context = Context(
        id=job.id,
        task="tasks.infer",
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
    if job.state == "succeeded":
        told = dict(result) if result is not None else client.result_of(job).celery()
        app.backend.mark_as_done(job.id, told, request=context)
        _set_off(app, context, told)
        return
    error = ending_error(job)
    state = "REVOKED" if job.state in ("cancelled", "expired") else "FAILURE"
    app.backend.mark_as_failure(job.id, error, request=context, state=state)


def ending_error(job: Job) -> Exception:
    """The exception that a job which ended without an answer stands for."""
    if job.state == "cancelled":
        return JobCancelled(f"Job {job.id} was cancelled.", details={"job_id": job.id})
    if job.state == "expired":
        return JobExpired(f"Job {job.id} expired before it was done.", details={"job_id": job.id})
    return from_dict(job.error or {})


def _set_off(app: Celery, context: Context, result: Mapping[str, Any]) -> None:
    priority = (context.delivery_info or {}).get("priority")
    for number, callback in enumerate(maybe_list(context.callbacks) or ()):
        step = signature(callback, app=app)
        if "task_id" not in step.options:
            fixed = uuid.uuid5(uuid.UUID(context.id), f"link-{number}")
            step = step.clone(task_id=str(fixed))
        step.apply_async((result,), parent_id=context.id, root_id=context.root_id)
    if context.chain:
        rest = list(context.chain)
        step = signature(rest.pop(), app=app)
        step.apply_async(
            (result,),
            chain=rest,
            parent_id=context.id,
            root_id=context.root_id,
            priority=3 if priority is None else priority,
        )


def seconds_until(app: Celery, moment: Any, name: str) -> float | None:
    """Seconds from now to a moment given as seconds, a datetime or ISO 8601."""
    if moment is None or moment == "":
        return None
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        return float(moment)
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


def _take_canvas(options: Mapping[str, Any]) -> dict[str, Any] | None:
    taken = {name: options[name] for name in _CANVAS_OPTIONS if options.get(name)}
    renamed = {"link": "callbacks", "link_error": "errbacks"}
    canvas = {renamed.get(name, name): value for name, value in taken.items()}
    for name in ("callbacks", "errbacks"):
        if name in canvas:
            canvas[name] = maybe_list(canvas[name])
    return _plain(canvas) or None


def _plain(canvas: Mapping[str, Any]) -> dict[str, Any]:
    """Signatures as plain JSON; times as ISO 8601, which Celery reads back."""
    told: dict[str, Any] = json.loads(json.dumps(canvas, default=_as_json))
    return told


def _as_json(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if hasattr(value, "__json__"):
        return value.__json__()
    raise RequestInvalid(
        f"A callback holds a {type(value).__name__}, which is not JSON.",
        code="CANVAS_INVALID",
        suggested_action="Give callbacks arguments made of strings, numbers, lists and dicts.",
    )


def _priority(value: Any) -> int:
    return 3 if value is None else int(value)


def _delay(app: Celery, options: Mapping[str, Any]) -> float | None:
    if (countdown := options.get("countdown")) is not None:
        return float(countdown)
    return seconds_until(app, options.get("eta"), "eta")
