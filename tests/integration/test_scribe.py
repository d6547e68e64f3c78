"""The worker's one writer, on a real ledger: what shares a transaction, and what does not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ledger import Ledger, Transaction, leases
from tasks.scribe import Scribe


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Open a ledger of the test's own."""
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", migrate=True) as opened:
        yield opened


@pytest.fixture
def scribe(ledger: Ledger) -> Iterator[Scribe]:
    """A scribe that is started by the test, once everything is queued."""
    made = Scribe(ledger=ledger)
    yield made
    made.stop()


def holder(tx: Transaction, name: str) -> bool:
    """Take the lease of that name; false if it is taken."""
    return leases.take(tx, name, f"holder-of-{name}", ttl_s=60)


def test_what_waits_shares_a_transaction(scribe: Scribe) -> None:
    """Three operations that were queued together see one transaction."""
    seen = [scribe.submit(id) for _ in range(3)]
    scribe.start()
    assert len({future.result(10) for future in seen}) == 1


def test_items_of_one_kind_are_handed_over_together_and_in_order(scribe: Scribe) -> None:
    """Each gets the result at its place; other operations stay by themselves."""
    calls: list[list[int]] = []

    def double(_: Transaction, items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        return [2 * item for item in items]

    futures = [scribe.submit_item(double, number) for number in range(3)]
    between = scribe.submit(lambda tx: holder(tx, "a"))
    futures.append(scribe.submit_item(double, 3))
    scribe.start()
    assert [future.result(10) for future in futures] == [0, 2, 4, 6]
    assert between.result(10) is True
    assert calls == [[0, 1, 2, 3]]


def test_one_that_fails_costs_its_neighbours_nothing(scribe: Scribe, ledger: Ledger) -> None:
    """The group is rolled back and each of it is run again alone."""

    def broken(_: Transaction) -> None:
        raise ZeroDivisionError

    def picky(_: Transaction, items: Sequence[int]) -> list[int]:
        return [1 // item for item in items]

    before = scribe.submit(lambda tx: holder(tx, "before"))
    wrong = scribe.submit(broken)
    zero, one = scribe.submit_item(picky, 0), scribe.submit_item(picky, 1)
    after = scribe.submit(lambda tx: holder(tx, "after"))
    scribe.start()
    assert before.result(10) is True
    assert after.result(10) is True
    assert isinstance(wrong.exception(10), ZeroDivisionError)
    assert isinstance(zero.exception(10), ZeroDivisionError)
    assert one.result(10) == 1
    with ledger.write() as tx:
        assert not leases.take(tx, "before", "somebody else", ttl_s=1)


def test_what_was_withdrawn_in_time_is_not_written(scribe: Scribe) -> None:
    """A cancelled write is left out."""
    withdrawn = scribe.submit(lambda tx: holder(tx, "a"))
    assert withdrawn.cancel()
    kept = scribe.submit(lambda tx: holder(tx, "a"))
    scribe.start()
    assert kept.result(10) is True


def test_what_is_patient_is_written_with_the_next_that_is_not(scribe: Scribe) -> None:
    """In one transaction and in order; till then it waits."""
    calls: list[list[str]] = []

    def note(tx: Transaction, items: Sequence[str]) -> list[Transaction]:
        calls.append(list(items))
        return [tx for _ in items]

    def work(tx: Transaction) -> Transaction:
        calls.append(["work"])
        return tx

    scribe.start()
    patient = [scribe.submit_item(note, name, patience_s=60.0) for name in ("a", "b")]
    with pytest.raises(TimeoutError):
        patient[0].result(0.3)
    hasty = scribe.submit(work)

    written = hasty.result(10)
    assert [written, written] == [one.result(10) for one in patient]
    assert [["a", "b"], ["work"]] == calls


@pytest.mark.parametrize("patience", [(60.0, 0.3), (0.3, 60.0)])
def test_what_is_patient_is_written_alone_when_its_patience_is_over(
    scribe: Scribe, patience: tuple[float, float]
) -> None:
    """The first of them that can wait no longer takes the others along."""

    def note(tx: Transaction, items: Sequence[str]) -> list[tuple[Transaction, tuple[str, ...]]]:
        return [(tx, tuple(items)) for _ in items]

    scribe.start()
    began = time.monotonic()
    first, second = (
        scribe.submit_item(note, name, patience_s=most)
        for name, most in zip(("first", "second"), patience, strict=True)
    )

    assert first.result(10) == second.result(10)
    assert ("first", "second") == first.result(0)[1]
    assert 0.3 <= time.monotonic() - began


def test_patience_ends_when_a_group_is_full(ledger: Ledger) -> None:
    """As many as share a transaction wait for nothing more."""
    scribe = Scribe(ledger=ledger, group=2)

    def note(tx: Transaction, items: Sequence[str]) -> Sequence[str]:
        return items

    scribe.start()
    patient = [scribe.submit_item(note, name, patience_s=60.0) for name in ("a", "b", "c")]

    assert ["a", "b"] == [one.result(10) for one in patient[:2]]
    assert not patient[2].done()
    scribe.stop()
    assert "c" == patient[2].result(0)


def test_stop_writes_what_is_waiting(ledger: Ledger) -> None:
    """Nothing that was handed over is forgotten."""
    scribe = Scribe(ledger=ledger)
    written = scribe.submit(lambda tx: holder(tx, "a"))
    scribe.start()
    scribe.stop()
    assert written.result(0) is True
