"""The gate's memory: what waits for the ledger is bounded, and what does not fit is counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ledger import Ledger, QuarantineRow, bodies, quarantine
from tasks import gate as gates
from tasks.gate import Gate
from tasks.messages import Flaw
from tests.stack import wait_for

FLAW = Flaw(reason="MESSAGE_NOT_JSON", detail="it is not JSON")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(file: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    ledger = Ledger.open(f"sqlite:///{file}", migrate=True)
    yield ledger
    ledger.close()


@pytest.fixture
def gate(ledger: Ledger) -> Iterator[Gate]:
    """A gate that writes into it."""
    gate = Gate(ledger=ledger, worker="w", queues=["q"], keys=None)
    gate.start()
    yield gate
    gate.stop()


def rows(ledger: Ledger) -> list[QuarantineRow]:
    """What is in quarantine, the oldest first."""
    with ledger.read() as tx:
        return quarantine.list(tx, 5_000)[::-1]


def test_of_a_large_element_the_beginning_is_held(gate: Gate, ledger: Ledger) -> None:
    """With the size and the digest of all of it."""
    raw = b"x" * 5_000_000
    gate.keep("q", raw, FLAW)
    wait_for(lambda: rows(ledger))

    (row,) = rows(ledger)
    assert (len(raw), bodies.digest_of(raw)) == (row.size, row.digest)
    assert raw[: 64 * 1024] == row.data


def test_details_are_cut(gate: Gate, ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    """Where they are kept, and in the log; names too."""
    info = {"routing_key": "q" * 100_000}
    message = SimpleNamespace(delivery_info=info, _raw={"body": "x"})
    gate.keep_message(message, "TASK_UNKNOWN", "no task " + "x" * 5_000_000)
    wait_for(lambda: rows(ledger))

    (row,) = rows(ledger)
    assert 1_000 == len(row.detail)
    assert 255 == len(row.queue)
    assert max(len(record.getMessage()) for record in caplog.records) < 2_000


def test_what_waits_is_written_when_the_ledger_is_there_again(
    gate: Gate, ledger: Ledger, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also after a fault that says that no second try will help."""
    away = file.rename(file.with_name("away"))
    for number in range(5):
        gate.keep("q", b"%d" % number, FLAW)
    wait_for(lambda: 2 <= sum("waits for" in one.getMessage() for one in caplog.records))
    away.rename(file)
    wait_for(lambda: len(rows(ledger)) == 5)

    assert [b"%d" % number for number in range(5)] == [row.data for row in rows(ledger)]


@pytest.mark.parametrize(
    "case",
    [(2**20, gates.MAX_WAITING_BYTES // quarantine.MAX_BYTES), (1, gates.MAX_WAITING)],
)
def test_what_does_not_fit_in_memory_is_counted(
    case: tuple[int, int],
    gate: Gate,
    ledger: Ledger,
    file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By bytes or by number; and said once at the beginning and once at the end."""
    size, fit = case
    caplog.set_level(logging.CRITICAL)
    away = file.rename(file.with_name("away"))
    raw = b"x" * size
    for _ in range(fit + 7):
        gate.keep("q", raw, FLAW)
    away.rename(file)
    wait_for(lambda: any("7 element(s)" in one.getMessage() for one in caplog.records))
    wait_for(lambda: fit == len(rows(ledger)))

    assert 2 == len(caplog.records)


def test_what_cannot_be_written_before_the_end_is_counted(
    ledger: Ledger, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that ends while the ledger is away says how much it takes with it."""
    gate = Gate(ledger=ledger, worker="w", queues=["q"], keys=None)
    gate.start()
    away = file.rename(file.with_name("away"))
    for _ in range(3):
        gate.keep("q", b"x", FLAW)
    gate.stop()
    away.rename(file)

    told = [one.getMessage() for one in caplog.records if one.levelno == logging.CRITICAL]
    assert 3 == sum(int(one.split()[0]) for one in told)
    assert [] == rows(ledger)


def test_the_gate_that_started_last_is_that_of_the_process(gate: Gate) -> None:
    """Whoever has a message in hand that is none finds it."""
    assert gate is gates.this_gate()
