"""Celery's beat with our log: no banner where lines are JSON, and a name in each of them."""

from __future__ import annotations

from typing import Any

from celery.apps.beat import Beat as CeleryBeat

from tasks import narration


class Beat(CeleryBeat):
    """Sends what is due; told apart from workers in the log."""

    def __init__(self, *args: Any, **options: Any) -> None:
        narration.play(narration.BEAT)
        if narration.is_json(options.get("logfile")):
            options["quiet"] = True
        super().__init__(*args, **options)
