"""Messages that do not get into the ledger: none of them vanishes.

What is wrong with a message itself brings it into quarantine, and its sender is told. Whatever else
goes wrong (a ledger that is away, gone or read-only, a broker that does not answer) brings it back
to its queue. Only then is it acked.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable

from celery.worker import state as worker_state
from celery.worker.request import Request

from ledger import InvalidValue, LedgerError, jobs
from tasks import canvas, gate
from tasks.client import Client
from tasks.errors import HoneyflowError, RequestInvalid, adopt

logger = logging.getLogger(__name__)

BACK_PAUSE_S = 1.0
"""How long a message is held that goes back to its queue, which this worker takes from."""
_OWN_FAULTS = frozenset({"INVALID_VALUE", "JOB_CONFLICT", "IDEMPOTENCY_CONFLICT"})
"""What the ledger says of a message; whatever else it says is about itself."""


def account_for(work: Callable[[Client, Request], None], client: Client, request: Request) -> None:
    """Do something with a message; whatever goes wrong, it does not vanish."""
    try:
        try:
            work(client, request)
        except Exception as error:
            if not is_its_own(error):
                raise
            _put_aside(client, request, error)
    except Exception as error:
        _give_back(request, error)


def refusal_of(error: Exception) -> HoneyflowError:
    """What a sender is told of a message's fault."""
    if isinstance(error, HoneyflowError):
        return error
    if isinstance(error, InvalidValue):
        return RequestInvalid(
            f"The message holds a value that cannot be stored: {error!s:.200}",
            code=error.code,
            suggested_action="Leave out NUL characters, lone surrogates, NaN and infinities.",
        )
    if isinstance(error, LedgerError):
        return adopt(error)
    logger.info("a message cannot be read", exc_info=error)
    return RequestInvalid(
        f"The message is not one of tasks.infer: {error!s:.200}.",
        suggested_action="Send keyword arguments that are the fields of a request.",
    )


def is_its_own(error: Exception) -> bool:
    """Whether a fault is the message's own, so that no other moment would be better for it."""
    if canvas.is_away(error):
        return False
    code = str(getattr(error, "code", ""))
    if isinstance(error, LedgerError) or code.startswith("LEDGER_"):
        return code in _OWN_FAULTS
    return True


def _put_aside(client: Client, request: Request, error: Exception) -> None:
    """Keep a message that can never be entered, and tell its sender.

    Nobody is told under the id of a job: its own sender waits there.
    """
    refusal = refusal_of(error)
    if not _is_job(client, request.id):
        _tell(client, request, refusal)
    keep(request, refusal.code, str(refusal))
    let_go(request)


def _is_job(client: Client, task_id: str) -> bool:
    try:
        job_id = str(uuid.UUID(task_id))
    except ValueError:
        return False
    with client.ledger.read() as tx:
        return jobs.get(tx, job_id) is not None


def _tell(client: Client, request: Request, refusal: HoneyflowError) -> None:
    """Tell whoever waits for a message, or for what was to follow it, that it has failed."""
    backend = client.app.backend
    try:
        with canvas.setting_off():
            backend.mark_as_failure(request.id, refusal, request=request._context)  # type: ignore[attr-defined]
    except Exception as error:
        if not is_its_own(error):
            raise
        logger.warning("what message %.80r sets off cannot be told: %.200s", request.id, error)
        backend.mark_as_failure(request.id, refusal)


def keep(request: Request, reason: str, detail: str) -> None:
    """Put a message into this worker's quarantine."""
    kept_by = gate.this_gate()
    if kept_by is None:
        logger.error("message %.80r is dropped: %s: %.1000s", request.id, reason, detail)
    else:
        kept_by.keep_message(request.message, reason, detail)


def _give_back(request: Request, error: Exception) -> None:
    """Give a message back to its queue for a better moment, and not at once."""
    logger.warning("message %.80r goes back to its queue: %.500s", request.id, error)
    time.sleep(BACK_PAUSE_S)
    request.reject(requeue=True)
    worker_state.task_ready(request)


def let_go(request: Request) -> None:
    """Ack a message that is done with."""
    request.acknowledge()
    worker_state.task_ready(request)
