"""An IPFS node's address, and what it takes to speak to one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import CidError
from proofs.errors import ExtraMissing, IpfsAddressInvalid
from proofs.ipfs import IpfsClient, place_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001"),
        ("http://127.0.0.1:5001/", "http://127.0.0.1:5001"),
        ("http://127.0.0.1:5001/api/v0/", "http://127.0.0.1:5001"),
        ("http://[::1]:5001", "http://[::1]:5001"),
        ("http://node", "http://node:80"),
        ("https://ipfs.example.org", "https://ipfs.example.org:443"),
        ("https://bee:honey%40s@ipfs.example.org:8443", "https://ipfs.example.org:8443"),
        ("/ip4/127.0.0.1/tcp/5001", "/ip4/127.0.0.1/tcp/5001"),
        ("/dns/node/tcp/443/https", "/dns/node/tcp/443/https"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, place: str) -> None:
    """And each of these can be connected to."""
    with IpfsClient(url) as client:
        assert place == client.place == place_of(url)


@pytest.mark.parametrize(
    "url",
    ["", "node", "ftp://node", "127.0.0.1:5001", "http://", "http://:5001", "http://node:99999"]
    + ["http://node:x", "http://a b", "http://node/ipfs", "http://node?x=1", "http://node#x"]
    + ["http://[::1", "http://no\x1bde", "http://a/b@c", "/ip4/999.1.1.1/tcp/1", "/ip4/1.1.1.1"]
    + ["/tcp/5001", "/ip4/1.1.1.1/udp/1", "/ip4/1.1.1.1/tcp/1/ws", "/", "/\ud800"],
)
def test_any_other_address_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(IpfsAddressInvalid) as refused:
        IpfsClient(url)

    assert "\x1b" not in refused.value.message


def test_a_bad_address_does_not_spread_its_password() -> None:
    """A log is read by many."""
    with pytest.raises(IpfsAddressInvalid) as refused:
        IpfsClient("https://bee:honey@node/elsewhere")

    assert "honey" not in refused.value.message


@given(st.text(max_size=60))
def test_no_text_leads_to_anything_but_an_address_or_a_refusal(text: str) -> None:
    """Whatever somebody writes into the settings."""
    for url in (text, "http://" + text, "/" + text):
        try:
            place_of(url)
        except IpfsAddressInvalid as refused:
            assert refused.suggested_action


def test_the_library_is_loaded_when_a_client_is_made() -> None:
    """Whoever checks a receipt does not need it."""
    program = "import sys, proofs.ipfs, proofs.encryption; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"ipfshttpclient", "requests", "multiaddr", "pyrage"} & set(loaded)


def test_without_the_library_the_reader_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "ipfshttpclient", None)

    with pytest.raises(ExtraMissing, match="ipfshttpclient") as missing:
        IpfsClient("http://127.0.0.1:5001")
    assert "honeyflow[ipfs]" in missing.value.suggested_action


@pytest.mark.parametrize(
    "variable", ["PY_IPFS_HTTP_CLIENT_PREFER_HTTPX=yes", "PY_IPFS_HTTP_CLIENT_DEFAULT_ADDR=here"]
)
def test_the_librarys_own_variables_change_nothing_unnoticed(variable: str) -> None:
    """It reads them while it is loaded; what would change how we speak is refused."""
    name, value = variable.split("=")
    program = (
        f"import os; os.environ[{name!r}] = {value!r}\n"
        "from proofs.errors import ExtraMissing\n"
        "from proofs.ipfs import IpfsClient\n"
        "try:\n"
        "    client = IpfsClient('http://127.0.0.1:5001')\n"
        "    print(client.place)\n"
        "except ExtraMissing as missing:\n"
        "    print(missing.suggested_action)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout

    assert told.startswith(("Unset", "http://127.0.0.1:5001"))


def test_what_is_no_cid_is_not_asked_for() -> None:
    """A path could name anything."""
    with IpfsClient("http://127.0.0.1:1") as client, pytest.raises(CidError):
        client.cat("Qm/../../etc")
