"""Celery's beat with our log: no banner where lines are JSON, a name in each, errors counted."""

from __future__ import annotations

from functools import partial
from typing import Any

from celery.apps.beat import Beat as CeleryBeat

from tasks import narration, wiring
from tasks.beat_errors import ErrorTeller


class Beat(CeleryBeat):
    """Sends what is due; told apart from workers in the log."""

    def __init__(self, *args: Any, **options: Any) -> None:
        narration.play(narration.BEAT)
        if narration.is_json(options.get("logfile")):
            options["quiet"] = True
        # Where its schedule is kept; beat may be the first of all to start.
        wiring.settings().data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        super().__init__(*args, **options)

    def run(self) -> None:
        """Send what is due until told to end."""
        teller = ErrorTeller(narration.error_counter, partial(wiring.open_ledger, migrate=False))
        teller.start()
        try:
            super().run()
        finally:
            teller.stop()
