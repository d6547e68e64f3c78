"""Collecting cosignatures: each log's newest checkpoint, shown to each configured witness.

Sealing never waits for a witness. Beat has the maintenance worker look every few seconds for
checkpoints that a witness has not cosigned; a witness that is away, or refuses, rests for a while
and keeps nobody waiting but itself. What a witness says of its size is a hint that is never acted
upon; what is stored is a line that its own key has signed.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ledger import Ledger, LogRow, LogState, batches, log_entries, logs, trees
from proofs.errors import ProofError
from proofs.note import Note
from proofs.stored_tree import consistency_at
from proofs.witness import Cosignature
from tasks import wiring
from tasks.celery import app
from tasks.witness_client import TIMEOUT_S, Conflict, Witness, ask, configured
from tasks.witness_errors import WitnessAway, WitnessContradicts, WitnessError

logger = logging.getLogger(__name__)

FIRST_REST_S = 15.0
LONGEST_REST_S = 600.0
MOST_AT_ONCE = 8
ROUNDS = 3
"""How often a witness is asked about one checkpoint before it has to wait for the next look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest checkpoint of a log, and the size of the one that a witness cosigned last."""

    log: LogRow
    note: Note
    size: int
    cosigned: int


class Rests:
    """Who is left alone for a while after a failure, longer after each in a row."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, float]] = {}

    def rests(self, who: str) -> bool:
        """Whether it is to be left alone now."""
        return who in self._failures and self._clock() < self._failures[who][1]

    def failed(self, who: str) -> None:
        """Leave it alone for twice as long as the last time."""
        failures = self._failures.get(who, (0, 0.0))[0] + 1
        rest_s = min(FIRST_REST_S * 2.0 ** min(failures - 1, 10), LONGEST_REST_S)
        self._failures[who] = failures, self._clock() + rest_s

    def well(self, who: str) -> None:
        """Forget what was."""
        self._failures.pop(who, None)


class Collector:
    """Asks witnesses for what they have not cosigned yet; keeps in mind who rests."""

    def __init__(
        self,
        ledger: Ledger,
        witnesses: Sequence[Witness],
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._witnesses = witnesses
        self._timeout_s = timeout_s
        self._rests = Rests(clock)
        self._running = threading.Lock()

    def collect(self) -> int:
        """Ask every witness that does not rest; returns how many cosignatures are new.

        A second call while one runs does nothing.
        """
        awake = [one for one in self._witnesses if not self._rests.rests(one.name)]
        if not awake or not self._running.acquire(blocking=False):
            return 0
        try:
            with ThreadPoolExecutor(min(MOST_AT_ONCE, len(awake)), "witness") as threads:
                return sum(threads.map(self._collect_from, awake))
        finally:
            self._running.release()

    def _collect_from(self, witness: Witness) -> int:
        new = 0
        for head in self._heads(witness):
            place = f"{witness.name} {head.log.number}"
            if self._rests.rests(place):
                continue
            try:
                new += self._cosign(witness, head)
            except WitnessAway as error:
                logger.warning("%s has no cosignature: %s", head.log.origin, error)
                self._rests.failed(witness.name)
                break
            except (WitnessError, ProofError) as error:
                # Of one log; the witness may well go on with the others.
                alarming = isinstance(error, WitnessContradicts)
                level = logging.CRITICAL if alarming else logging.ERROR
                logger.log(level, "%s has no cosignature: %s", head.log.origin, error)
                self._rests.failed(place)
            else:
                self._rests.well(place)
                self._rests.well(witness.name)
        return new

    def _heads(self, witness: Witness) -> list[Head]:
        """The newest checkpoints that a witness has not cosigned, oldest log first."""
        found = []
        with self._ledger.read() as tx:
            for log in logs.list(tx):
                # What it would say of a log that was rolled back is known: it must not go on.
                if log.sealed_size == 0 or log.state == LogState.ROLLED_BACK:
                    continue
                cosigned = log_entries.cosigned(tx, log.number).get(witness.key_name, 0)
                if cosigned >= log.sealed_size:
                    continue
                batch = batches.newest(tx, log.number)
                if batch is not None and batch.checkpoint is not None:
                    size = batch.tree_size
                    note = Note.parse(batch.checkpoint)
                    found.append(Head(log=log, note=note, size=size, cosigned=cosigned))
        return found

    def _cosign(self, witness: Witness, head: Head) -> int:
        """Ask for one cosignature and store it; a conflict tells from where to begin again."""
        old_size = head.cosigned
        for _ in range(ROUNDS):
            answer = ask(
                witness,
                head.note,
                old_size=old_size,
                proof=self._proof(head, old_size),
                timeout_s=self._timeout_s,
            )
            if isinstance(answer, Cosignature):
                self._store(witness, head, answer)
                return 1
            if answer.size > head.size:
                self._look_ahead(witness, head, answer)
                return 0
            old_size = answer.size
        return 0

    def _proof(self, head: Head, old_size: int) -> tuple[bytes, ...]:
        with self._ledger.read() as tx:
            return consistency_at(old_size, head.size, trees.reader(tx, head.log.number))

    def _store(self, witness: Witness, head: Head, cosignature: Cosignature) -> None:
        with self._ledger.write() as tx:
            log_entries.add_cosignature(
                tx,
                log=head.log.number,
                tree_size=head.size,
                witness=witness.key_name,
                key_id=witness.key.key_id.hex(),
                line=cosignature.signature.line,
            )

    def _look_ahead(self, witness: Witness, head: Head, conflict: Conflict) -> None:
        """The witness holds more than was just read: another was quicker, or the ledger is old."""
        with self._ledger.read() as tx:
            now = logs.get(tx, head.log.number)
        if now is None or now.sealed_size < conflict.size:
            raise WitnessContradicts(
                f"Witness {witness.name} says that it has cosigned {conflict.size} leaves, but the"
                f" ledger has only {head.size if now is None else now.sealed_size} sealed.",
                details={"witness": witness.name, "witness_size": conflict.size},
            )


@app.task(name="tasks.collect_cosignatures", ignore_result=True)
def collect_cosignatures() -> int:
    """Ask the configured witnesses for the cosignatures that are missing; returns how many came."""
    return _collector().collect()


@functools.cache
def _collector() -> Collector:
    return Collector(wiring.client().ledger, configured(wiring.settings()))
