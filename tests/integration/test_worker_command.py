"""`honeyflow worker`: workers are listed, drained, taken back and stopped through the ledger."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.main import app
from ledger import Job, sessions
from routing import list_keys
from tasks import ledger_id
from tasks.client import Client
from tests.integration.scripts import YES, state_of
from tests.stack import Worker, wait_for

Start = Callable[..., Worker]
HOLD_S = 1.5
SCRIPT = {
    "rules": [
        {"marker": "HOLD", "answers": [{"text": "held"}], "first_token_s": HOLD_S},
        {"marker": "LONG", "answers": [{"text": "long"}], "first_token_s": 60.0},
        {"answers": [{"text": "yes"}]},
    ]
}


def run(*words: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(app, ["worker", *words])


@pytest.fixture
def begin(start: Start) -> Callable[..., tuple[str, Worker]]:
    """Starts workers under names of their own."""

    def begun(name: str = "", *, script: object = SCRIPT) -> tuple[str, Worker]:
        name = name or f"w{uuid.uuid4().hex[:8]}@testnode"
        return name, start("--device", "cpu", "--model", "fake-a", "-n", name, script=script)

    return begun


def submit(client: Client, number: int, prompt: str) -> list[str]:
    """Jobs of one sample each."""
    fields = {"model": "fake-a", "prompt": prompt, "policy": "fixed:1"}
    return [ticket.job_id for ticket in client.submit_many([fields] * number)]


def runners(client: Client, ids: Sequence[str]) -> set[str]:
    """The names of the workers that claimed these jobs last."""
    found: list[Job] = [client.job(one) for one in ids]
    with client.ledger.read() as tx:
        held = [sessions.get(tx, job.session) for job in found if job.session is not None]
    return {session.worker for session in held if session is not None}


def count(client: Client, ids: Sequence[str], state: str) -> int:
    """How many of these jobs are in a state."""
    return [state_of(client, one) for one in ids].count(state)


def waiting(client: Client, queue: str) -> int:
    """How many messages are in a queue."""
    with ledger_id.connect(client.settings) as redis:
        return sum(redis.llen(key) for key in list_keys(queue))  # type: ignore[misc]


def line_of(name: str) -> str:
    """What the list says of one worker."""
    return next(line for line in run("list").stdout.splitlines() if name in line)


def test_the_list_tells_of_each_worker(
    client: Client, begin: Callable[..., tuple[str, Worker]]
) -> None:
    """Its state, its model, and when it was heard of."""
    name, _ = begin()

    line = line_of(name)
    assert all(word in line for word in ("idle", "fake-a", "cpu", "s ago"))


@pytest.mark.parametrize("order", ["drain", "undrain", "stop"])
def test_a_worker_that_nobody_knows_is_told_nothing(client: Client, order: str) -> None:
    """A mistyped name is an error, not an order that waits."""
    assert "WORKER_UNKNOWN" == getattr(run(order, "nobody@nowhere").exception, "code", None)


def test_a_drained_worker_finishes_and_takes_nothing_more(
    client: Client, begin: Callable[..., tuple[str, Worker]]
) -> None:
    """Within a second; what it has in hand another worker runs; taken back, it goes on."""
    first, worker = begin()
    held = submit(client, 40, "HOLD")
    wait_for(lambda: count(client, held, "running") >= 18)

    assert "told to drain" in run("drain", first).stdout
    wait_for(lambda: "told to drain" in worker.text(), 1.0)
    running = [one for one in held if state_of(client, one) == "running"]
    late = submit(client, 5, "x")
    second, other = begin()

    for one in (*held, *late):
        client.wait(one, timeout_s=30)
    assert {first} == runners(client, running)
    rest = [one for one in held if one not in running]
    assert {second} == runners(client, [*rest, *late])
    assert {1} == {client.job(one).fence for one in held}
    wait_for(lambda: "draining" in line_of(first))
    with ledger_id.connect(client.settings) as redis:
        assert 0 == redis.hlen("unacked")

    assert 0 == run("stop", second).exit_code
    assert 0 == other.wait_exit()
    alone = submit(client, 3, "x")
    time.sleep(0.5)
    assert 3 == count(client, alone, "queued")
    assert "told to go on" in run("undrain", first).stdout
    for one in alone:
        client.wait(one, timeout_s=10)
    assert {first} == runners(client, alone)


def test_a_stopped_worker_finishes_or_hands_back_and_exits_with_0(
    client: Client, begin: Callable[..., tuple[str, Worker]]
) -> None:
    """And the next one under its name is not stopped again."""
    name, worker = begin()
    short, long = submit(client, 2, "HOLD"), submit(client, 2, "LONG")
    wait_for(lambda: 4 == count(client, [*short, *long], "running"))

    assert "told to stop" in run("stop", name).stdout

    assert 0 == worker.wait_exit()
    assert 2 == count(client, short, "succeeded")
    assert 2 == count(client, long, "queued")
    assert {(0, 0)} == {(client.job(one).tries, client.job(one).crashes) for one in long}
    _, again = begin(name, script=YES)
    for one in long:
        assert "yes" == client.wait(one, timeout_s=20).answer
    time.sleep(1.0)
    assert again.process.poll() is None


def test_the_maintenance_worker_obeys_as_well(start: Start, client: Client) -> None:
    """It has no engine, and looks at the ledger all the same."""
    name = f"m{uuid.uuid4().hex[:8]}@testnode"
    worker = start("--maintenance", "-n", name)
    run("drain", name)
    wait_for(lambda: "told to drain" in worker.text(), 1.0)
    for _ in range(3):
        client.app.send_task("tasks.sweep_workers", queue="control")
    time.sleep(1.5)
    assert 3 == waiting(client, "control")
    run("undrain", name)
    wait_for(lambda: 0 == waiting(client, "control"))
    run("stop", name)
    assert 0 == worker.wait_exit()
