"""Keeps a handful of child processes running, and leaves none of them behind.

A child that fails is started again, after a longer wait each time. With the fifth failure in a row
its circuit opens: it rests for a minute and gets one more try, after which it rests again unless
that one does its work. Children get SIGTERM when this process dies, however it dies.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

FAILURES = 5
COOLDOWN_S = 60.0
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 16.0
PROVEN_S = 60.0
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True, kw_only=True)
class Child:
    """One process to keep: how it is started, and how it has fared.

    `ready` says that this run of it does its work, `worked` that one of its runs did. Whoever sees
    it calls `mark_ready`; of a child that reports nothing, a minute's life is taken for it.
    `failures` are the ends in a row without it, false starts those with exit code 1 of a child that
    reports and never worked.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    reports: bool = True
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    false_starts: int = 0
    ready: bool = False
    worked: bool = False
    start_at: float = 0.0
    started_at: float = 0.0

    def mark_ready(self) -> None:
        """This run of it does its work: its row of failures is over."""
        self.ready = self.worked = True
        self.failures = self.false_starts = 0


class Supervisor:
    """Starts children, watches them, and stops them in the reverse order of their start.

    `on_circuit_open` is told once for each row of failures that opened a circuit: the child, and
    its last exit code.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        grace_s: float = 45.0,
        on_circuit_open: Callable[[Child, int], None] | None = None,
    ) -> None:
        self.children = list(children)
        self.grace_s = grace_s
        self._on_circuit_open = on_circuit_open

    def start(self) -> None:
        """Start every child."""
        for child in self.children:
            self._start(child)

    def watch(self) -> list[Child]:
        """Look after the children once; gives those that have just ended."""
        ended = []
        for child in self.children:
            if child.process is None:
                if time.monotonic() >= child.start_at:
                    self._start(child)
                continue
            if not child.reports and time.monotonic() >= child.started_at + PROVEN_S:
                child.mark_ready()
            code = child.process.poll()
            if code is None:
                continue
            child.process = None
            child.failures += 1
            false_start = code == 1 and child.reports and not child.worked
            child.false_starts = child.false_starts + 1 if false_start else 0
            wait = _wait(child.failures)
            child.start_at = time.monotonic() + wait
            logger.error("%s ended with %s; starting it again in %.0f s", child.name, code, wait)
            if child.failures == FAILURES and self._on_circuit_open is not None:
                self._on_circuit_open(child, code)
            ended.append(child)
        return ended

    def stop(self) -> None:
        """Stop all children: ask, wait for the grace time, then kill."""
        running = [c for c in reversed(self.children) if c.process is not None]
        for child in running:
            assert child.process is not None
            child.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + self.grace_s
        for child in running:
            assert child.process is not None
            try:
                child.process.wait(timeout=max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning("%s did not stop within %.0f s; killed", child.name, self.grace_s)
                child.process.kill()
                child.process.wait()
            child.process = None

    def _start(self, child: Child) -> None:
        child.ready = False
        child.started_at = time.monotonic()
        output: IO[bytes] | None = child.log.open("ab") if child.log else None
        try:
            child.process = subprocess.Popen(
                list(child.argv),
                env={**os.environ, **child.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                # Of its own, so that Ctrl-C reaches us alone and the drain is ours to order.
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl, no locks
            )
        finally:
            if output is not None:
                output.close()


def _wait(failures: int) -> float:
    """Seconds before the next try, after that many failures in a row."""
    if failures >= FAILURES:
        return COOLDOWN_S
    return min(FIRST_WAIT_S * 2.0 ** (failures - 1), LONGEST_WAIT_S)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
