"""Collecting cosignatures: sealed logs, real witnesses, and witnesses that are away or lie."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger, LogState, batches, log_entries, logs
from ledger.log_tables import cosignatures
from proofs.checkpoint import log_vkey, verify_cosignature, witness_vkey
from proofs.keys import PrivateKey, PublicKey
from proofs.note import Note, VerifierKey
from proofs.witness import SIZE_TYPE
from tasks import receipts
from tasks.cosigning import Collector
from tasks.notary import Notary
from tasks.witness_client import Witness, ask, held_size
from tests.integration.receipts.issuing import issue, notary_of, seal
from tests.witness import LocalWitness, Log, ScriptedServer, http_answer


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def new_key() -> PublicKey:
    """A key that nobody else has: each witness's lines are its own."""
    return PrivateKey.generate().public_key


def vkey_of(notary: Notary) -> VerifierKey:
    """What a witness of the log is told."""
    return log_vkey(notary.origin, notary.signer.public_key)


@pytest.fixture
def friend(notary: Notary, tmp_path: Path) -> Iterator[LocalWitness]:
    """A witness that knows the notary's log."""
    with LocalWitness(tmp_path / "friend", [vkey_of(notary)]) as one:
        yield one


def grow(ledger: Ledger, notary: Notary, count: int) -> None:
    """Seal so many more receipts."""
    issue(ledger, notary, count)
    assert seal(ledger, notary)


def head(ledger: Ledger, notary: Notary) -> Note:
    """The newest checkpoint with its witnesses' lines."""
    with ledger.read() as tx:
        data = receipts.newest_checkpoint(tx, notary.log)
    assert data is not None
    return Note.parse(data)


def cosigned(ledger: Ledger, notary: Notary) -> dict[str, int]:
    """The largest size that each witness's key has signed, as the ledger knows it."""
    with ledger.read() as tx:
        return log_entries.cosigned(tx, notary.log)


def test_every_new_head_is_cosigned_once(
    ledger: Ledger, notary: Notary, friend: LocalWitness
) -> None:
    """With the proof from the head before; a look at a log that has not grown asks nobody."""
    collector = Collector(ledger, [friend.configured()])
    assert collector.collect() == 0
    for count in (3, 1, 4, 8):
        grow(ledger, notary, count)
        assert collector.collect() == 1
        assert verify_cosignature(head(ledger, notary), friend.vkey) is not None
        assert collector.collect() == 0
    assert cosigned(ledger, notary) == {friend.configured().key_name: 16}


def test_heads_that_were_missed_are_not_missed(
    ledger: Ledger, notary: Notary, friend: LocalWitness
) -> None:
    """Only the newest is cosigned; the proof leads over all that lies between."""
    collector = Collector(ledger, [friend.configured()])
    grow(ledger, notary, 2)
    collector.collect()
    for count in (3, 5, 1):
        grow(ledger, notary, count)
    assert collector.collect() == 1
    assert cosigned(ledger, notary) == {friend.configured().key_name: 11}


def test_a_witness_that_knows_more_than_the_ledger_remembers_says_so(
    ledger: Ledger, notary: Notary, friend: LocalWitness
) -> None:
    """Its cosignature was lost on the way: it tells its size, and the proof begins there."""
    grow(ledger, notary, 3)
    first = Collector(ledger, [friend.configured()])
    first.collect()
    grow(ledger, notary, 3)
    with ledger.write() as tx:
        tx.execute(cosignatures.delete())
    assert Collector(ledger, [friend.configured()]).collect() == 1
    assert cosigned(ledger, notary) == {friend.configured().key_name: 6}


def test_one_witness_does_not_wait_for_another(
    ledger: Ledger,
    notary: Notary,
    friend: LocalWitness,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of three, one hangs, one is broken and one is well."""
    grow(ledger, notary, 3)
    with ScriptedServer([5.0]) as hangs, ScriptedServer(http_answer("500 Oops")) as breaks:
        others = [
            Witness(name=name, url=server.url, key=witness_vkey(name, new_key()))
            for name, server in (("hangs", hangs), ("breaks", breaks))
        ]
        collector = Collector(ledger, [*others, friend.configured()], timeout_s=0.5)
        assert collector.collect() == 1
    assert len([line for line in caplog.messages if "WITNESS_UNAVAILABLE" in line]) == 2


def test_a_witness_that_is_away_rests_longer_each_time(
    ledger: Ledger, notary: Notary, friend: LocalWitness
) -> None:
    """And is asked at once again when it has answered."""
    grow(ledger, notary, 3)
    clock = Clock()
    away = http_answer("503 Busy")
    with ScriptedServer(away, away, away) as server:
        witness = Witness(name="friend", url=server.url, key=friend.vkey)
        collector = Collector(ledger, [witness], timeout_s=2.0, clock=clock)
        for seconds, asked in ((0, 1), (14, 1), (2, 2), (29, 2), (2, 3), (59, 3)):
            clock.now += seconds
            collector.collect()
            assert len(server.asked) == asked


def test_a_log_that_a_witness_refuses_holds_up_no_other(
    ledger: Ledger, notary: Notary, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The witness knows the second log alone."""
    other = notary_of(ledger, tmp_path / "other", worker="worker-2")
    try:
        grow(ledger, notary, 2)
        grow(ledger, other, 2)
        clock = Clock()
        with LocalWitness(tmp_path / "w", [vkey_of(other)]) as friend:
            collector = Collector(ledger, [friend.configured()], clock=clock)
            assert collector.collect() == 1
            grow(ledger, other, 2)
            assert collector.collect() == 1
        assert len([line for line in caplog.messages if "WITNESS_REFUSED" in line]) == 1
    finally:
        other.close()


def test_a_witness_with_another_history_is_an_alarm(
    ledger: Ledger, notary: Notary, friend: LocalWitness, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has the log's key and signs with it; nothing is stored."""
    grow(ledger, notary, 3)
    foreign = Log(origin=notary.origin, key=notary.signer)  # type: ignore[arg-type]
    assert held_size(friend.configured(), foreign.note(3), size=3) == 0
    ask(friend.configured(), foreign.note(3), old_size=0, proof=())
    for count in (0, 4):
        if count:
            grow(ledger, notary, count)
        assert Collector(ledger, [friend.configured()]).collect() == 0
    alarms = [one for one in caplog.records if one.levelno == logging.CRITICAL]
    assert len(alarms) == 2
    assert all("WITNESS_CONTRADICTS" in one.getMessage() for one in alarms)
    assert cosigned(ledger, notary) == {}


def test_a_ledger_that_is_older_than_its_witness_is_an_alarm(
    ledger: Ledger, notary: Notary, friend: LocalWitness, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restored copy; a log that is known to be rolled back is not shown any more."""
    from tasks.witness_client import ask

    grow(ledger, notary, 3)
    ahead = Log(origin=notary.origin, key=notary.signer)  # type: ignore[arg-type]
    ask(friend.configured(), ahead.note(20), old_size=0, proof=())
    assert Collector(ledger, [friend.configured()]).collect() == 0
    assert "has cosigned 20 leaves, but the ledger has only 3 sealed" in caplog.text

    caplog.clear()
    with ledger.write() as tx:
        logs.stop(tx, notary.log, state=LogState.ROLLED_BACK, reason="a test")
    assert Collector(ledger, [friend.configured()]).collect() == 0
    assert caplog.messages == []


def test_a_witness_whose_sizes_make_no_sense_is_not_asked_for_ever(
    ledger: Ledger, notary: Notary, friend: LocalWitness
) -> None:
    """It says another size each time; what it says is never acted upon."""
    grow(ledger, notary, 5)
    sizes = [
        http_answer("409 Conflict", b"%d\n" % size, f"Content-Type: {SIZE_TYPE}")
        for size in (1, 2, 3, 4)
    ]
    with ScriptedServer(*sizes) as server:
        witness = Witness(name="friend", url=server.url, key=friend.vkey)
        assert Collector(ledger, [witness], timeout_s=2.0).collect() == 0
        assert len(server.asked) == 3
    assert cosigned(ledger, notary) == {}


def test_a_witness_with_a_new_key_signs_the_same_head_again(
    ledger: Ledger, notary: Notary, friend: LocalWitness, tmp_path: Path
) -> None:
    """Both lines stand under it."""
    grow(ledger, notary, 3)
    assert Collector(ledger, [friend.configured()]).collect() == 1
    with LocalWitness(tmp_path / "new", [vkey_of(notary)]) as renewed:
        assert Collector(ledger, [renewed.configured()]).collect() == 1
        assert verify_cosignature(head(ledger, notary), renewed.vkey) is not None
    assert verify_cosignature(head(ledger, notary), friend.vkey) is not None


def test_while_one_look_goes_on_a_second_does_nothing(
    ledger: Ledger, notary: Notary, friend: LocalWitness
) -> None:
    """Beat may send the next message before a slow witness has answered."""
    grow(ledger, notary, 3)
    with ScriptedServer([1.0], [1.0]) as server:
        witness = Witness(name="friend", url=server.url, key=friend.vkey)
        collector = Collector(ledger, [witness], timeout_s=2.0)
        first = threading.Thread(target=collector.collect)
        first.start()
        while not server.asked:
            first.join(0.01)
        assert collector.collect() == 0
        first.join()
        assert len(server.asked) == 1


def test_the_heads_that_are_shown_are_those_that_were_sealed(
    ledger: Ledger, notary: Notary, friend: LocalWitness
) -> None:
    """Leaves that have a place and no signature yet are nobody's business."""
    grow(ledger, notary, 3)
    issue(ledger, notary, 2)
    Collector(ledger, [friend.configured()]).collect()
    with ledger.read() as tx:
        newest = batches.newest(tx, notary.log)
    assert newest is not None
    assert cosigned(ledger, notary) == {friend.configured().key_name: 3}
