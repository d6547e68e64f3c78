"""Tasks of a user's own, for workers under test, and what is asked beside them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from celery.canvas import Signature

from tasks import app, infer

TASKS = """
from pathlib import Path
from tasks import app

def write(line):
    with Path({path!r}).open("a") as file:
        file.write(line + "\\n")

@app.task(name="foreign.note")
def note(*args):
    write(repr(args))
    return "noted"

@app.task(name="foreign.count")
def count(*args, word):
    write(word)
    return word

@app.task(name="foreign.const")
def const(*args):
    return args[-1]

@app.task(name="foreign.raise")
def fail(*args):
    raise ValueError("no good")

@app.task(name="foreign.join")
def join(results):
    return "+".join(r["answer"] if isinstance(r, dict) else str(r) for r in results)

@app.task(name="foreign.failed", bind=False)
def failed(*args):
    write("failed")
"""
LONG = "l" * 1000
TOO_LONG = "${previous}" * 1100
"""A prompt that is within the limit until `LONG` stands in it."""

SCRIPT = {
    "rules": [
        {"marker": "BAD", "do": "error", "code": "NO_GOOD", "retriable": False},
        {"marker": "AT LENGTH", "answers": [{"text": LONG}]},
        {"marker": "SLOW", "answers": [{"text": "yes"}], "first_token_s": 1.5},
        {"answers": [{"text": "yes"}]},
    ]
}
OPTIONS = ("--device", "cpu", "--model", "fake-a", "-I", "foreign")


def write(home: Path) -> Path:
    """Put the module where workers find it; gives the file the tasks write to."""
    path = home / "notes"
    path.write_text("")
    (home / "foreign.py").write_text(TASKS.format(path=str(path)))
    return path


def ask(prompt: str, **fields: Any) -> Signature[Any]:
    """One job of ours."""
    return infer.s(**{"model": "fake-a", "prompt": prompt, **fields})


def theirs(name: str, *args: Any, **kwargs: Any) -> Signature[Any]:
    """One task of the user's."""
    return app.signature(f"foreign.{name}", args=args, kwargs=kwargs)


def counted(notes: Path) -> Counter[str]:
    """How often each line was written."""
    return Counter(notes.read_text().splitlines())
