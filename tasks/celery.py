"""The Celery app. Its one difference: jobs of ours enter the ledger first, whoever sends them.

`send_task` is the gate that `.delay`, `apply_async`, signatures, groups, chains and chords all
pass.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.app.backends import BACKEND_ALIASES

from tasks import narration, transport
from tasks.messages import INFER

SEND_PATIENCE_S = 1.0
"""How long a sender waits for a broker that is silent; the ledger has the job by then."""


class HoneyflowCelery(Celery):
    """A Celery app whose inference jobs are rows in the ledger before they are messages."""

    control_cls = "tasks.control:Control"

    @property
    def Beat(self) -> Any:  # noqa: N802 - Celery's name
        """Celery's beat, which logs as the workers do."""
        from tasks.beat import Beat

        return self.subclass_with_self(Beat)

    def connection_for_write(self, url: Any = None, **kwargs: Any) -> Any:
        """Give up on a silent broker sooner than a consumer does, so that nobody's call hangs."""
        patience = {"socket_timeout": SEND_PATIENCE_S, "socket_connect_timeout": SEND_PATIENCE_S}
        options = {**patience, **(kwargs.pop("transport_options", None) or {})}
        return super().connection_for_write(url, transport_options=options, **kwargs)

    def send_task(  # type: ignore[override]
        self, name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Any:
        """Submit a job of ours to the ledger; send any other task as Celery does."""
        if name != INFER:
            return super().send_task(name, args, kwargs, **options)
        from tasks import canvas

        return canvas.apply(self, args or (), kwargs or {}, options)


transport.register()
narration.connect()
# A name of its own: Celery hides the password of an address only where the scheme is a plain word.
BACKEND_ALIASES["ledger"] = "tasks.backend:LedgerBackend"
app = HoneyflowCelery("tasks")
app.config_from_object("celeryconfig")


def _add_worker_options() -> None:
    from tasks import options

    app.user_options["worker"].update(options.WORKER_OPTIONS)


_add_worker_options()
