"""Whether a witness holds more of a worker's log than its ledger does, asked before the first seal.

A witness that is away is not waited for. What one says of its size is not signed, so it closes no
log for good: nothing is sealed while it says so, and it is asked again the next time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from ledger import Ledger, batches
from proofs import checkpoint
from proofs.checkpoint import Checkpoint
from proofs.merkle import EMPTY_ROOT
from proofs.note import Note
from tasks import witness_client
from tasks.log_errors import LogRolledBack
from tasks.notary import Notary
from tasks.witness_client import Witness
from tasks.witness_errors import WitnessContradicts, WitnessError

logger = logging.getLogger(__name__)

TIMEOUT_S = 3.0


def require_newest(ledger: Ledger, notary: Notary, witnesses: Sequence[Witness]) -> None:
    """Refuse to go on with a log of which a witness has cosigned more, or something else.

    Raises:
        LogRolledBack: one of them has.
    """
    if not witnesses:
        return
    size, note = _newest(ledger, notary)

    def held(witness: Witness) -> int:
        try:
            return witness_client.held_size(witness, note, size=size, timeout_s=TIMEOUT_S)
        except WitnessContradicts as error:
            raise _rolled_back(notary, error.message) from error
        except WitnessError as error:
            logger.warning("%s cannot be asked for %s: %s", witness.name, notary.origin, error)
            return 0

    with ThreadPoolExecutor(len(witnesses), "standing") as threads:
        for witness, found in zip(witnesses, threads.map(held, witnesses), strict=True):
            if found > size:
                told = f"Witness {witness.name} holds {found} leaves of {notary.origin}"
                raise _rolled_back(notary, f"{told}, this ledger {size}.")


def _newest(ledger: Ledger, notary: Notary) -> tuple[int, Note]:
    """The newest head in the ledger; where there is none, that of the empty log."""
    with ledger.read() as tx:
        batch = batches.newest(tx, notary.log)
    if batch is not None and batch.checkpoint is not None:
        return batch.tree_size, Note.parse(batch.checkpoint)
    empty = Checkpoint(origin=notary.origin, size=0, root=EMPTY_ROOT)
    return 0, Note(text=empty.body, signatures=(checkpoint.sign(empty, notary.signer),))


def _rolled_back(notary: Notary, message: str) -> LogRolledBack:
    return LogRolledBack(message, details={"origin": notary.origin})
