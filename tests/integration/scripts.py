"""What the fake engine of the worker tests does, and a look at a job's state."""

from __future__ import annotations

from tasks.client import Client

YES = {"rules": [{"answers": [{"text": "yes"}]}]}
SLOW = {
    "rules": [
        {"marker": "LONG", "answers": [{"text": "word " * 100}], "token_s": 0.3},
        {"marker": "SHORT", "answers": [{"text": "short"}], "first_token_s": 1.0},
        {"answers": [{"text": "yes"}]},
    ]
}


def state_of(client: Client, job_id: str) -> str:
    """A job's state in the ledger."""
    return str(client.job(job_id).state)
