"""Logs: one JSON object per line for machines, one plain line for people on a terminal.

Both say what happened, to which job and attempt, on which worker, with which code. Neither holds
prompts, answers or what an engine says of them (see `monitoring.log_words`).
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from monitoring import log_context, log_hooks, log_words

AUTO, JSON, TEXT = "auto", "json", "text"
FORMATS = (AUTO, JSON, TEXT)
MEMBERS = (
    *("ts", "level", "event", "message", "job_id", "attempt", "worker", "model"),
    *("correlation_id", "trace_id", "key_id", "duration_s", "code", "logger", "traceback"),
)
"""Every member that a line may have, in this order; one that is not known is left out."""

_COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[1;31m"}
_PLAIN = "\033[0m"

Identity = Callable[[], Mapping[str, str]]
"""Gives what is known of the process: `worker` and `model`."""


def nobody() -> Mapping[str, str]:
    """The identity of a process that is no worker."""
    return {}


def members(record: logging.LogRecord, identity: Mapping[str, str]) -> dict[str, Any]:
    """A record as its line's members."""
    context = log_context.current()
    about = {} if context is None else context.members()
    named = log_words.job_id(record)
    if named is not None and named != about.get("job_id"):
        about = {"job_id": named}
    raised = record.exc_info[1] if record.exc_info else None
    found = {
        **identity,
        **about,
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "event": log_words.event(record),
        "message": log_words.sentence(record),
        "duration_s": _seconds(record),
        "code": log_words.code(record),
        "key_id": log_words.key_id(record),
        "logger": record.name,
        "traceback": None if raised is None else log_words.story(raised),
    }
    return {name: found[name] for name in MEMBERS if found.get(name) is not None}


def _seconds(record: logging.LogRecord) -> float | None:
    found = getattr(record, "duration_s", None)
    return found if isinstance(found, int | float) and math.isfinite(found) else None


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object on one line."""

    def __init__(self, identity: Identity = nobody) -> None:
        super().__init__()
        self._identity = identity

    def format(self, record: logging.LogRecord) -> str:
        """The line; whatever is in the record, there is one."""
        told = members(record, self._identity())
        return (
            json.dumps(told, ensure_ascii=False, default=str)
            .encode("utf-8", "backslashreplace")
            .decode()
        )


class TextFormatter(logging.Formatter):
    """Writes a record as a line for people, in the form that Celery's users know."""

    def __init__(self, identity: Identity = nobody, *, colours: bool = False) -> None:
        super().__init__()
        self._identity = identity
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The line, with the traceback below it."""
        told = members(record, self._identity())
        moment = datetime.fromtimestamp(record.created).astimezone()
        stamp = f"{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03}"
        about = " ".join(
            f"{name}={told[name]}"
            for name in ("job_id", "attempt", "code")
            if name in told and str(told[name]) not in told["message"]
        )
        line = f"[{stamp}: {record.levelname}] {told['message']}"
        line = f"{line} ({about})" if about else line
        if self._colours and record.levelname in _COLOURS:
            line = f"{_COLOURS[record.levelname]}{line}{_PLAIN}"
        return "\n".join((line, told["traceback"])) if "traceback" in told else line


def formatter(
    wanted: str, *, stream: TextIO | Any | None = None, identity: Identity = nobody
) -> logging.Formatter:
    """The formatter for a stream: as wanted, and with `auto` by whether people read it there."""
    terminal = bool(stream is not None and getattr(stream, "isatty", lambda: False)())
    if wanted == JSON or (wanted == AUTO and not terminal):
        return JsonFormatter(identity)
    return TextFormatter(identity, colours=terminal)


def is_json(wanted: str, stream: TextIO | Any | None) -> bool:
    """Whether a process that logs to this stream writes JSON."""
    return isinstance(formatter(wanted, stream=stream), JsonFormatter)


def dress(logger: logging.Logger, wanted: str, *, identity: Identity = nobody) -> None:
    """Give what a logger writes to its form."""
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setFormatter(formatter(wanted, stream=handler.stream, identity=identity))


def install(
    wanted: str = AUTO,
    *,
    level: int = logging.INFO,
    identity: Identity = nobody,
    stream: TextIO | None = None,
) -> None:
    """Let a process that Celery does not start log to standard error, unless it logs already."""
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    dress(root, wanted, identity=identity)
    log_hooks.install()
