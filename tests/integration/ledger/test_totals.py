"""Totals and bookmarks: what was counted, and how far."""

from __future__ import annotations

import threading

import pytest

from ledger import Ledger, ManualClock, TotalRow, bookmarks, totals


def test_a_total_takes_the_place_of_the_one_before(ledger: Ledger) -> None:
    """Of its metric and labels, whatever is in them; the others stay."""
    odd = ('a"b', "c,d", "ü\u2028", "")
    first = TotalRow(metric="m", labels=odd, value=1.5, counts=(1, 0, 2))
    other = TotalRow(metric="m", labels=(), value=2**53 - 1)
    with ledger.write() as tx:
        totals.write(tx, [first, other])
        totals.write(tx, [])
    again = TotalRow(metric="m", labels=odd, value=2.25, counts=(2, 0, 2))
    with ledger.write() as tx:
        totals.write(tx, [again])
    with ledger.read() as tx:
        read = totals.read(tx)

    assert sorted([again, other], key=repr) == sorted(read, key=repr)


def test_a_bookmark_moves_only_from_where_it_is_known_to_be(
    ledger: Ledger, clock: ManualClock
) -> None:
    """One that nobody has set stands at 0."""
    with ledger.write() as tx:
        assert None is bookmarks.get(tx, "reader")
        assert not bookmarks.move(tx, "reader", expected=7, to=8)
        assert None is bookmarks.get(tx, "reader")
        assert bookmarks.move(tx, "reader", expected=0, to=0)
        assert bookmarks.move(tx, "reader", expected=0, to=2**60)
        assert not bookmarks.move(tx, "reader", expected=0, to=9)
    clock.advance(5)
    with ledger.write() as tx:
        assert bookmarks.move(tx, "reader", expected=2**60, to=2**60 + 1)
        found = bookmarks.get(tx, "reader")

    assert bookmarks.Bookmark(name="reader", position=2**60 + 1, at=clock.now) == found


def test_what_was_noted_moves_no_bookmark(ledger: Ledger, clock: ManualClock) -> None:
    """Only its moment."""
    with ledger.write() as tx:
        assert bookmarks.move(tx, "reader", expected=0, to=5)
    clock.advance(3)
    with ledger.write() as tx:
        bookmarks.note(tx, "reader")
        bookmarks.note(tx, "reconciler")
        reader, noted = bookmarks.get(tx, "reader"), bookmarks.get(tx, "reconciler")

    assert bookmarks.Bookmark(name="reader", position=5, at=clock.now) == reader
    assert bookmarks.Bookmark(name="reconciler", position=0, at=clock.now) == noted


@pytest.mark.parametrize("begun", [False, True])
def test_of_two_that_move_it_at_once_only_one_gets_on(ledger: Ledger, begun: bool) -> None:
    """Whether it was set before or not."""
    start = 0
    if begun:
        start = 3
        with ledger.write() as tx:
            assert bookmarks.move(tx, "reader", expected=0, to=start)
    together = threading.Barrier(4)
    moved: list[int] = []

    def move(to: int) -> None:
        together.wait(30)
        with ledger.write() as tx:
            if bookmarks.move(tx, "reader", expected=start, to=to):
                moved.append(to)

    threads = [threading.Thread(target=move, args=(10 + number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.read() as tx:
        found = bookmarks.get(tx, "reader")

    assert found is not None
    assert [found.position] == moved
