"""`honeyflow receipts ipfs`: what waits to be stored on IPFS, and why."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.ipfs import app
from ledger import bodies, uploads
from ledger.uploads import UploadKind
from proofs import compute_cid
from tasks.client import Client

FAULT = {"code": "IPFS_REFUSED", "message": "it said \x1b[31mno"}


def run(*words: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(app, [*words])


def code(told: Result) -> str:
    """The code of the error that it ended with."""
    return str(getattr(told.exception, "code", told.exception))


@pytest.fixture
def cids(client: Client) -> Iterator[list[str]]:
    """One that waits, one that is done and one that was refused."""
    # The ledger is the whole run's.
    texts = [uuid.uuid4().bytes for _ in range(3)]
    found = [compute_cid(text) for text in texts]
    with client.ledger.write() as tx:
        for text, cid in zip(texts, found, strict=True):
            digest = bodies.put(tx, text)
            uploads.add(tx, cid=cid, kind=UploadKind.REPORT, body_digest=digest, profile="p")
        uploads.put_off(tx, found[0], wait_s=300, error=FAULT)
        uploads.finish(tx, found[1])
        uploads.refuse(tx, found[2], error=FAULT)
    yield found
    with client.ledger.write() as tx:
        uploads.retry(tx)
        for cid in found:
            uploads.finish(tx, cid)


def test_the_status_shows_what_is_not_done(client: Client, cids: list[str]) -> None:
    """Why, and when it is tried next; nothing that a terminal would obey."""
    told = run("status").stdout

    assert cids[0] in told
    assert cids[2] in told
    assert cids[1] not in told
    assert "\x1b" not in told
    assert "1 pending" in told
    assert "1 refused" in told
    assert "in 300 s" in told or "in 299 s" in told
    assert "IPFS_API_URL is not set" in told
    assert "the oldest has been waiting for" in told


def test_the_status_is_one_object_for_programs(client: Client, cids: list[str]) -> None:
    """With every row in full."""
    told = json.loads(run("status", "--json").stdout)

    assert (1, 1, None) == (told["pending"], told["refused"], told["node"])
    assert {cids[2]: FAULT, cids[0]: FAULT} == {row["cid"]: row["error"] for row in told["uploads"]}
    assert told["oldest_pending_s"] >= 0


def test_a_person_has_one_or_all_tried_again(client: Client, cids: list[str]) -> None:
    """What is done is not."""
    assert "1 will be tried again." in run("retry", cids[2]).stdout
    with client.ledger.read() as tx:
        assert [cids[2]] == [row.cid for row in uploads.due(tx, limit=10)]
    assert "2 will be tried again." in run("retry", "--all").stdout
    assert "UPLOAD_UNKNOWN" == code(run("retry", cids[1]))
    assert "UPLOAD_UNKNOWN" == code(run("retry", "Qm\x1bnone"))


@pytest.mark.parametrize("words", [(), ("QmA", "--all")])
def test_what_to_try_is_said_in_one_way(client: Client, words: tuple[str, ...]) -> None:
    """CIDs or everything."""
    assert "OPTIONS_EXCLUSIVE" == code(run("retry", *words))
