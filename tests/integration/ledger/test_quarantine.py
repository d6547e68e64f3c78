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
