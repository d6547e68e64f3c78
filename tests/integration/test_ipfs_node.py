"""With a real IPFS node: what we upload is there, under the very CIDs we computed offline."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import Ledger, ManualClock, bodies, uploads
from ledger.uploads import UploadKind, UploadState
from proofs import CidProfile, cid_bytes, compute_cid
from proofs.errors import IpfsRefused, IpfsTimeout
from proofs.ipfs import IpfsClient
from tasks.uploads import Uploader
from tests.ipfs_node import JsIpfs, installed, js_ipfs

pytestmark = pytest.mark.ipfs

SIZES = (0, 1, 262_143, 262_144, 262_145, 1_048_576, 1_048_577, 3_000_000)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JsIpfs]:
    """A node of this file's own."""
    program = installed()
    if program is None:
        told = "there is no IPFS node; `make test-ipfs` installs one"
        if os.environ.get("IPFS_NODE_DIR"):
            pytest.fail(told)
        pytest.skip(told)
    with js_ipfs(program, tmp_path_factory.mktemp("ipfs")) as running:
        yield running


@pytest.fixture
def client(node: JsIpfs) -> Iterator[IpfsClient]:
    """A client of it."""
    with IpfsClient(node.url, timeout_s=20.0) as connected:
        yield connected


def content(size: int) -> bytes:
    """Bytes that no two chunks share."""
    return hashlib.shake_256(b"honeyflow").digest(size)


@pytest.mark.parametrize("profile", CidProfile)
@pytest.mark.parametrize("size", SIZES)
def test_the_node_computes_the_same_cid(client: IpfsClient, size: int, profile: CidProfile) -> None:
    """Around every boundary of both profiles; and what it gives back is what it got."""
    data, cid = content(size), compute_cid(content(size), profile)

    told = client.add(data, profile=profile)

    assert cid_bytes(cid) == cid_bytes(told)
    assert data == client.cat(cid)


def test_it_says_a_version(client: IpfsClient) -> None:
    """js-ipfs counts its own."""
    assert client.version().startswith("0.")


def test_what_it_does_not_have_is_an_error_in_bounded_time(node: JsIpfs) -> None:
    """It would look for it for ever."""
    with (
        IpfsClient(node.url, timeout_s=1.0) as client,
        pytest.raises((IpfsRefused, IpfsTimeout)),
    ):
        client.cat(compute_cid(b"never added"))


def test_the_outbox_survives_the_node(node: JsIpfs, client: IpfsClient, tmp_path: Path) -> None:
    """Killed in the midst of the work and started again: everything arrives."""
    clock = ManualClock()
    texts = [b"report %d" % number for number in range(6)]
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", migrate=True, clock=clock) as ledger:
        with ledger.write() as tx:
            for text in texts:
                cid, digest = compute_cid(text), bodies.put(tx, text)
                kind, profile = UploadKind.REPORT, CidProfile.UNIXFS_V0_2015
                uploads.add(tx, cid=cid, kind=kind, body_digest=digest, profile=profile)
        uploader = Uploader(ledger, client, plaintext=True)
        assert 2 == uploader.run(at_most=2)
        node.kill()
        assert 0 == uploader.run()
        with ledger.read() as tx:
            assert 4 == uploads.counts(tx)[UploadState.PENDING]
        node.start()
        clock.advance(300)
        assert 4 == uploader.run()

    assert texts == [client.cat(compute_cid(text)) for text in texts]
