"""Lines are written together and in order; trouble is written at once; none is written twice."""

from __future__ import annotations

import io
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from logging.handlers import WatchedFileHandler
from pathlib import Path

import pytest

from monitoring import log_writer


class Stream(io.StringIO):
    """A file in memory that counts how often it is written to."""

    writes = 0

    def write(self, text: str, /) -> int:
        """Write, and count."""
        self.writes += 1
        return super().write(text)


@pytest.fixture
def stream() -> Stream:
    """Where the lines go."""
    return Stream()


def quiet(name: str, handler: logging.Handler) -> logging.Logger:
    """A logger with this handler, of which nobody else hears; its lines are written together."""
    logger = logging.getLogger(f"test_log_writer.{name}")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.handlers[:] = [handler]
    log_writer.write_together(logger)
    return logger


@pytest.fixture
def logger(stream: Stream, request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """A logger whose lines are written together."""
    found = quiet(request.node.name, logging.StreamHandler(stream))
    yield found
    found.handlers[0].close()


def written(stream: Stream, number: int) -> list[str]:
    """The lines, once there are so many."""
    until = time.monotonic() + 10
    while time.monotonic() < until and len(stream.getvalue().splitlines()) < number:
        time.sleep(0.01)
    return stream.getvalue().splitlines()


def test_lines_are_written_together_by_themselves(logger: logging.Logger, stream: Stream) -> None:
    """Nobody has to ask for it, and there are far fewer writes than lines."""
    for number in range(500):
        logger.info("line %d", number)
    assert written(stream, 500) == [f"line {number}" for number in range(500)]
    assert stream.writes < 100


def test_a_warning_takes_along_what_waits(logger: logging.Logger, stream: Stream) -> None:
    """It is there when the call returns, behind what was logged before it."""
    logger.info("before")
    logger.warning("trouble")
    assert stream.getvalue() == "before\ntrouble\n"


def test_a_flood_is_bounded(logger: logging.Logger, stream: Stream) -> None:
    """So many lines wait at most, whatever the thread does meanwhile."""
    with log_writer._writer._writing:
        for number in range(log_writer.MOST + 1):
            logger.info("%d", number)
        assert len(stream.getvalue().splitlines()) == log_writer.MOST + 1


def test_threads_lines_stay_in_their_order(logger: logging.Logger, stream: Stream) -> None:
    """Each thread's lines come in its order, warnings among them, and none is lost."""

    def work(name: str) -> None:
        for number in range(300):
            level = logging.WARNING if number % 50 == 7 else logging.INFO
            logger.log(level, "%s %d", name, number)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = written(stream, 1200)
    assert len(lines) == 1200
    for name in "abcd":
        assert [one for one in lines if one[0] == name] == [f"{name} {n}" for n in range(300)]


def test_two_loggers_share_one_order(stream: Stream) -> None:
    """Celery's tasks and Celery itself log through handlers of their own, to one file."""
    loggers = [quiet(name, logging.StreamHandler(stream)) for name in ("celery", "task")]
    for number, one in zip(range(40), itertools.cycle(loggers)):
        one.info("%d", number)
    assert written(stream, 40) == [str(number) for number in range(40)]


def test_a_handlers_level_filter_and_form_stay(stream: Stream) -> None:
    """What a handler would not have written is not written, and the rest in its form."""
    handler = logging.StreamHandler(stream)
    handler.setLevel(logging.WARNING)
    handler.addFilter(lambda record: "secret" not in record.msg)
    handler.setFormatter(logging.Formatter("<%(message)s>"))
    logger = quiet("formed", handler)
    logger.info("small")
    logger.warning("a secret")
    logger.warning("large")
    assert stream.getvalue() == "<large>\n"


def test_a_file_that_was_turned_is_opened_anew(tmp_path: Path) -> None:
    """As Celery's `-f` does where logrotate has moved the file."""
    path = tmp_path / "worker.log"
    logger = quiet("turned", WatchedFileHandler(path))
    logger.warning("one")
    path.rename(tmp_path / "worker.log.1")
    logger.warning("two")
    logger.handlers[0].close()
    assert (tmp_path / "worker.log.1").read_text() == "one\n"
    assert path.read_text() == "two\n"


@pytest.mark.parametrize("end", ["", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_what_a_process_leaves_at_its_end(end: str) -> None:
    """One that ends by itself has written all; one that is killed whatever told of trouble."""
    text = f"""
import logging
from monitoring import log_writer
logger = logging.getLogger()
logger.setLevel(logging.INFO)
logger.addHandler(logging.StreamHandler())
log_writer.write_together(logger)
logger.info("began"); logger.error("trouble"); logger.info("ended")
{end}
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if end else 0)
    lines = done.stderr.splitlines()
    assert lines == ["began", "trouble"] if end else lines == ["began", "trouble", "ended"]


def test_a_child_writes_its_own_lines_only(tmp_path: Path) -> None:
    """What waited when a process forked is written once, by the process that logged it."""
    path = tmp_path / "both.log"
    logger = quiet("forked", logging.FileHandler(path))
    with log_writer._writer._writing:
        logger.info("parent")
        child = os.fork()
        if child == 0:
            logger.info("child")
            logger.handlers[-1].flush()
            os._exit(0)
        os.waitpid(child, 0)
        assert path.read_text() == "child\n"
    logger.handlers[-1].close()
    assert path.read_text() == "child\nparent\n"
