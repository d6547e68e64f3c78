"""A witness over HTTP: one route, to which logs post their checkpoints."""

from __future__ import annotations

import logging

from cli.http_routes import Answer, Request, text_answer
from cli.http_server import MAX_CONNECTIONS, HttpServer
from cli.witness_cosigner import Cosigner
from proofs.witness import MAX_REQUEST_BYTES

__all__ = ["MAX_CONNECTIONS", "PATH", "WitnessServer"]

logger = logging.getLogger(__name__)

PATH = "/add-checkpoint"


class WitnessServer(HttpServer):
    """Listens from the moment it is made; `url` is the submission prefix."""

    def __init__(self, host: str, port: int, cosigner: Cosigner) -> None:
        self._cosigner = cosigner
        super().__init__(
            host,
            port,
            {("POST", PATH): self._add},
            name="honeyflow-witness",
            max_body_bytes=MAX_REQUEST_BYTES,
        )

    def _add(self, request: Request) -> Answer:
        try:
            status, content_type, body = self._cosigner.add_checkpoint(request.body)
        except OSError:
            logger.exception("what was asked could not be stored, and so was not cosigned")
            return text_answer(500, "the witness cannot write its state")
        return Answer(status=status, body=body, content_type=content_type)
