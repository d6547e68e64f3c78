"""A worker's claim to its jobs: one session row, one lease, renewed while the worker truly turns.

A thread of its own, so that a drain or a long load does not stop it. It renews only while every
watched loop has ticked lately; a worker that stands still loses its jobs, and after a while itself.
An engine's loop that stands still is like an engine that died: what ran on it may be why. A worker
that wakes up to find its name taken ends.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ledger import Job, Ledger, LedgerError, Session, WorkerIdTaken, sessions, workers
from tasks import broker_waits, worker_events
from tasks.settings import Timing

logger = logging.getLogger(__name__)

HUB = "hub"
ENGINE_LOOP = "engine-loop"
SECOND_LOOK = 2

_sessions: list[str] = []


def current_session() -> str | None:
    """The session of this process, if it is a worker's."""
    return _sessions[-1] if _sessions else None


class Keeper:
    """Keeps one worker's session alive, opens a new one when it was lost, and sends heartbeats.

    `on_lost` is called when the lease was lost: the jobs of the old session belong to others now.
    `facts` gives a heartbeat's state and content, `on_beat` gets those that are in the ledger.
    `freed` are jobs of a dead predecessor, to be sent again; `on_freed` is called with those that
    the engine's loop held when it stood still; `on_replaced` when another worker has this one's
    name.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        worker: str,
        node: str,
        timing: Timing,
        on_lost: Callable[[], None],
        facts: Callable[[], tuple[str, Mapping[str, Any]]],
        on_freed: Callable[[Sequence[Job]], None] | None = None,
        on_replaced: Callable[[str], None] | None = None,
        on_beat: Callable[[str, Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._worker = worker
        self._node = node
        self._timing = timing
        self._on_lost = on_lost
        self._facts = facts
        self._on_freed = on_freed
        self._on_replaced = on_replaced
        self._on_beat = on_beat
        self._late_looks = 0
        self._ticks: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._beaten = float("-inf")
        self._said = ""
        self._ended = False
        self._beating = threading.RLock()
        self._nudged = threading.Event()
        self.session = ""
        self.freed: list[Job] = []

    def open(self) -> None:
        """Open the session, in place of one of the same name whose process has died.

        Raises:
            ledger.LedgerError: another live worker has this name, or the ledger is away.
        """
        with self._ledger.write() as tx:
            for other in sessions.live(tx):
                if other.worker == self._worker and process_is_gone(other):
                    gone = sessions.PROCESS_DIED
                    self.freed += sessions.close(tx, other.id, crashed=True, reason=gone)
                    worker_events.failed(tx, self._worker, check="process", reason=gone)
            workers.note_return(tx, self._worker)
            session = sessions.open(
                tx,
                worker=self._worker,
                node=self._node,
                pid=os.getpid(),
                pid_started=started(os.getpid()) or 0.0,
                pid_namespace=pid_namespace(),
                boot_id=boot_id(),
                lease_s=self._timing.lease_s,
                again=bool(self.session),
            )
        self.session = session.id
        _sessions[:] = [session.id]

    def start(self) -> None:
        """Start renewing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing; the session stays until it is closed or its lease is over."""
        self._stopping.set()
        self._nudged.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def close(self, *, crashed: bool, reason: str) -> list[Job]:
        """Close the session: what still runs under it goes back to the queue, and is returned."""
        try:
            with self._ledger.write() as tx:
                return sessions.close(tx, self.session, crashed=crashed, reason=reason)
        except LedgerError as error:
            logger.warning("the session could not be closed (%s); its lease will end", error)
            return []

    def tick(self, name: str) -> None:
        """Say that a loop has turned."""
        self._ticks[name] = time.monotonic()

    def excuse(self, name: str) -> None:
        """Expect no ticks of a loop until its next one: it waits for something that is away."""
        self._ticks.pop(name, None)

    @property
    def late(self) -> bool:
        """Whether a loop stood still at the last look: nothing is to be taken on meanwhile."""
        return self._late_looks > 0

    def nudge(self) -> None:
        """Send a heartbeat soon: something has changed. From any thread."""
        self._nudged.set()

    def _run(self) -> None:
        due = time.monotonic() + self._timing.renew_s
        while not self._stopping.is_set():
            self._nudged.wait(max(0.0, due - time.monotonic()))
            self._nudged.clear()
            if self._stopping.is_set():
                return
            # Loops are looked at in even steps, however often something changes.
            if time.monotonic() < due:
                self.tell()
                continue
            try:
                self._turn()
            except LedgerError as error:
                logger.warning("the lease could not be renewed: %s", error)
            except Exception:
                logger.exception("the keeper met something unexpected")
            due = time.monotonic() + self._timing.renew_s

    def _turn(self) -> None:
        stalled = self._stalled()
        if stalled > self._timing.stall_exit_s:
            logger.critical("a loop has not turned for %.0f s; ending this worker", stalled)
            self._note("worker_stalled", stalled)
            self._end(f"a loop has not turned for {stalled:.0f} s")
            os._exit(1)
        if stalled > self._timing.stall_s:
            logger.error("a loop has not turned for %.0f s; the lease is not renewed", stalled)
            self._give_up_engine()
            return
        self._late_looks = 0
        self._renew()

    def _end(self, reason: str) -> None:
        """Leave the end of a session behind, though this one's may have been closed long ago.

        What was taken from the broker since then, and not claimed, is seen to have gone with it.
        """
        try:
            self.close(crashed=True, reason="a loop stood still")
            self.open()
        except LedgerError as error:
            logger.warning("the end of this worker could not be written: %s", error)
        self.close(crashed=True, reason="a loop stood still")
        self.say_last("failed", check="progress", reason=reason)

    def _give_up_engine(self) -> None:
        """Close the session as crashed when the engine's loop stands still at a second look.

        Whoever was frozen as a whole and goes on finds every loop late, but only once.
        """
        self._late_looks += 1
        late = time.monotonic() - self._ticks.get(ENGINE_LOOP, math.inf)
        if self._late_looks >= SECOND_LOOK and late > self._timing.stall_s:
            freed = self.close(crashed=True, reason="the engine's loop stands still")
            if self._late_looks == SECOND_LOOK:
                self._note("engine_stalled", late)
                self._note_failed("progress", f"the engine's loop has not turned for {late:.0f} s")
            if freed and self._on_freed is not None:
                self._on_freed(freed)

    def _renew(self) -> None:
        with self._ledger.write() as tx:
            kept = sessions.renew(tx, self.session, lease_s=self._timing.lease_s)
        if not kept:
            logger.error("session %s was lost; its jobs belong to others now", self.session)
            try:
                self._on_lost()
            finally:
                self._open_again()
        state, facts = self._facts()
        if state != self._said or time.monotonic() - self._beaten >= self._timing.heartbeat_s:
            self._send(state, facts)

    def _open_again(self) -> None:
        try:
            self.open()
        except WorkerIdTaken as error:
            self._stopping.set()
            if self._on_replaced is not None:
                self._on_replaced(str(error))
            raise
        # The row says `starting` now.
        self._said = ""

    def _note(self, kind: str, stalled: float) -> None:
        worker_events.note(self._ledger, self._worker, kind, {"seconds": round(stalled, 1)})

    def _note_failed(self, check: str, reason: str) -> None:
        try:
            with self._ledger.write() as tx:
                worker_events.failed(tx, self._worker, check=check, reason=reason)
        except LedgerError as error:
            logger.warning("the event worker_failed is not written: %s", error)

    def tell(self) -> None:
        """Send one heartbeat; whatever goes wrong with it is only logged."""
        try:
            self._send(*self._facts())
        except LedgerError as error:
            logger.warning("the heartbeat could not be sent: %s", error)
        except Exception:
            logger.exception("the heartbeat met something unexpected")

    def _send(self, state: str, facts: Mapping[str, Any]) -> None:
        with self._beating:
            if self._ended or not self.session:
                return
            with self._ledger.write() as tx:
                # One that only woke up may have lost its session, and its name, to another.
                if not sessions.hold(tx, self.session):
                    return
                workers.beat(
                    tx, worker=self._worker, session=self.session, state=state, facts=facts
                )
            self._sent(state, facts)

    def _sent(self, state: str, facts: Mapping[str, Any]) -> None:
        self._beaten, self._said = time.monotonic(), state
        if self._on_beat is not None:
            self._on_beat(state, facts)

    def say_last(self, state: str, *, check: str = "", reason: str = "") -> None:
        """Write this worker's last state, with an event; once, and nothing is sent after it.

        `check` names what found it unwell, if anything did. Another worker that has this one's name
        by now is left alone.
        """
        with self._beating:
            if self._ended or not self.session:
                return
            self._ended = True
            try:
                facts = self._facts()[1]
                with self._ledger.write() as tx:
                    if not workers.end(
                        tx, worker=self._worker, session=self.session, state=state, facts=facts
                    ):
                        return
                    if check:
                        worker_events.failed(tx, self._worker, check=check, reason=reason)
                    elif state == workers.STOPPED:
                        worker_events.stopped(tx, self._worker, reason=reason)
                self._sent(state, facts)
            except LedgerError as error:
                logger.warning("the last state of this worker could not be written: %s", error)
            except Exception:
                logger.exception("the last heartbeat met something unexpected")

    def _stalled(self) -> float:
        if HUB in self._ticks and broker_waits.main_thread_waits():
            self.tick(HUB)
        ticks = tuple(self._ticks.values())
        return time.monotonic() - min(ticks) if ticks else 0.0


def process_is_gone(session: Session) -> bool:
    """Whether a session's process is known to have died; of others only their lease tells.

    Known are the processes of this boot and this PID namespace: all containers of a host share the
    one and none the other, and the same number is another process in each.
    """
    if not session.pid_namespace:
        return False
    if (session.boot_id, session.pid_namespace) != (boot_id(), pid_namespace()):
        return False
    try:
        return started(session.pid) != session.pid_started
    except OSError:
        return False


def started(pid: int) -> float | None:
    """When a process that runs here began, in ticks since the boot; None for one that is gone.

    Not a time of day: whenever the clock is set, every process's would be another.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *numbers = stat.rpartition(")")[2].split()
    return None if state in "ZX" else float(numbers[18])


@functools.cache
def boot_id() -> str:
    """The id of this boot of the machine, "" where there is none.

    A new one voids every session on SQLite.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def pid_namespace() -> str:
    """The PID namespace of this process; "" where /proc does not tell, or is another's."""
    try:
        if str(Path("/proc/self").readlink()) != str(os.getpid()):
            return ""
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
