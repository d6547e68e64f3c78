"""Who answers what a witness is asked: one request after the other for each log.

What is accepted is stored before it is signed, so that a witness that is killed at any moment has
never signed more than it remembers.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from cli.witness_directory import WitnessDirectory
from proofs.checkpoint import Checkpoint, cosign
from proofs.errors import WitnessRequestInvalid
from proofs.keys import Signer
from proofs.note import Note, VerifierKey
from proofs.witness import TEXT_TYPE, Accept, AddCheckpoint, Refusal, decide

logger = logging.getLogger(__name__)


class Cosigner:
    """A key and a directory that answer requests; each log has one at a time.

    Raises:
        WitnessUnusable: What was stored of one of the logs cannot be read.
    """

    def __init__(
        self,
        *,
        directory: WitnessDirectory,
        signer: Signer,
        name: str,
        log_keys: Mapping[str, Sequence[VerifierKey]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._signer = signer
        self._name = name
        self._log_keys = log_keys
        self._clock = clock
        self._locks = {origin: threading.Lock() for origin in log_keys}
        self._newest = {
            origin: found for origin in log_keys if (found := directory.newest(origin)) is not None
        }

    def add_checkpoint(self, data: bytes) -> tuple[int, str, bytes]:
        """Answer a request: a status, the body's type and the body.

        What is accepted is on the disk before this returns.
        """
        try:
            request = AddCheckpoint.from_bytes(data)
        except WitnessRequestInvalid as error:
            return 400, TEXT_TYPE, f"{error.message}\n".encode()
        checkpoint = request.checkpoint
        with self._locks.get(checkpoint.origin, contextlib.nullcontext()):
            last, held = self._newest.get(checkpoint.origin, (None, None))
            decided = decide(request, log_keys=self._log_keys, last=last)
            if isinstance(decided, Refusal):
                self._note_refusal(checkpoint, request.note, held, decided)
                return decided.status, decided.content_type, decided.body
            if last != decided.checkpoint:
                self._store(decided)
            line = cosign(checkpoint, self._signer, name=self._name, at=int(self._clock()))
        logger.info("cosigned %s at size %d", checkpoint.origin, checkpoint.size)
        return 200, TEXT_TYPE, f"{line.line}\n".encode()

    def _store(self, accepted: Accept) -> None:
        self._directory.store(accepted)
        self._newest[accepted.checkpoint.origin] = accepted.checkpoint, accepted.note

    def _note_refusal(
        self, checkpoint: Checkpoint, shown: Note, held: Note | None, refusal: Refusal
    ) -> None:
        logger.warning(
            "refused %s at size %d with %d: %s",
            ascii(checkpoint.origin),
            checkpoint.size,
            refusal.status,
            refusal.body.decode("utf-8", errors="replace").strip(),
        )
        if refusal.is_fork and held is not None:
            logger.error("the log %s shows two histories", ascii(checkpoint.origin))
            try:
                place = self._directory.keep_fork(checkpoint.origin, held=held, shown=shown)
            except OSError:
                logger.exception("the evidence could not be written")
            else:
                logger.error("both checkpoints are kept: %s", place)
