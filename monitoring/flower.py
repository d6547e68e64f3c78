"""Flower as this cluster wants it: for whoever has the password, and for looking only.

Flower leaves its own metrics open even where its pages are not; here they ask for the password too,
and only its check of health answers everybody. It would hand out results, which hold answers and
what engines said of prompts; here it does not. Source: Flower 2's options and handlers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from celery import Celery

from monitoring.errors import FlowerUnusable

KEPT_TASKS = 10_000
"""How many tasks Flower remembers; it keeps them all in memory."""
FORGET_WORKERS_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowerAccess:
    """Where Flower listens, who may come in, and whether they may do more than look."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    control: bool = False
    url_prefix: str | None = None


def listening(app: Celery, access: FlowerAccess) -> tuple[Any, int]:
    """Return Flower for a Celery app, and the port it listens on; `start()` runs it.

    Port 0 is any free one.

    Raises:
        FlowerUnusable: Flower is not installed, or the address is taken or none of this machine's.
    """
    try:
        from flower.api import BaseApiHandler
        from flower.app import Flower
        from flower.options import default_options as options
        from flower.urls import settings
        from flower.views.monitor import Metrics
        from tornado.web import HTTPError, authenticated
    except ImportError as error:
        raise FlowerUnusable(
            "Flower is not installed.", suggested_action="pip install 'honeyflow[flower]'"
        ) from error

    class GuardedMetrics(Metrics):  # type: ignore[misc]
        """Flower's metrics, for whoever has the password."""

        @authenticated
        async def get(self) -> None:
            """Serve them."""
            await super().get()

    class NoResults(BaseApiHandler):  # type: ignore[misc]
        """In place of the answers of jobs."""

        @authenticated
        async def get(self, job_id: str) -> None:
            """Say where they are."""
            raise HTTPError(403, f"Answers are not shown here: see `honeyflow job show {job_id}`")

    options.address, options.port = access.host, access.port
    options.basic_auth = [f"{access.user}:{access.password}"]
    options.read_only = not access.control
    options.url_prefix = access.url_prefix
    options.max_tasks = KEPT_TASKS
    options.purge_offline_workers = FORGET_WORKERS_S
    flower = Flower(capp=app, options=options, **settings)
    prefix = f"/{access.url_prefix.strip('/')}" if access.url_prefix else ""
    guarded = [
        (f"{prefix}/metrics", GuardedMetrics),
        (f"{prefix}/api/task/result/(.+)", NoResults),
    ]
    flower.add_handlers(r".*", guarded)
    try:
        port = flower.start_http_server()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FlowerUnusable(
            f"Flower cannot listen at {access.host}:{access.port}: {reason}.",
            suggested_action="Give another --port, or a --host of this machine.",
        ) from error
    return flower, port
