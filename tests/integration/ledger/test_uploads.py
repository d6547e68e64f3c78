"""The outbox of uploads: what waits, what is done and what was refused."""

from __future__ import annotations

from ledger import Ledger, ManualClock, bodies, uploads
from ledger.uploads import UploadKind, UploadRow, UploadState

FAULT = {"code": "IPFS_TIMEOUT", "message": "no whole answer within 30 s"}


def add(ledger: Ledger, *cids: str) -> None:
    """Enter uploads whose bytes are their own names."""
    with ledger.write() as tx:
        for cid in cids:
            uploads.add(
                tx,
                cid=cid,
                kind=UploadKind.REPORT,
                body_digest=bodies.put(tx, cid.encode()),
                profile="unixfs-v0-2015",
            )


def states(ledger: Ledger) -> dict[str, str]:
    """What became of each."""
    with ledger.read() as tx:
        return {row.cid: row.state for row in uploads.list(tx)}


def due(ledger: Ledger) -> list[str]:
    """Those whose time has come."""
    with ledger.read() as tx:
        return [row.cid for row in uploads.due(tx, limit=10)]


def test_an_upload_is_entered_once_and_due_at_once(ledger: Ledger, clock: ManualClock) -> None:
    """With everything there is to know of it."""
    add(ledger, "QmA")
    clock.advance(5)
    add(ledger, "QmA")
    with ledger.read() as tx:
        (row,) = uploads.due(tx, limit=10)
        same = uploads.get(tx, "QmA")
        missing = uploads.get(tx, "QmB")

    assert row == same
    assert missing is None
    assert row == UploadRow(
        cid="QmA",
        kind="report",
        body_digest=bodies.digest_of(b"QmA"),
        profile="unixfs-v0-2015",
        state="pending",
        tries=0,
        next_at=clock.now - 5,
        error=None,
        created_at=clock.now - 5,
        done_at=None,
    )


def test_it_can_be_read_in_the_transaction_that_enters_it(ledger: Ledger) -> None:
    """Which ends a job."""
    with ledger.write() as tx:
        uploads.add(tx, cid="QmA", kind=UploadKind.BATCH, body_digest="sha256:", profile="p")
        assert ["QmA"] == [row.cid for row in uploads.due(tx)]
        assert {"pending": 1, "done": 0, "refused": 0} == uploads.counts(tx)


def test_a_failed_one_waits_behind_the_others(ledger: Ledger, clock: ManualClock) -> None:
    """Its tries are counted, and why is kept."""
    add(ledger, "QmA", "QmB")
    with ledger.write() as tx:
        assert uploads.put_off(tx, "QmA", wait_s=4, error=FAULT)
        row = uploads.get(tx, "QmA")
    assert row is not None
    assert (1, FAULT, clock.now + 4) == (row.tries, row.error, row.next_at)
    assert ["QmB"] == due(ledger)

    clock.advance(4)

    assert ["QmB", "QmA"] == due(ledger)


def test_what_is_done_or_refused_stays_so(ledger: Ledger, clock: ManualClock) -> None:
    """Whoever comes too late is told, and changes nothing."""
    add(ledger, "QmA", "QmB")
    clock.advance(60)
    with ledger.write() as tx:
        assert uploads.put_off(tx, "QmA", wait_s=0, error=FAULT)
        assert uploads.finish(tx, "QmA")
        assert uploads.refuse(tx, "QmB", error=FAULT)
        for cid in ("QmA", "QmB", "QmC"):
            assert not uploads.finish(tx, cid)
            assert not uploads.put_off(tx, cid, wait_s=1, error=FAULT)
            assert not uploads.refuse(tx, cid, error=FAULT)
    with ledger.read() as tx:
        done, refused = uploads.get(tx, "QmA"), uploads.get(tx, "QmB")
        assert {"pending": 0, "done": 1, "refused": 1} == uploads.counts(tx)
        assert uploads.oldest_pending(tx) is None

    assert done is not None
    assert refused is not None
    assert (None, clock.now, "done") == (done.error, done.done_at, done.state)
    assert (FAULT, 1, "refused") == (refused.error, refused.tries, refused.state)
    assert [] == due(ledger)


def test_a_person_has_them_tried_again(ledger: Ledger, clock: ManualClock) -> None:
    """One by one or all; what is done is not done again."""
    add(ledger, "QmA", "QmB", "QmC")
    with ledger.write() as tx:
        uploads.refuse(tx, "QmA", error=FAULT)
        uploads.put_off(tx, "QmB", wait_s=300, error=FAULT)
        uploads.finish(tx, "QmC")
    clock.advance(10)
    with ledger.write() as tx:
        assert 1 == uploads.retry(tx, ["QmA", "QmC", "QmX"])
        assert 0 == uploads.retry(tx, [])
    assert ["QmA"] == due(ledger)
    with ledger.write() as tx:
        assert 2 == uploads.retry(tx)
        again = uploads.get(tx, "QmB")

    assert ["QmA", "QmB"] == due(ledger)
    assert again is not None
    assert (0, None, clock.now) == (again.tries, again.error, again.next_at)


def test_the_list_is_the_newest_first_and_of_one_state(ledger: Ledger, clock: ManualClock) -> None:
    """As many as asked for; and since when the longest has been waiting."""
    begun = clock.now
    for cid in ("QmA", "QmB", "QmC"):
        add(ledger, cid)
        clock.advance(1)
    with ledger.write() as tx:
        uploads.finish(tx, "QmA")
        pending = uploads.list(tx, state=UploadState.PENDING, limit=10)
        assert ["QmC", "QmB"] == [row.cid for row in pending]
        assert ["QmC"] == [row.cid for row in uploads.list(tx, limit=1)]
        assert begun + 1 == uploads.oldest_pending(tx)


def test_bytes_that_are_erased_are_no_longer_uploaded(ledger: Ledger) -> None:
    """Those already stored are named, so that somebody can say so."""
    add(ledger, "QmA", "QmB", "QmC")
    with ledger.write() as tx:
        uploads.finish(tx, "QmC")
        assert ["QmA"] == uploads.drop_body(tx, bodies.digest_of(b"QmA"))
        assert [] == uploads.drop_body(tx, bodies.digest_of(b"QmC"))

    assert {"QmB": "pending", "QmC": "done"} == states(ledger)
