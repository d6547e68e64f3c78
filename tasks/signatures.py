"""Celery's signatures as plain JSON: checked, searched for jobs of ours, given lasting ids."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.errors import RequestInvalid
from tasks.messages import INFER


def plain(canvas: Mapping[str, Any]) -> dict[str, Any]:
    """Signatures as plain JSON; times as ISO 8601, which Celery reads back."""
    told: dict[str, Any] = json.loads(json.dumps(canvas, default=_as_json))
    return told


def listed(name: str, given: Any) -> list[Any]:
    """The signatures of an option that takes one or many.

    Raises:
        RequestInvalid: something there is no signature.
    """
    many = list(given) if isinstance(given, list | tuple) else [given]
    for one in many:
        if not (isinstance(one, Mapping) and isinstance(one.get("task"), str)):
            raise RequestInvalid(
                f"{name}: a signature is wanted, not {type(one).__name__} {one!r:.60}.",
                code="CANVAS_INVALID",
                suggested_action="Give a signature such as task.s(…), or a list of them.",
                details={"field": name},
            )
    return many


def jobs_in(step: Any) -> Iterator[Mapping[str, Any]]:
    """Every signature of ours in a step, whether it stands alone or in a canvas of its own."""
    if not isinstance(step, Mapping):
        return
    if step.get("task") == INFER:
        yield step
    options = step.get("options") or {}
    linked = (_many(options.get(name)) for name in ("link", "link_error"))
    for inner in (*_members(step), *(one for many in linked for one in many)):
        yield from jobs_in(inner)


def with_ids(step: Mapping[str, Any], root: uuid.UUID, place: str) -> dict[str, Any]:
    """The step with an id for each task in it, made from where it stands; the same every time."""
    options = dict(step.get("options") or {})
    kwargs = dict(step.get("kwargs") or {})
    if step.get("subtask_type") != "chain":
        # A chain has none of its own: it would pass it to its last task.
        options.setdefault("task_id", str(uuid.uuid5(root, place)))
    for name in ("tasks", "header"):
        if isinstance(inner := kwargs.get(name), list | tuple):
            kwargs[name] = [
                with_ids(one, root, f"{place}.{number}") if isinstance(one, Mapping) else one
                for number, one in enumerate(inner)
            ]
        elif isinstance(inner, Mapping):
            kwargs[name] = with_ids(inner, root, f"{place}.header")
    if isinstance(kwargs.get("body"), Mapping):
        kwargs["body"] = with_ids(kwargs["body"], root, f"{place}.body")
    return {**step, "options": options, "kwargs": kwargs}


def _members(step: Mapping[str, Any]) -> list[Any]:
    """What a group, a chain or a chord consists of."""
    kwargs = step.get("kwargs")
    if step.get("subtask_type") not in ("group", "chain", "chord") or not isinstance(
        kwargs, Mapping
    ):
        return []
    return [one for name in ("tasks", "header", "body") for one in _many(kwargs.get(name))]


def _many(given: Any) -> Sequence[Any]:
    return given if isinstance(given, list | tuple) else [given]


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
