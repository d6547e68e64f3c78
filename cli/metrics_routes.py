"""What `honeyflow metrics` answers: the scrape, and how it is."""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Callable, Mapping

from prometheus_client.exposition import gzip_accepted

from cli.http_routes import Answer, Request, Routes, text_answer
from ledger import LedgerError
from monitoring.exporter import Exporter
from monitoring.families.rows import BEAT, RECONCILER
from monitoring.following import Following, Role

logger = logging.getLogger(__name__)

Hook = Callable[[str, bytes, Mapping[str, str]], tuple[int, str]]
"""Takes a path, a body and headers in lower case; gives a status and a text."""

RETRY_S = "5"


def routes(
    exporter: Exporter, following: Following, *, hooks: Mapping[str, Hook] | None = None
) -> Routes:
    """The table of routes; `hooks` are others' POST routes by their paths."""

    def metrics(request: Request) -> Answer:
        standing = following.standing
        if standing.role is not Role.LEADER:
            return text_answer(503, standing.reason, **{"Retry-After": RETRY_S})
        try:
            body, content_type = exporter.text(request.headers.get("accept", ""))
        except LedgerError as error:
            logger.warning("a scrape got nothing: %s", error)
            reason = f"The ledger cannot be read: {error.message}"
            return text_answer(503, reason, **{"Retry-After": RETRY_S})
        headers = {"Vary": "Accept, Accept-Encoding"}
        if gzip_accepted(request.headers.get("accept-encoding", "")):
            # The fastest level: it is read on the same network, and at once.
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        return Answer(status=200, body=body, content_type=content_type, headers=headers)

    def healthz(_request: Request) -> Answer:
        standing = following.standing
        told = {
            "role": standing.role,
            "reason": standing.reason,
            "lag": following.lag,
            **{f"{name}_age_s": _rounded(following.age_of(name)) for name in (BEAT, RECONCILER)},
        }
        return Answer(
            status=503 if standing.role is Role.CUT_OFF else 200,
            body=f"{json.dumps(told)}\n".encode(),
            content_type="application/json",
        )

    hooked = {("POST", path): _hooked(hook) for path, hook in (hooks or {}).items()}
    return {("GET", "/metrics"): metrics, ("GET", "/healthz"): healthz, **hooked}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _hooked(hook: Hook) -> Callable[[Request], Answer]:
    def answer(request: Request) -> Answer:
        status, text = hook(request.path, request.body, request.headers)
        return text_answer(status, text.rstrip("\n"))

    return answer
