"""Whether the workers of a cluster do their work, as they say in the ledger, or never will."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from cli import supervisor
from cli.supervisor import Child
from ledger import Ledger, LedgerError, events, sessions, workers
from tasks import ledger_id
from tasks.errors import WorkerMisconfigured
from tasks.keeper import boot_id, pid_namespace, started
from tasks.settings import Settings

FALSE_STARTS = 3
WORKING = frozenset({"idle", "busy", "draining"})


class Readiness:
    """Looks at the children of a supervisor; keeps the ledger open while some are not ready."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ledger: Ledger | None = None
        self._untold: list[tuple[str, dict[str, Any]]] = []

    def mark(self, children: Sequence[Child]) -> None:
        """Mark the children that have said that they work."""
        starting = [
            (child, child.process.pid)
            for child in children
            if child.reports and child.process is not None and not child.ready
        ]
        working = self._working() if starting else set()
        for child, pid in starting:
            if pid in working:
                child.mark_ready()

    def refuse_false_starts(self, children: Sequence[Child]) -> None:
        """Give up on a child that has ended with exit code 1 again and again and never worked.

        While Redis or the ledger is away nothing counts: it may be all that is wrong.

        Raises:
            WorkerMisconfigured: names the child.
        """
        failing = [child for child in children if child.false_starts >= FALSE_STARTS]
        if failing and not self._surroundings_answer():
            for child in failing:
                child.false_starts = 0
            return
        for child in failing:
            said = f"what it said is in {child.log}" if child.log else "what it said is above"
            raise WorkerMisconfigured(
                f"{child.name} ended with exit code 1 {child.false_starts} times and was never "
                f"ready; {said}.",
                suggested_action="Correct what it names, then run the command again.",
                details={"worker": child.name, "false_starts": child.false_starts},
            )

    def note_open_circuit(self, child: Child, code: int) -> None:
        """Remember that a child has failed so often that it rests now."""
        rest = supervisor.COOLDOWN_S
        told = {"failures": child.failures, "exit_code": code, "cooldown_s": rest}
        self._untold.append((child.name, told))

    def tell_open_circuits(self) -> None:
        """Write an event for each; while the ledger is away they are kept for later."""
        if not self._untold:
            return
        try:
            with self._opened().write() as tx:
                for name, told in self._untold:
                    events.add(tx, kind="circuit_open", subject=name, details=told)
        except LedgerError:
            return
        self._untold.clear()

    def close(self) -> None:
        """Close the ledger."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def _working(self) -> set[int]:
        """The ids of those processes of this machine that are workers at work.

        A number alone does not tell: it may be that of a worker elsewhere or of long ago.
        """
        try:
            with self._opened().read() as tx:
                rows = workers.list(tx)
                live = sessions.live(tx)
        except LedgerError:
            return set()
        at_work = {row.session for row in rows if row.state in WORKING}
        return {
            session.pid
            for session in live
            if session.id in at_work
            and session.node == self._settings.node
            and (session.boot_id, session.pid_namespace) == (boot_id(), pid_namespace())
            and session.pid_started == started(session.pid)
        }

    def _opened(self) -> Ledger:
        if self._ledger is None:
            self._ledger = Ledger.open(self._settings.ledger_url)
        return self._ledger

    def _surroundings_answer(self) -> bool:
        try:
            with ledger_id.connect(self._settings) as client:
                client.ping()
            with Ledger.open(self._settings.ledger_url):
                return True
        except LedgerError as error:
            return not error.retriable
        except (redis.RedisError, OSError):
            return False
