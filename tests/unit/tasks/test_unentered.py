"""Messages that do not get into the ledger: whose fault it is decides where each of them goes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.app.task import Context
from kombu.exceptions import OperationalError

from ledger import (
    InvalidValue,
    JobConflict,
    Ledger,
    LedgerBusy,
    LedgerDamaged,
    LedgerError,
    LedgerFull,
    LedgerGone,
    LedgerReadOnly,
    LedgerRefused,
    LedgerUnavailable,
    NewJob,
    jobs,
    quarantine,
)
from tasks import unentered
from tasks.errors import BrokerUnavailable, LedgerMismatch, RequestInvalid, adopt
from tasks.gate import Gate
from tests.stack import wait_for


class Request:
    """A message in a worker's hand: notes what becomes of it."""

    def __init__(self, task_id: str) -> None:
        self.id = task_id
        self.ends: list[str] = []
        self._context = Context(id=task_id)
        raw = {"headers": {"id": task_id}}
        self.message = SimpleNamespace(delivery_info={"routing_key": "celery"}, _raw=raw)

    def acknowledge(self) -> None:
        """It is done with."""
        self.ends.append("acked")

    def reject(self, *, requeue: bool) -> None:
        """It goes back."""
        self.ends.append("back" if requeue else "dropped")


class Results:
    """A result store that keeps who was told of which failure."""

    def __init__(self) -> None:
        self.told: dict[str, Exception] = {}

    def mark_as_failure(self, task_id: str, error: Exception, request: Any = None) -> None:
        """Note it; a canvas that cannot be read is an error, as it is for Celery."""
        if request is not None and request.chord:
            raise TypeError("a chord is wanted")
        self.told[task_id] = error


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """An empty ledger, with a gate that writes into it; nothing waits before it goes back."""
    monkeypatch.setattr(unentered, "BACK_PAUSE_S", 0.01)
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", migrate=True)
    gate = Gate(ledger=ledger, worker="w", queues=["celery"], keys=None)
    gate.start()
    yield ledger
    gate.stop()
    ledger.close()


@pytest.fixture
def client(ledger: Ledger) -> Any:
    """What a worker's client has of it."""
    return SimpleNamespace(ledger=ledger, app=SimpleNamespace(backend=Results()))


def kept(ledger: Ledger) -> list[str]:
    """Why what is in quarantine is there."""
    with ledger.read() as tx:
        return [row.reason for row in quarantine.list(tx)]


def fail(client: Any, request: Request, error: Exception) -> list[str]:
    """What becomes of a message whose entering fails like this."""

    def work(_client: Any, _request: Any) -> None:
        raise error

    unentered.account_for(work, client, request)  # type: ignore[arg-type]
    return request.ends


def of_ledger(kind: type[LedgerError]) -> LedgerError:
    """An error of the ledger."""
    return kind("No.", suggested_action="Nothing.")


@pytest.mark.parametrize(
    "error",
    [
        *(
            of_ledger(kind)
            for kind in (LedgerGone, LedgerReadOnly, LedgerRefused, LedgerDamaged, LedgerError)
        ),
        *(of_ledger(kind) for kind in (LedgerUnavailable, LedgerBusy, LedgerFull)),
        *(adopt(of_ledger(kind)) for kind in (LedgerGone, LedgerRefused, LedgerUnavailable)),
        *(OperationalError(), BrokerUnavailable(), LedgerMismatch(), ConnectionResetError()),
    ],
    ids=repr,
)
def test_what_is_not_the_messages_fault_brings_it_back(client: Any, error: Exception) -> None:
    """Also where the ledger says that no second try will help: somebody will mend it."""
    assert ["back"] == fail(client, Request(str(uuid.uuid4())), error)
    assert {} == client.app.backend.told
    assert [] == kept(client.ledger)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (of_ledger(InvalidValue), "INVALID_VALUE"),
        (adopt(of_ledger(InvalidValue)), "INVALID_VALUE"),
        (RequestInvalid("No."), "REQUEST_INVALID"),
        (ValueError("x" * 10_000), "REQUEST_INVALID"),
    ],
)
@pytest.mark.parametrize("task_id", ["1b1f2c1e-52a4-4d39-9f6e-2f6a1c1d7e55", "no-uuid"])
def test_the_messages_own_fault_is_kept_and_told(
    client: Any, error: Exception, code: str, task_id: str
) -> None:
    """Acked after both."""
    assert ["acked"] == fail(client, Request(task_id), error)
    wait_for(lambda: [code] == kept(client.ledger))
    told = client.app.backend.told[task_id]
    assert code == told.code
    assert len(str(told)) < 1_000


def test_where_what_follows_cannot_be_read_the_sender_is_told(client: Any) -> None:
    """Under the message's own id at least."""
    request = Request(str(uuid.uuid4()))
    request._context.chord = "odd"

    assert ["acked"] == fail(client, request, of_ledger(InvalidValue))
    assert [request.id] == list(client.app.backend.told)


def test_nobody_is_told_under_the_id_of_a_job(client: Any) -> None:
    """Its own sender waits there; the second message is kept."""
    job_id = str(uuid.uuid4())
    draft = NewJob(id=job_id, model="m", queue="model.m", request=b"{}", policy="dynamic")
    with client.ledger.write() as tx:
        jobs.submit(tx, [draft])

    for error in (JobConflict, InvalidValue):
        assert ["acked"] == fail(client, Request(job_id.upper()), of_ledger(error))
    wait_for(lambda: ["INVALID_VALUE", "JOB_CONFLICT"] == kept(client.ledger))
    assert {} == client.app.backend.told


def test_a_ledger_that_goes_away_meanwhile_brings_the_message_back(
    client: Any, tmp_path: Path
) -> None:
    """Whether its sender may be told is not known then."""
    place = tmp_path / "ledger.db"
    away = place.rename(tmp_path / "away.db")
    ends = fail(client, Request(str(uuid.uuid4())), of_ledger(InvalidValue))
    away.rename(place)

    assert ["back"] == ends
    assert {} == client.app.backend.told
