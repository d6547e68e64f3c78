"""Jobs that share an execution: the engine draws once, and each job has an answer of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger import bodies, receipts
from proofs import Receipt, parse_json
from tasks.client import Client
from tasks.errors import JobCancelled, JobFailed
from tests.chaos import hook
from tests.integration.scripts import state_of
from tests.stack import Worker, wait_for

Begin = Callable[..., Worker]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Where the engine's requests are written down."""
    return tmp_path / "engine.trace"


@pytest.fixture
def begin(start: Callable[..., Worker], trace: Path) -> Begin:
    """Starts workers whose engine does this."""

    def begun(*rules: dict[str, Any]) -> Worker:
        return start(script={"rules": list(rules)}, env=hook.enable(trace=trace))

    return begun


def submit(client: Client, number: int, *, dedupe: bool = True, **fields: Any) -> list[str]:
    """The same request some times, under a prompt of this test's own."""
    asked = {"model": "fake-a", "policy": "fixed:3", **fields}
    return [client.submit(asked, dedupe=dedupe).job_id for _ in range(number)]


def calls(trace: Path, *ids: str) -> int:
    """How often the engine was asked for samples of these jobs."""
    lines = trace.read_text().splitlines() if trace.exists() else []
    return sum(line.partition(".")[0] in ids for line in lines)


def prompt(word: str = "") -> str:
    """A prompt that no other test has."""
    return f"{word} {uuid.uuid4()}"


def companion(client: Client, job_id: str) -> dict[str, Any]:
    """What the report of a job says of its samples."""
    with client.ledger.read() as tx:
        document = parse_json(bodies.get(tx, client.job(job_id).report_digest or "") or b"")
    assert isinstance(document, dict)
    told = document["companion"]
    assert isinstance(told, dict)
    return told


def test_the_engine_is_asked_once(begin: Begin, client: Client, trace: Path) -> None:
    """Each job has a receipt of its own, and its report says whose samples they are."""
    begin({"answers": [{"text": "a"}, {"text": "b"}], "first_token_s": 0.5})
    leader, *followers = submit(client, 5, prompt=prompt())
    other = submit(client, 1, prompt=prompt(), dedupe=False)

    results = [client.wait(one, timeout_s=20) for one in (leader, *followers, *other)]

    assert 3 == calls(trace, leader)
    assert 0 == calls(trace, *followers)
    assert 3 == calls(trace, *other)
    assert 1 == len({result.answer for result in results[:5]})
    assert 6 == len({result.receipt for result in results})
    with client.ledger.read() as tx:
        rows = [receipts.get(tx, one) for one in (leader, *followers)]
    told = [Receipt.from_bytes(row.canonical) for row in rows if row is not None]
    assert [leader, *followers] == [receipt.job_id for receipt in told]
    assert 1 == len({receipt.input_hash for receipt in told})
    assert "samples_of" not in companion(client, leader)
    assert {leader} == {companion(client, one)["samples_of"] for one in followers}
    assert companion(client, leader)["samples"] == companion(client, followers[0])["samples"]


def test_only_the_same_request_is_shared(begin: Begin, client: Client, trace: Path) -> None:
    """Another prompt, policy or seed, or one that is not to be shared, is drawn by itself."""
    begin({"answers": [{"text": "yes"}], "first_token_s": 0.5})
    same = prompt()
    alike = submit(client, 1, prompt=same)
    others = [
        *submit(client, 1, prompt=same, dedupe=False),
        *submit(client, 1, prompt=same, policy="fixed:2"),
        *submit(client, 1, prompt=same, seed=7),
        *submit(client, 1, prompt=prompt()),
    ]

    for one in (*alike, *others):
        client.wait(one, timeout_s=20)

    assert 3 + 3 + 2 + 3 + 3 == calls(trace, *alike, *others)


def test_one_that_comes_later_is_drawn_anew(begin: Begin, client: Client, trace: Path) -> None:
    """Sharing is for what is under way, and no cache of answers."""
    begin({"answers": [{"text": "yes"}]})
    same = prompt()
    first = submit(client, 1, prompt=same)
    client.wait(*first, timeout_s=20)
    second = submit(client, 1, prompt=same)
    client.wait(*second, timeout_s=20)

    assert (3, 3) == (calls(trace, *first), calls(trace, *second))


def test_a_leader_that_fails_takes_nobody_along(
    begin: Begin, client: Client, trace: Path, tmp_path: Path
) -> None:
    """One of those that waited takes the lead."""
    begin(
        {
            "once": str(tmp_path / "once"),
            "do": "error",
            "retriable": False,
            "answers": [{"text": "a b"}],
            "token_s": 0.5,
            "after_tokens": 2,
        },
        {"answers": [{"text": "yes"}], "first_token_s": 0.5},
    )
    leader, *followers = submit(client, 4, prompt=prompt())

    with pytest.raises(JobFailed):
        client.wait(leader, timeout_s=20)
    answers = {client.wait(one, timeout_s=20).answer for one in followers}

    assert {"yes"} == answers
    assert 3 == calls(trace, *followers)
    assert 2 == sum("samples_of" in companion(client, one) for one in followers)


def test_a_leader_that_is_cancelled_takes_nobody_along(
    begin: Begin, client: Client, trace: Path
) -> None:
    """Nor does a follower that is cancelled."""
    begin({"answers": [{"text": "yes"}], "first_token_s": 1.5})
    leader, *followers = submit(client, 4, prompt=prompt())
    wait_for(lambda: "running" == state_of(client, leader))

    client.cancel(followers[0])
    client.cancel(leader)

    for one in (leader, followers[0]):
        with pytest.raises(JobCancelled):
            client.wait(one, timeout_s=20)
    assert {"yes"} == {client.wait(one, timeout_s=20).answer for one in followers[1:]}
    assert 3 == calls(trace, *followers)


def test_a_leader_whose_worker_dies_takes_nobody_along(
    begin: Begin, client: Client, trace: Path
) -> None:
    """It is run again, and they wait for it."""
    worker = begin({"answers": [{"text": "yes"}], "first_token_s": 30.0})
    leader, *followers = submit(client, 3, prompt=prompt())
    wait_for(lambda: 3 == calls(trace, leader))

    worker.kill()
    begin({"answers": [{"text": "yes"}], "first_token_s": 0.2})

    assert {"yes"} == {client.wait(one, timeout_s=20).answer for one in (leader, *followers)}
    assert (2, 0) == (client.job(leader).fence, calls(trace, *followers))
