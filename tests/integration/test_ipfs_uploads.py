"""The outbox against a node that may misbehave: nothing waits for it, nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger import Ledger, ManualClock, bodies, events, leases, uploads
from ledger.uploads import UploadKind, UploadRow, UploadState
from proofs import CidProfile, compute_cid
from proofs.encryption import MARK
from proofs.ipfs import IpfsClient
from tasks import outbox, wiring
from tasks import uploads as uploading
from tasks.uploads import Uploader
from tests.fake_kubo import FakeKubo, fake_kubo
from tests.stack import write_config

V0 = CidProfile.UNIXFS_V0_2015
REPORT = b'{"answer":"mild effusion","v":1}'


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the test's ledger."""
    return ManualClock()


@pytest.fixture
def ledger(tmp_path: Path, clock: ManualClock) -> Iterator[Ledger]:
    """A ledger of the test's own."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", migrate=True, clock=clock) as opened:
        yield opened


@pytest.fixture
def node() -> Iterator[FakeKubo]:
    """A node that behaves until told otherwise."""
    with fake_kubo() as serving:
        yield serving


@pytest.fixture
def client(node: FakeKubo) -> Iterator[IpfsClient]:
    """A client with little patience."""
    with IpfsClient(node.url, timeout_s=0.5) as connected:
        yield connected


def enter(
    ledger: Ledger,
    data: bytes = REPORT,
    *,
    kind: UploadKind = UploadKind.REPORT,
    profile: CidProfile = V0,
    stored: bool = True,
) -> str:
    """An upload and its bytes; gives its CID."""
    cid = compute_cid(data, profile)
    with ledger.write() as tx:
        digest = bodies.put(tx, data) if stored else bodies.digest_of(data)
        uploads.add(tx, cid=cid, kind=kind, body_digest=digest, profile=profile)
    return cid


def run(ledger: Ledger, client: IpfsClient, *, plaintext: bool = True, **bounds: Any) -> int:
    """One round, as beat has it; gives how many were stored."""
    return Uploader(ledger, client, plaintext=plaintext).run(**bounds)


def look(ledger: Ledger, cid: str) -> UploadRow:
    """The upload as it is now."""
    with ledger.read() as tx:
        row = uploads.get(tx, cid)
    assert row is not None
    return row


def told(ledger: Ledger) -> list[tuple[str, str]]:
    """The events so far."""
    with ledger.read() as tx:
        return [(event.subject, event.details["code"]) for event in events.after(tx, 0)]


@pytest.mark.parametrize("profile", CidProfile)
def test_what_is_entered_is_stored(
    ledger: Ledger, client: IpfsClient, node: FakeKubo, profile: CidProfile
) -> None:
    """Reports and batches, under the CIDs they have, in one round."""
    texts = [REPORT, b"", b"x" * 2_000_000]
    cids = [enter(ledger, data, profile=profile) for data in texts]

    assert 3 == run(ledger, client)

    assert dict(zip(cids, texts, strict=True)) == node.files
    assert {"done"} == {look(ledger, cid).state for cid in cids}
    assert 0 == run(ledger, client)


def test_the_same_cid_in_another_spelling_is_the_same(ledger: Ledger) -> None:
    """js-ipfs answers in base58btc."""
    cid = enter(ledger, b"hello", profile=CidProfile.UNIXFS_V1_2025)

    class Other:
        def add(self, data: bytes, *, profile: str) -> str:
            assert (b"hello", "unixfs-v1-2025") == (data, profile)
            return "zb2rhZfjRh2FHHB2RkHVEvL2vJnCTcu7kwRqgVsf9gpkLgteo"

    assert 1 == Uploader(ledger, Other(), plaintext=True).run()
    assert "done" == look(ledger, cid).state


@pytest.mark.parametrize("fault", ["hang", "slam", "redirect", "half_a_body", "trickle"])
def test_a_node_that_is_unwell_is_left_alone_for_this_round(
    ledger: Ledger, client: IpfsClient, node: FakeKubo, clock: ManualClock, fault: str
) -> None:
    """One try, and not one for each that waits; later all of them arrive."""
    cids = [enter(ledger, b"%d" % number) for number in range(5)]
    node.fault, node.redirect_to = fault, "http://127.0.0.1:1"

    assert 0 == run(ledger, client)

    assert 1 == len(node.requests)
    assert [0, 0, 0, 0, 1] == sorted(look(ledger, cid).tries for cid in cids)
    node.fault = None
    clock.advance(1)
    assert 5 == run(ledger, client)
    assert {"done"} == {look(ledger, cid).state for cid in cids}
    assert [] == told(ledger)


@pytest.mark.parametrize("fault", ["status_500", "status_405", "garbage", "no_cid"])
def test_what_a_node_refuses_does_not_stand_in_the_way_of_the_next(
    ledger: Ledger, client: IpfsClient, node: FakeKubo, clock: ManualClock, fault: str
) -> None:
    """It may be about that one file; but three in a row are about the node."""
    cids = [enter(ledger, b"%d" % number) for number in range(5)]
    node.fault = fault

    assert 0 == run(ledger, client)

    assert [0, 0, 1, 1, 1] == sorted(look(ledger, cid).tries for cid in cids)
    assert {"pending"} == {look(ledger, cid).state for cid in cids}
    for _ in range(4):
        clock.advance(300)
        run(ledger, client)
    assert {"pending"} == {look(ledger, cid).state for cid in cids}
    node.fault = None
    clock.advance(300)
    assert 5 == run(ledger, client)


def test_the_waits_double_up_to_five_minutes(
    ledger: Ledger, client: IpfsClient, node: FakeKubo, clock: ManualClock
) -> None:
    """For a node that is down for long."""
    cid = enter(ledger)
    node.fault = "slam"
    waits = []
    for _ in range(11):
        run(ledger, client)
        waits.append(look(ledger, cid).next_at - clock.now)
        assert 0 == run(ledger, client)
        clock.advance(waits[-1])

    assert [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] == waits
    assert 300 == uploading.wait_s(10_000)


def test_a_node_that_names_it_otherwise_three_times_is_not_believed(
    ledger: Ledger, client: IpfsClient, node: FakeKubo, clock: ManualClock
) -> None:
    """What else goes wrong in between does not count; a person is told, and can try again."""
    cid = enter(ledger)
    for fault in ("wrong_cid", "slam", "wrong_cid", "status_500", "status_500"):
        node.fault = fault
        assert 0 == run(ledger, client)
        clock.advance(300)
    assert ("pending", 5) == (look(ledger, cid).state, look(ledger, cid).tries)
    assert [] == told(ledger)

    node.fault = "wrong_cid"
    assert 0 == run(ledger, client)

    row = look(ledger, cid)
    assert row.error is not None
    assert ("refused", "IPFS_CID_MISMATCH", 3) == (
        row.state,
        row.error["code"],
        row.error["wrong_cids"],
    )
    assert [(cid, "IPFS_CID_MISMATCH")] == told(ledger)
    node.fault = None
    clock.advance(300)
    assert 0 == run(ledger, client)
    with ledger.write() as tx:
        uploads.retry(tx, [cid])
    assert 1 == run(ledger, client)
    assert "done" == look(ledger, cid).state


def test_a_name_that_is_no_cid_is_not_ours(ledger: Ledger, clock: ManualClock) -> None:
    """Whatever a node says, it is compared and never believed."""
    cid = enter(ledger)

    class Liar:
        def add(self, data: bytes, *, profile: str) -> str:
            return "\x1b[31m" + profile * len(data) * 1_000

    for _ in range(3):
        assert 0 == Uploader(ledger, Liar(), plaintext=True).run()
        clock.advance(300)

    row = look(ledger, cid)
    assert row.error is not None
    assert "refused" == row.state
    assert "\x1b" not in row.error["message"]
    assert len(row.error["message"]) < 200


def test_a_report_in_the_clear_leaves_only_if_somebody_said_so(
    ledger: Ledger, client: IpfsClient, node: FakeKubo
) -> None:
    """Asked again before it is sent: the row may be older than the decision."""
    clear = enter(ledger)
    hidden = enter(ledger, MARK + b"-> X25519 ...")
    batch = enter(ledger, b'{"batch":1}', kind=UploadKind.BATCH)

    assert 2 == run(ledger, client, plaintext=False)

    assert {hidden, batch} == set(node.files)
    assert "refused" == look(ledger, clear).state
    assert [(clear, "IPFS_PLAINTEXT_HELD")] == told(ledger)
    with ledger.write() as tx:
        uploads.retry(tx)
    assert 1 == run(ledger, client, plaintext=True)


def test_bytes_that_were_erased_are_given_up(
    ledger: Ledger, client: IpfsClient, node: FakeKubo
) -> None:
    """And those behind them are stored."""
    gone = enter(ledger, b"erased", stored=False)
    kept = enter(ledger, b"kept")

    assert 1 == run(ledger, client)

    assert {kept} == set(node.files)
    assert "refused" == look(ledger, gone).state
    assert [(gone, "BODY_MISSING")] == told(ledger)


def test_one_uploads_at_a_time(ledger: Ledger, client: IpfsClient, clock: ManualClock) -> None:
    """Under a lease that a dead one's successor inherits."""
    cid = enter(ledger)
    with ledger.write() as tx:
        assert leases.take(tx, uploading.LEASE, "another", ttl_s=uploading.LEASE_S)

    assert 0 == run(ledger, client)
    assert ("pending", 0) == (look(ledger, cid).state, look(ledger, cid).tries)

    clock.advance(uploading.LEASE_S)
    assert 1 == run(ledger, client)
    with ledger.write() as tx:
        assert leases.take(tx, uploading.LEASE, "another", ttl_s=uploading.LEASE_S)


def test_whoever_has_lost_the_lease_notes_nothing(ledger: Ledger, clock: ManualClock) -> None:
    """Its successor does, for itself."""
    cid = enter(ledger)

    class Slow:
        def add(self, data: bytes, *, profile: str) -> str:
            clock.advance(uploading.LEASE_S + 1)
            with ledger.write() as tx:
                assert leases.take(tx, uploading.LEASE, "successor", ttl_s=uploading.LEASE_S)
            return compute_cid(data, profile)

    assert 0 == Uploader(ledger, Slow(), plaintext=True).run()
    assert "pending" == look(ledger, cid).state


def test_a_round_ends_when_it_should(ledger: Ledger, client: IpfsClient, node: FakeKubo) -> None:
    """After so many or so long; the next goes on."""
    for number in range(5):
        enter(ledger, b"%d" % number)

    assert 2 == run(ledger, client, at_most=2)
    assert 0 == run(ledger, client, for_s=-1.0)
    assert 3 == run(ledger, client)


def test_many_uploaders_store_everything_once(ledger: Ledger, node: FakeKubo) -> None:
    """More than one maintenance worker may be told at once."""
    cids = {enter(ledger, b"%d" % number) for number in range(20)}

    def upload() -> None:
        with IpfsClient(node.url) as client:
            run(ledger, client)

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert cids == set(node.files)
    assert 20 == len(node.requests)
    with ledger.read() as tx:
        assert 20 == uploads.counts(tx)[UploadState.DONE]


@pytest.mark.parametrize(
    ("given", "report", "batch"),
    [
        ({}, False, False),
        ({"ipfs_recipients": ("age1x",), "ipfs_plaintext": True}, False, False),
        ({"ipfs_api_url": "http://node"}, False, True),
        ({"ipfs_api_url": "http://node", "ipfs_recipients": ("age1x",)}, True, True),
        ({"ipfs_api_url": "http://node", "ipfs_plaintext": True}, True, True),
    ],
)
def test_only_what_may_leave_is_entered(
    ledger: Ledger,
    given: dict[str, Any],
    report: bool,
    batch: bool,
) -> None:
    """Without a node nothing does, and without a decision no report."""
    told_settings = replace(wiring.settings(), **given)
    with ledger.write() as tx:
        for kind, wanted in ((UploadKind.REPORT, report), (UploadKind.BATCH, batch)):
            assert wanted is outbox.enqueue(
                tx, told_settings, kind=kind, cid=f"Qm{kind}", body_digest="d", profile=V0
            )
        assert report + batch == uploads.counts(tx)[UploadState.PENDING]


def beat(home: Path) -> str:
    """What the task does in a process with these settings; gives its result and its log."""
    program = (
        "import logging; logging.basicConfig(level='WARNING', format='%(message)s')\n"
        "from tasks.uploads import upload_to_ipfs\n"
        "print('stored', upload_to_ipfs())\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != "IPFS_API_URL"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_the_task_uploads_to_the_node_of_the_settings(tmp_path: Path, node: FakeKubo) -> None:
    """And does nothing where there is none."""
    write_config(tmp_path)
    (tmp_path / "data").mkdir()
    with Ledger.open(f"sqlite:///{tmp_path}/data/ledger.db", migrate=True) as own:
        cid = enter(own)
        assert "stored 0\n" == beat(tmp_path)

        write_config(tmp_path, ipfs_api_url=f'"{node.url}"', ipfs_plaintext="true")
        assert "stored 1\n" == beat(tmp_path)

        assert "done" == look(own, cid).state
    assert {cid: REPORT} == node.files


def test_the_task_says_what_is_wrong_with_the_settings(tmp_path: Path) -> None:
    """In a sentence, each time; nothing waits for it."""
    write_config(tmp_path, ipfs_api_url='"node:5001"')

    said = beat(tmp_path)

    assert "nothing is uploaded to IPFS: this is no address" in said
    assert "stored 0" in said
