"""Errors that nobody caught: lines like all others, without a word of what they quote."""

from __future__ import annotations

import json
import subprocess
import sys

CANARY = "canary-in-an-error"
PROCESS = f"""
import logging, sys, threading
from monitoring import log_hooks, logs
from monitoring.log_counter import ErrorCounter

logs.install(logs.JSON)
log_hooks.install()
log_hooks.install()
counter = ErrorCounter()
counter.attach(logging.getLogger())

def fail(text="{CANARY}"):
    raise ValueError(text)

def run(target):
    thread = threading.Thread(target=target, name="loader")
    thread.start()
    thread.join()

class Left:
    def __repr__(self):
        return "{CANARY}"
    def __del__(self):
        fail()

class Named:
    def __repr__(self):
        return "{CANARY}"
    def __call__(self):
        fail()

run(fail)
run(sys.exit)
Left()
sys.unraisablehook(type("Told", (), dict(
    exc_type=KeyError, exc_value=None, exc_traceback=None, err_msg="{CANARY}", object=Named()
)))
threading.excepthook(threading.ExceptHookArgs([OSError, None, None, None]))
print(counter.count)
"""


def process(ending: str) -> subprocess.CompletedProcess[str]:
    """One that logs as ours do, and ends like this."""
    return subprocess.run(
        [sys.executable, "-c", PROCESS + ending], capture_output=True, text=True, timeout=60
    )


def test_what_nobody_caught_is_a_line_and_counts() -> None:
    """Of a thread, of an object that goes, of the process; with a place, without a text."""
    ended = process("fail()")

    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert CANARY not in ended.stderr
    assert [
        ("error", "ValueError ended the thread loader: nobody caught it"),
        ("error", "ValueError in Left.__del__: nobody can catch it"),
        ("error", "KeyError in Named: nobody can catch it"),
        ("error", "OSError ended a thread: nobody caught it"),
        ("critical", "ValueError ends the process: nobody caught it"),
    ] == [(line["level"], line["message"]) for line in lines]
    assert [True, True, False, False, True] == ["in fail" in str(line) for line in lines]
    assert {"monitoring.log_hooks"} == {line["logger"] for line in lines}
    assert ("4\n", 1) == (ended.stdout, ended.returncode)


def test_who_presses_ctrl_c_is_no_error() -> None:
    """Python says what it says of it."""
    ended = process("raise KeyboardInterrupt")

    assert "KeyboardInterrupt" in ended.stderr
    assert "critical" not in ended.stderr


def test_a_log_that_cannot_be_written_is_no_further_error() -> None:
    """The kind of the error is told all the same."""
    broken = "logging.getLogger().handlers[0].handle = fail\nfail()"
    ended = process(broken)

    assert ended.stderr.endswith("ValueError ends the process: nobody caught it\n")
    assert CANARY not in ended.stderr
    assert 1 == ended.returncode
