"""How long a job waits that failed for a while: longer each time, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executors import EngineConfig
from executors.fake import FakeExecutor
from executors.fake_script import Action, Rule, Script
from ledger import Claim, jobs, sessions, tables
from tasks import settings as settings_of
from tasks.client import Client
from tasks.evidence import Issuer
from tasks.places import Places
from tasks.runner import Hold, Runner
from tasks.scribe import Scribe
from tests.chaos import apps
from tests.chaos.reporting import Report, fault
from tests.stack import write_config

WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client with a ledger of its own, and no broker."""
    made = apps.client_for(settings_of.read({"HONEYFLOW_CONFIG": str(write_config(tmp_path))}))
    yield made
    apps.close(made)


async def failing(client: Client, jitters: list[float]) -> tuple[str, list[float]]:
    """How a job ends whose engine never answers, and the seconds that it waited before each try."""
    config = EngineConfig(model="fake-a", path=Path(), device="cpu", engine="fake")
    executor = FakeExecutor(config, script=Script(rules=(Rule(do=Action.ERROR),)))
    await executor.load(lambda _: None)
    scribe, chance, waits = Scribe(ledger=client.ledger), iter(jitters), []
    scribe.start()
    runner = Runner(
        executor=executor,
        places=Places(total=4),
        scribe=scribe,
        catalogue=client.catalogue,
        issuer=Issuer(settings=client.settings, sign=lambda _: b"nobody signs", log=1),
        sink=lambda _: pytest.fail("nobody listens"),
        jitter=lambda: next(chance),
    )
    with client.ledger.write() as tx:
        row = client.draft({"model": "fake-a", "prompt": "x", "policy": "fixed:1"})
        (job,) = jobs.submit(tx, [row])
        session = sessions.open(
            tx,
            worker=job.id,
            node="n",
            pid=1,
            pid_started=1.0,
            pid_namespace="p",
            boot_id="b",
            lease_s=60.0,
        )
    try:
        while not client.job(job.id).ended:
            with client.ledger.write() as tx:
                number = client.job(job.id).sent_number
                claim = jobs.claim(tx, session=session.id, job_id=job.id, number=number)
                began = tx.now
            assert isinstance(claim, Claim)
            await runner.run(claim, Hold())
            due = client.job(job.id).not_before
            if not client.job(job.id).ended:
                waits.append((due or 0.0) - began)
                _let_time_pass(client, job.id)
    finally:
        await executor.unload()
        scribe.stop()
    return str(client.job(job.id).state), waits


def _let_time_pass(client: Client, job_id: str) -> None:
    with client.ledger.write() as tx:
        mine = tables.jobs.c.id == job_id
        tx.execute(sa.update(tables.jobs).where(mine).values(not_before=tx.now - 1))
        jobs.release_due(tx)


@fault("T49", "an engine that fails every time, any jitter", required="1, 2, 4, 8, 16 s + < 1 s")
def test_each_wait_is_twice_the_one_before(client: Client, report: Report) -> None:
    """Five tries after the first one, and no more."""
    longest = [0.0] * 5

    @settings(
        max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.lists(st.floats(0, 1, exclude_max=True), min_size=6, max_size=6))
    def check(jitters: list[float]) -> None:
        state, waits = asyncio.run(failing(client, jitters))

        assert ("failed", 5) == (state, len(waits))
        for waited, base, jitter in zip(waits, WAITS_S, jitters, strict=False):
            # Between the claim and the failure some time has passed as well.
            assert base + jitter <= waited < base + jitter + 0.5
        longest[:] = map(max, longest, waits)

    check()
    report("at most " + ", ".join(f"{waited:.1f}" for waited in longest) + " s, then failed")
