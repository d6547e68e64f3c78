"""Our IPFS client and a node that misbehaves: every fault is an error of ours, in bounded time."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from proofs import CidProfile, cid_bytes, compute_cid
from proofs.errors import (
    IpfsAnswerInvalid,
    IpfsError,
    IpfsRedirected,
    IpfsRefused,
    IpfsTimeout,
    IpfsUnavailable,
)
from proofs.ipfs import IpfsClient
from tests.fake_kubo import FAULTS, OTHER_CID, FakeKubo, fake_kubo

REPORT = b'{"answer":"mild effusion","v":1}'
V0 = CidProfile.UNIXFS_V0_2015


@pytest.fixture
def node() -> Iterator[FakeKubo]:
    """A node that behaves until told otherwise."""
    with fake_kubo() as serving:
        yield serving


@pytest.fixture
def client(node: FakeKubo) -> Iterator[IpfsClient]:
    """A client with little patience."""
    with IpfsClient(node.url, timeout_s=1.0) as connected:
        yield connected


@pytest.mark.parametrize("profile", CidProfile)
@pytest.mark.parametrize("size", [0, 1, 262_145, 3_000_000])
def test_what_is_added_is_there(
    node: FakeKubo, client: IpfsClient, profile: CidProfile, size: int
) -> None:
    """Pinned, under the profile asked for, and it comes back as it was."""
    data = (REPORT * (size // len(REPORT) + 1))[:size]

    cid = client.add(data, profile=profile)

    assert compute_cid(data, profile) == cid
    assert data == client.cat(cid)
    (added,) = [path for path in node.requests if "/add" in path]
    assert "pin=True" in added
    assert ("max-file-links=1024" in added) == (profile is CidProfile.UNIXFS_V1_2025)


def test_a_node_says_its_version(client: IpfsClient) -> None:
    """Whichever it is: the library's own idea of versions is years old."""
    assert "0.42.0" == client.version()


EXPECTED: dict[str, tuple[type[IpfsError], str]] = {
    "redirect": (IpfsRedirected, r"redirect \(307\) to http"),
    "redirect_without_a_place": (IpfsRedirected, r"redirect \(302\) to nowhere"),
    "no_cid": (IpfsAnswerInvalid, "cannot be read"),
    "list": (IpfsAnswerInvalid, "cannot be read"),
    "two_answers": (IpfsAnswerInvalid, "cannot be read"),
    "error_at_the_end": (IpfsRefused, "no space left on device"),
    "half_a_body": (IpfsUnavailable, "broke off in the middle"),
    "half_a_line": (IpfsAnswerInvalid, "cannot be read"),
    "garbage": (IpfsAnswerInvalid, "cannot be read"),
    "deep": (IpfsAnswerInvalid, "cannot be read"),
    "endless": (IpfsAnswerInvalid, "longer than 65536 bytes"),
    "hang": (IpfsTimeout, "within 1 s"),
    "trickle": (IpfsTimeout, "within 1 s"),
    "trickle_headers": (IpfsTimeout, "within 1 s"),
    "slam": (IpfsUnavailable, "broke off"),
    "status_500": (IpfsRefused, r"status 500: pin: \\x1b\[31mlocked"),
    "status_403": (IpfsRefused, "status 403"),
    "status_405": (IpfsRefused, "status 405"),
    "status_500_endless": (IpfsAnswerInvalid, "longer than 65536 bytes"),
}


def test_every_fault_is_expected_or_for_the_caller_to_find() -> None:
    """Only a wrong CID is an answer; whoever asked compares it."""
    assert {"wrong_cid"} == set(FAULTS) - set(EXPECTED)


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_fault_is_an_error_with_a_sentence_of_its_own(node: FakeKubo, fault: str) -> None:
    """And the client is as good as new afterwards."""
    kind, words = EXPECTED[fault]
    patience_s = 1.0 if kind is IpfsTimeout else 20.0
    with fake_kubo() as elsewhere, IpfsClient(node.url, timeout_s=patience_s) as client:
        node.fault, node.redirect_to = fault, elsewhere.url
        begun = time.monotonic()
        with pytest.raises(kind, match=words) as failed:
            client.add(REPORT, profile=V0)
        # No measurement: a call that never ends would show here and not at pytest's own limit.
        assert time.monotonic() - begun < 30
        assert [] == elsewhere.requests

        assert failed.value.suggested_action
        assert "\x1b" not in failed.value.message
        node.fault = None
        assert compute_cid(REPORT) == client.add(REPORT, profile=V0)


def test_a_wrong_cid_is_given_as_the_node_says_it(node: FakeKubo, client: IpfsClient) -> None:
    """To be compared, as bytes, with the one computed here."""
    node.fault = "wrong_cid"

    told = client.add(REPORT, profile=V0)

    assert OTHER_CID == told
    assert cid_bytes(told) != cid_bytes(compute_cid(REPORT))


@pytest.mark.parametrize("fault", ["half_a_body", "endless", "hang", "trickle", "redirect"])
def test_reading_back_is_bounded_as_well(node: FakeKubo, client: IpfsClient, fault: str) -> None:
    """In bytes and in time; a file that was cut off by our own watchdog is no file."""
    cid = client.add(REPORT, profile=V0)
    node.fault = fault

    with pytest.raises(IpfsError):
        client.cat(cid, max_bytes=1_000_000)


def test_a_file_that_is_not_there_is_said_to_be(client: IpfsClient) -> None:
    """In the node's words, without what a terminal would obey."""
    with pytest.raises(IpfsRefused, match=rf"block {OTHER_CID} was not found") as refused:
        client.cat(OTHER_CID)

    assert "\x1b" not in refused.value.message


def test_a_node_that_is_down_cannot_be_reached() -> None:
    """Said in the system's words, not in those of three libraries."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        IpfsClient(f"http://127.0.0.1:{port}") as client,
        pytest.raises(IpfsUnavailable, match=r"cannot be reached: Connection refused$"),
    ):
        client.version()


def test_a_node_that_never_accepts_is_given_up() -> None:
    """It listens, and that is all."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with IpfsClient(url, timeout_s=0.5) as client, pytest.raises(IpfsTimeout):
            client.add(REPORT * 1_000_000, profile=V0)


def test_the_environment_sends_nothing_elsewhere(
    node: FakeKubo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No proxy between us and the node, whatever the variables say."""
    with fake_kubo() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with IpfsClient(node.url) as client:
            client.add(REPORT, profile=V0)

        assert [] == proxy.requests
    assert 1 == len(node.requests)


def test_a_password_goes_to_the_node_and_nowhere_else(node: FakeKubo) -> None:
    """As HTTP basic authentication."""
    url = node.url.replace("http://", "http://bee:hon%20ey@")
    with IpfsClient(url) as client:
        client.version()

    assert "Basic YmVlOmhvbiBleQ==" == node.headers[-1]["Authorization"]
    assert "bee" not in client.place
