"""Commands of one home, each in a fork of a process that has loaded what they all need.

Run as a program it takes a JSON list of commands, each a list of words whose first is `honeyflow`
or `celery`, and prints a JSON list of what each of them said on both outputs together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path


def run_all(home: Path, *commands: str, timeout: float = 60.0) -> list[str]:
    """What each command line says, one after the other."""
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, json.dumps([line.split() for line in commands])],
        env={
            **os.environ,
            "HONEYFLOW_CONFIG": str(home / "honeyflow.toml"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
        cwd=home,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stderr
    said: list[str] = json.loads(done.stdout)
    return said


def _fork(words: Sequence[str]) -> str:
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.closerange(3, writing + 1)
        os._exit(_run(words))
    os.close(writing)
    with os.fdopen(reading) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


def _run(words: Sequence[str]) -> int:
    """One command, as its own program would do it."""
    from celery.bin.celery import main as celery

    from cli.main import main as honeyflow

    sys.argv = [*words]
    try:
        {"celery": celery, "honeyflow": honeyflow}[words[0]]()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    for module in ("tasks", "cli.doctor", "cli.infer"):
        import_module(module)
    print(json.dumps([_fork(words) for words in json.loads(sys.argv[1])]))
