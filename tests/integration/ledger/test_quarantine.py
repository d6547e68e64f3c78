"""Messages that nobody could make a job of."""

from __future__ import annotations

import sqlalchemy as sa

from ledger import Ledger, ManualClock, QuarantineRow, Transaction, bodies, quarantine

_FILL = """
    INSERT INTO quarantine (at, queue, reason, detail, digest, size, data, worker)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :many)
    SELECT 0, 'q', 'flood', '""', 'sha256:', 0, :data, 'w' FROM numbers
"""


def add(tx: Transaction, reason: str = "not_json", data: bytes = b"{") -> int:
    """Quarantine a message."""
    return quarantine.add(
        tx, queue="celery", reason=reason, detail="line 1", data=data, worker="worker-1"
    )


def test_a_message_comes_back_as_it_was(ledger: Ledger, clock: ManualClock) -> None:
    """Cut to 64 KiB; its digest and size are those of all its bytes."""
    data = bytes(range(256)) * 300
    with ledger.write() as tx:
        number = quarantine.add(
            tx,
            queue="cel\0ery",
            reason="not_json",
            detail="\0 and \ud800",
            data=data,
            worker="worker-\ud800",
        )
    with ledger.read() as tx:
        kept = quarantine.get(tx, number)
        assert quarantine.get(tx, number + 1) is None

    assert kept == QuarantineRow(
        id=number,
        at=clock.now,
        queue="cel\ufffdery",
        reason="not_json",
        detail="\0 and \ud800",
        digest=bodies.digest_of(data),
        size=76_800,
        data=data[: 64 * 1024],
        worker="worker-\ufffd",
    )


def test_what_was_cut_before_is_told_of_in_full(ledger: Ledger) -> None:
    """By its size and digest; and nothing else of an element is without bounds."""
    data = b"x" * 100_000
    with ledger.write() as tx:
        number = quarantine.add(
            tx,
            queue="q" * 1_000,
            reason="R" * 1_000,
            detail="d" * 1_000_000,
            data=data[:10],
            size=len(data),
            digest=bodies.digest_of(data),
            worker="w",
        )
        kept = quarantine.get(tx, number)

    assert kept is not None
    assert (b"x" * 10, len(data), bodies.digest_of(data)) == (kept.data, kept.size, kept.digest)
    assert [255, 255, 1_000] == [len(one) for one in (kept.queue, kept.reason, kept.detail)]


def test_a_number_beyond_any_is_not_there(ledger: Ledger) -> None:
    """No column could hold it."""
    with ledger.write() as tx:
        number = add(tx)
        assert [None] * 3 == [quarantine.get(tx, one) for one in (10**400, 2**63, -(2**64))]
        assert 1 == quarantine.drop(tx, [10**400, number, -(2**64)])


def test_the_newest_come_first(ledger: Ledger) -> None:
    """As many as asked for; a number is never given twice."""
    with ledger.write() as tx:
        numbers = [add(tx) for _ in range(3)]
        assert numbers[::-1] == [row.id for row in quarantine.list(tx)]
        assert numbers[:0:-1] == [row.id for row in quarantine.list(tx, limit=2)]
        quarantine.drop(tx, None)
        assert add(tx) > numbers[-1]


def test_totals_outlive_what_is_dropped(ledger: Ledger) -> None:
    """Some of them, none of them, all of them."""
    with ledger.write() as tx:
        assert quarantine.totals(tx) == {}
        first, second, *_ = [add(tx, reason) for reason in ("b", "a", "b", "b")]
        assert quarantine.drop(tx, []) == 0
        assert quarantine.drop(tx, [first, second, first, 10**9]) == 2
        assert quarantine.drop(tx, [first]) == 0
        assert quarantine.drop(tx, None) == 2
        assert quarantine.list(tx) == []
    with ledger.read() as tx:
        assert quarantine.totals(tx) == {"a": 1, "b": 3}


def test_the_oldest_go_beyond_ten_thousand(ledger: Ledger) -> None:
    """They are counted all the same."""
    with ledger.write() as tx:
        first = add(tx)
        tx.execute(sa.text(_FILL), {"many": quarantine.MAX_ROWS - 1, "data": b""})
        assert quarantine.get(tx, first) is not None
        newest = add(tx)
        assert quarantine.get(tx, first) is None
        assert len(quarantine.list(tx, limit=20_000)) == quarantine.MAX_ROWS
        assert quarantine.list(tx, limit=1)[0].id == newest
        assert quarantine.totals(tx) == {"not_json": 2}
