"""What a child writes is passed on, remembered, and read for as long as it lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, subprocess, sys, time
from executors.child_log import ChildLog

CHILD = '''
import sys, time
print("to stdout", flush=True)
print("to stderr", file=sys.stderr, flush=True)
sys.stdin.readline()
print("x" * 200000, flush=True)
print("last words", file=sys.stderr, flush=True)
'''
log = ChildLog()
print("before", flush=True)
with log.capture():
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE)
print("after", flush=True)
child.stdin.write(b"go on" + bytes([10]))
child.stdin.close()
child.wait()
log.drain()
lines = log.lines()
assert "to stdout" in lines and "to stderr" in lines, lines
assert lines[-1] == "last words" or lines[-2] == "last words", lines[-2:]
assert max(map(len, lines)) >= 65536
assert "before" not in lines and "after" not in lines
"""


def test_a_childs_output_is_remembered_and_passed_on(tmp_path: Path) -> None:
    """Both streams go where they went before, also long after the capture ended."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    ended = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, check=False, timeout=60
    )

    assert ended.returncode == 0, ended.stderr[-2000:]
    lines = ended.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("before", "x" * 200000)
    assert {"to stdout", "after"} <= set(lines)
    assert ended.stderr.split() == ["to", "stderr", "last", "words"]
