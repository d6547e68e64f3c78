"""What a log may say of a record: its sentence, its error and its traceback, and no user's text.

An exception's text is often a quotation: an engine repeats the prompt that it choked on, a decoder
the bytes before it. So of exceptions only those speak for themselves whose words are ours or the
operating system's. Of all others the type is told, and where it was raised.
"""

from __future__ import annotations

import hashlib
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

MOST_CHARS = 4000
OURS = frozenset({"cli", "executors", "ledger", "monitoring", "proofs", "routing", "tasks"})

# Their errors speak of addresses and commands, never of what is in a body.
_CONNECTIONS = frozenset({"redis", "kombu", "amqp"})
_QUOTING = frozenset(
    {"executors", "kombu.exceptions.DecodeError", "kombu.exceptions.ContentDisallowed"}
)
# What Celery's own lines hold of a task's arguments, results and errors.
_TEXTS = frozenset({"args", "kwargs", "return_value", "exc", "traceback"})
_QUOTES_A_MESSAGE = ("message body", "Received and deleted unknown message")
_PLACE = re.compile(r"%[-#0-9.]*[a-zA-Z]")
_QUOTED = re.compile(r"[(<'\"]")
_WORDS = re.compile(r"[A-Za-z]+")
_FIGURE = re.compile(r"None|True|False|-?[0-9.]{1,20}")
_SLUG_WORDS = 6


class _Said(str):
    """A text that `%r` leaves as it is."""

    __slots__ = ()

    __repr__ = str.__str__


def told(error: BaseException) -> str:
    """An exception in a few words that quote nothing a user typed."""
    name = type(error).__name__
    code = getattr(error, "code", None)
    if isinstance(code, str) and code.isupper():
        return f"{error} [{code}]" if _speaks(error) else f"{name} [{code}]"
    text = str(error).strip()
    return f"{name}: {text}" if text and _speaks(error) else name


def digested(text: str) -> str:
    """A text as a log may have it: its length and the beginning of its digest."""
    data = text.encode("utf-8", "surrogatepass")
    return f"<{len(text)} characters, sha256:{hashlib.sha256(data).hexdigest()[:12]}>"


def sentence(record: logging.LogRecord) -> str:
    """The record's message; in place of users' texts stand lengths and digests."""
    if not isinstance(record.msg, str):
        error = record.msg
        return told(error) if isinstance(error, BaseException) else str(error)[:MOST_CHARS]
    template = record.msg
    try:
        text = template % _said(record) if record.args else template
    except (TypeError, ValueError, KeyError):
        return f"{template} (its figures do not fit)"
    if record.name == "asyncio":
        return _of_asyncio(text, record)
    if any(words in template for words in _QUOTES_A_MESSAGE):
        text = text.partition("\n")[0].partition(" [type:")[0]
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]} … {digested(text)}"


def _of_asyncio(text: str, record: logging.LogRecord) -> str:
    """What a loop says of a callback or a task; it writes out arguments and errors itself."""
    head = _QUOTED.split(text.partition("\n")[0])[0].strip()
    raised = record.exc_info[1] if record.exc_info else None
    return head if raised is None else f"{head}: {told(raised)}"


def code(record: logging.LogRecord) -> str | None:
    """The stable code of the error that a record tells of, if it has one."""
    if isinstance(given := getattr(record, "code", None), str):
        return given
    values = record.args.values() if isinstance(record.args, Mapping) else record.args or ()
    raised = record.exc_info[1] if record.exc_info else None
    for value in (raised, *values):
        found = getattr(value, "code", None) if isinstance(value, BaseException) else None
        if isinstance(found, str):
            return found
    return None


def key_id(record: logging.LogRecord) -> str | None:
    """The fingerprint of the signing key that a line is about."""
    given = getattr(record, "key_id", None)
    return given if isinstance(given, str) else None


def event(record: logging.LogRecord) -> str:
    """What kind of line it is: the logger's name and, of ours, the words of the line's template.

    A template is a constant of the code, so the set is closed and holds nothing of a job.
    """
    if isinstance(given := getattr(record, "event", None), str):
        return given
    if record.name.partition(".")[0] not in OURS or not isinstance(record.msg, str):
        return record.name
    words = _WORDS.findall(_PLACE.sub(" ", record.msg))[:_SLUG_WORDS]
    return ".".join((record.name, "_".join(words).lower())) if words else record.name


def job_id(record: logging.LogRecord) -> str | None:
    """The job that a line names: `job %s`, or the id in what Celery says of our task."""
    if isinstance(record.args, Mapping):
        ours = record.args.get("name") == "tasks.infer"
        return str(record.args["id"]) if ours and "id" in record.args else None
    if not isinstance(record.msg, str) or not record.args or "job %s" not in record.msg:
        return None
    place = record.msg[: record.msg.index("job %s")].count("%") - 2 * record.msg.count("%%")
    return str(record.args[place]) if 0 <= place < len(record.args) else None


def story(error: BaseException) -> str:
    """A traceback without the errors' own words and without what they quote."""
    return "\n".join(_lines(error, set()))


def _lines(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _lines(before, seen)
        yield "and then"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
    yield told(error)


def _speaks(error: BaseException) -> bool:
    kind = type(error)
    package = kind.__module__.partition(".")[0]
    if f"{kind.__module__}.{kind.__name__}" in _QUOTING or package in _QUOTING:
        return False
    if 400 <= int(getattr(error, "http_status", 500)) < 500:
        # It tells callers what is wrong with what they typed.
        return False
    return package in OURS or package in _CONNECTIONS or isinstance(error, OSError)


def _said(record: logging.LogRecord) -> Any:
    if not isinstance(record.args, Mapping):
        return tuple(_value(value) for value in record.args or ())
    members = {name: _value(value) for name, value in record.args.items()}
    for name in _TEXTS & members.keys():
        if f"%({name})" in record.msg and not _FIGURE.fullmatch(str(members[name])):
            members[name] = _Said(digested(str(members[name])))
    if record.exc_info and record.exc_info[1] is not None and "exc" in members:
        members["exc"] = _Said(told(record.exc_info[1]))
    return members


def _value(value: Any) -> Any:
    return _Said(told(value)) if isinstance(value, BaseException) else value
