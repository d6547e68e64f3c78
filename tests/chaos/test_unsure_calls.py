"""Calls to Redis and to the ledger that are carried out and say that they timed out."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest

from ledger import jobs
from tasks.errors import HoneyflowError
from tests.chaos import hook
from tests.chaos.harness import YES, Cluster, NewCluster
from tests.chaos.history import ACCEPTED
from tests.chaos.reporting import Report, fault
from tests.chaos.scale import scaled

RATE = 0.05
ATTEMPTS = 20


@pytest.mark.chaos_slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(scaled(1, 20)))
@fault("T24", "execute and timeout, 5 % of calls", required="invariants hold, one job per key")
def test_calls_that_were_carried_out_and_denied_do_no_harm(
    cluster: NewCluster, report: Report, seed: int
) -> None:
    """Whoever is told of a timeout asks again under the same key, and gets the same job."""
    home = cluster()
    home.script(YES)
    kept = home.supervise(ready=False, hooked={"redis": RATE, "ledger": RATE, "seed": seed})
    keys = [str(uuid.uuid4()) for _ in range(15)]
    log = home.home / "client.log"

    with hook.execute_and_timeout(redis=RATE, ledger=RATE, seed=seed + 1_000, log=log):
        ids = {key: _submit(home, key) for key in keys}
    home.tell(list(ids.values()), ACCEPTED)
    home.wait_all(list(ids.values()), timeout=150)

    with home.client.ledger.read() as tx:
        rows = jobs.list(tx, limit=10_000)
    assert set(ids.values()) == {row.id for row in rows}
    assert {"succeeded"} == {str(row.state) for row in rows}
    words = [line.split() for line in (home.home / "hook.log").read_text().splitlines()]
    struck = Counter(line[1] for line in words if len(line) == 2)
    # At some seeds no call of the client is struck.
    asked_again = len(log.read_text().splitlines()) if log.exists() else 0
    report(
        f"{len(rows)} jobs for {len(keys)} keys; struck: worker {dict(struck)}, clients "
        f"{asked_again}; restarts {kept.restarts}"
    )


def _submit(home: Cluster, key: str) -> str:
    """Submit as a careful client does: again, with the same key, while it is told to."""
    for _ in range(ATTEMPTS):
        try:
            ticket = home.client.submit(
                model="fake-a", prompt=key, policy="fixed:1", idempotency_key=key
            )
        except HoneyflowError as error:
            assert error.retriable, error
        else:
            return ticket.job_id
    raise AssertionError(f"not accepted in {ATTEMPTS} attempts")
