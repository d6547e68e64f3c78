"""A line of the log is one JSON object, says what it can, and repeats nothing a user typed."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisConnectionError

from executors import EngineDead, RequestInvalid
from ledger import LedgerBusy
from monitoring import log_context, logs
from monitoring.log_context import JobContext
from monitoring.log_counter import ErrorCounter

CANARY = "the patient's secret"
JOB = "0b536aad-3e5a-47c9-a868-06cb8a0970fc"


def record(template: Any, *args: Any, name: str = "tasks.x", level: int = 20, **more: Any) -> Any:
    """A record as a logger makes it."""
    return logging.getLogger(name).makeRecord(
        name, level, "x.py", 1, template, args, more.pop("exc_info", None), extra=more
    )


def line(*given: Any, **more: Any) -> dict[str, Any]:
    """A record as a line, read back."""
    text = logs.JsonFormatter(lambda: {"worker": "w@n", "model": "m"}).format(
        record(*given, **more)
    )
    assert "\n" not in text
    return dict(json.loads(text))


def raised(error: BaseException) -> Any:
    """The error as `exc_info`, with a traceback."""
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_a_line_has_the_context_of_its_job() -> None:
    """Whatever is bound where the line is written is in it, and nothing outside of that."""
    context = JobContext(job_id=JOB, attempt=2, model="spine", correlation_id="c", trace_id="t")

    with log_context.bound(context):
        told = line("sampled", duration_s=0.5)

    assert {
        "job_id": JOB,
        "attempt": 2,
        "model": "spine",
        "correlation_id": "c",
        "trace_id": "t",
    } | {
        "duration_s": 0.5,
        "worker": "w@n",
        "level": "info",
        "event": "tasks.x.sampled",
        "message": "sampled",
        "logger": "tasks.x",
    } == {name: value for name, value in told.items() if name != "ts"}
    assert "job_id" not in line("sampled")


@pytest.mark.parametrize(
    ("template", "args", "name", "event"),
    [
        (
            "job %s cannot be claimed yet: %s",
            (JOB, "x"),
            "tasks.admission",
            "job_cannot_be_claimed_yet",
        ),
        ("%s", ("anything",), "tasks.pool", None),
        (f"anything {JOB}", (), "somebody.else", None),
    ],
    ids=["ours", "no-words", "foreign"],
)
def test_the_event_is_of_a_closed_set(
    template: str, args: tuple[Any, ...], name: str, event: str | None
) -> None:
    """It is made of the logger's name and of the words in the code, never of the figures."""
    wanted = name if event is None else f"{name}.{event}"
    assert wanted == line(template, *args, name=name)["event"]


def test_a_line_that_names_a_job_is_found_under_it() -> None:
    """Also where no job is in hand; a job in hand is not mistaken for it."""
    other = JobContext(job_id="other", attempt=1)

    assert JOB == line("worker %s: job %s is late", "w", JOB)["job_id"]
    assert JOB == line("%d %%: job %s is late", 3, JOB)["job_id"]
    with log_context.bound(other):
        told = line("job %s is late", JOB)
    assert (JOB, None) == (told["job_id"], told.get("attempt"))
    celery = {"name": "tasks.infer", "id": JOB}
    assert JOB == line("Task %(name)s[%(id)s] received", celery, name="celery.x")["job_id"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError(CANARY),
        EngineDead(CANARY, suggested_action=CANARY),
        RequestInvalid(CANARY, suggested_action="x"),
        UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("form", [logs.JsonFormatter, logs.TextFormatter])
def test_what_an_exception_says_is_not_repeated(error: Exception, form: Any) -> None:
    """Neither as a figure, nor in the traceback, nor as the cause of another error."""
    outer = RuntimeError(CANARY)
    outer.__cause__ = raised(error)[1]
    for made in (
        record("it failed: %s", error),
        record("it failed: %r", error),
        record(error),
        record("it failed", exc_info=raised(error)),
        record("it failed", exc_info=raised(outer)),
    ):
        text = form().format(made)
        assert CANARY not in text
        assert type(error).__name__ in text


def test_errors_of_ours_and_of_connections_speak() -> None:
    """Their words are ours or the system's: an operator needs them."""
    busy = LedgerBusy("The ledger is busy.", suggested_action="Wait.")

    assert "it failed: The ledger is busy. [LEDGER_BUSY]" == line("it failed: %s", busy)["message"]
    assert "LEDGER_BUSY" == line("it failed: %s", busy)["code"]
    assert "111" in line("%s", OSError(111, "refused"))["message"]
    assert "no route" in line("%s", RedisConnectionError("no route"))["message"]


def test_the_traceback_tells_where() -> None:
    """File, line and function of every frame."""
    told = line("it failed", exc_info=raised(ValueError(CANARY)))["traceback"]

    assert f"{__file__}:" in told
    assert " in raised" in told
    assert told.endswith("ValueError")


def test_celerys_lines_about_a_task_lose_its_texts() -> None:
    """What a task was given, returned or raised is told by length and digest."""
    figures = {"name": "a.b", "id": "1", "return_value": CANARY, "runtime": 1.0, "args": CANARY}

    told = line("Task %(name)s[%(id)s] gave %(return_value)s %(args)s", figures, name="celery.app")

    assert CANARY not in json.dumps(told)
    assert "20 characters, sha256:" in told["message"]


@pytest.fixture
def of_asyncio() -> Iterator[list[logging.LogRecord]]:
    """What asyncio logs."""
    found: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    handler, logger = Keeping(), logging.getLogger("asyncio")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def test_what_an_event_loop_says_of_a_task_or_a_callback_loses_its_texts(
    of_asyncio: list[logging.LogRecord],
) -> None:
    """It writes out arguments and errors by itself, in a text without figures."""

    def callback(text: str) -> None:
        raise ValueError(text)

    async def fails(text: str) -> None:
        raise ValueError(text)

    async def main() -> None:
        asyncio.get_running_loop().call_soon(callback, CANARY)
        task = asyncio.create_task(fails(CANARY))
        await asyncio.wait([task])
        del task
        gc.collect()

    asyncio.run(main())

    told = [logs.JsonFormatter(dict).format(one) for one in of_asyncio]
    assert 2 == len(told)
    for words in ("Exception in callback", "Task exception was never retrieved"):
        assert any(words in text for text in told)
    for text in told:
        assert "ValueError" in text
        assert CANARY not in text


@pytest.mark.parametrize(
    ("template", "rest"),
    [
        ("Received x.\nThe full contents of the message body was:\n%s", "Received x."),
        ("Can't decode message body: %r [type:%r headers:%s]\n\nbody: %s", "Can't decode"),
    ],
    ids=["unknown", "undecodable"],
)
def test_celerys_lines_about_a_message_lose_its_body(template: str, rest: str) -> None:
    """And its headers, where arguments are repeated."""
    args = (CANARY,) if template.count("%") == 1 else (ValueError(CANARY), "json", CANARY, CANARY)

    told = line(template, *args, name="celery.worker.consumer.consumer")

    assert CANARY not in json.dumps(told)
    assert told["message"].startswith(rest)


@given(
    template=st.text() | st.sampled_from(["%s", "%d x", "job %s", "%(id)s", "%"]),
    args=st.lists(st.text() | st.integers() | st.none() | st.binary(), max_size=3),
    extra=st.none() | st.floats(),
)
def test_whatever_is_logged_is_one_line_of_json(template: str, args: list[Any], extra: Any) -> None:
    """Lone surrogates, line ends, figures that do not fit: nothing breaks the log."""
    text = logs.JsonFormatter().format(record(template, *args, duration_s=extra))

    assert 1 == len(text.encode().split(b"\n"))
    told = json.loads(text, parse_constant=pytest.fail)
    assert isinstance(told["message"], str)


def test_a_line_about_a_signing_key_names_it() -> None:
    """By its fingerprint; what is none is no member."""
    told = line("sealed batch %d", 7, key_id="SHA256:abc")

    assert "SHA256:abc" == told["key_id"]
    assert list(told) == [name for name in logs.MEMBERS if name in told]
    assert "key_id" not in line("x", key_id=b"\0")


def test_people_and_machines_get_their_own_form() -> None:
    """`auto` looks at who reads; what is asked for is what comes."""

    class Terminal:
        def isatty(self) -> bool:
            return True

    kinds = {
        (wanted, where): type(logs.formatter(wanted, stream=stream))
        for wanted in logs.FORMATS
        for where, stream in (("terminal", Terminal()), ("file", None))
    }

    assert {place for place, kind in kinds.items() if kind is logs.TextFormatter} == {
        ("auto", "terminal"),
        ("text", "terminal"),
        ("text", "file"),
    }


def test_a_line_for_people_says_which_job() -> None:
    """Unless the message does already."""
    form = logs.TextFormatter()
    with log_context.bound(JobContext(job_id=JOB, attempt=3)):
        told, again = form.format(record("sampled")), form.format(record("job %s ended", JOB))

    assert told.endswith(f": INFO] sampled (job_id={JOB} attempt=3)")
    assert 1 == again.count(JOB)


def test_every_line_of_level_error_is_counted_once() -> None:
    """Warnings are not, and attaching twice counts once."""
    counter, logger = ErrorCounter(), logging.getLogger("a")
    counter.attach(logger)
    counter.attach(logger)

    for level in ("warning", "error", "critical", "info"):
        getattr(logger, level)("x")

    assert 2 == counter.count
