"""An ssh-agent signs as the key itself would; one that is broken is told from one that refuses."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import sshsig
from tasks import bee_key
from tasks.errors import AgentUnavailable
from tasks.ssh_agent import AgentSigner, identities
from tests.agent import add, broken_agent, needs_agent, running_agent, short_folder
from tests.unit.proofs.signers import KEY, OTHER, keygen, write_key


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _answering(body: bytes) -> Callable[[socket.socket], None]:
    def answer(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(body)

    return answer


def _listing(*blobs: bytes) -> bytes:
    held = b"".join(_string(blob) + _string(b"a comment") for blob in blobs)
    return _string(bytes((12,)) + struct.pack(">I", len(blobs)) + held)


def _signing(kind: bytes, signature: bytes, *, inside: bytes = b"", after: bytes = b"") -> bytes:
    return _string(bytes((14,)) + _string(_string(kind) + _string(signature) + inside) + after)


@needs_agent
def test_an_agent_signs_as_the_key_does(tmp_path: Path) -> None:
    """Byte for byte, also an empty message and a long one."""
    with running_agent(write_key(tmp_path, KEY)) as agent:
        signer = AgentSigner(agent, KEY.public_key)
        signer.require()

        for message in (b"", b"message", b"x" * 100_000):
            assert KEY.sign(message) == signer.sign(message)
        signed = sshsig.sign(signer, namespace="swarm-receipt", message=b"{}")
        assert sshsig.sign(KEY, namespace="swarm-receipt", message=b"{}") == signed


@needs_agent
def test_an_agent_tells_which_keys_it_holds(tmp_path: Path) -> None:
    """Those of other types are passed over."""
    ecdsa = tmp_path / "ecdsa"
    assert keygen("-q", "-t", "ecdsa", "-N", "", "-f", ecdsa).returncode == 0
    with running_agent(ecdsa) as agent:
        assert () == identities(agent)
        add(agent, str(write_key(tmp_path, KEY)))
        assert (KEY.public_key,) == identities(agent)


@needs_agent
def test_a_key_folder_with_the_public_half_signs_through_the_agent(tmp_path: Path) -> None:
    """And so does an encrypted key whose passphrase nobody names."""
    bee_key.create_public(tmp_path / "public", KEY.public_key)
    secret = tmp_path / "secret"
    secret.write_text("open sesame")
    secret.chmod(0o600)
    bee_key.create(tmp_path / "locked", key=KEY, passphrase_file=secret)
    with running_agent(write_key(tmp_path, KEY)) as agent:
        for name in ("public", "locked"):
            signer = bee_key.open_signer(tmp_path / name, agent_socket=agent)
            assert isinstance(signer, AgentSigner)
            assert KEY.sign(b"message") == signer.sign(b"message")


@needs_agent
def test_a_key_that_the_agent_does_not_hold_is_named(tmp_path: Path) -> None:
    """At once, and not at the first receipt."""
    bee_key.create_public(tmp_path / "other", OTHER.public_key)
    with running_agent(write_key(tmp_path, KEY)) as agent:
        with pytest.raises(AgentUnavailable, match="holds 1 ssh-ed25519 keys, and SHA256:") as no:
            bee_key.open_signer(tmp_path / "other", agent_socket=agent)
        assert OTHER.public_key.fingerprint in no.value.message
        with pytest.raises(AgentUnavailable, match="refused"):
            AgentSigner(agent, OTHER.public_key).sign(b"message")


@needs_agent
def test_a_locked_agent_refuses(tmp_path: Path) -> None:
    """And holds nothing, as far as it says."""
    asking = tmp_path / "ask"
    asking.write_text("#!/bin/sh\necho lock\n")
    asking.chmod(0o700)
    before = {name: os.environ.get(name) for name in ("SSH_ASKPASS", "SSH_ASKPASS_REQUIRE")}
    os.environ.update(SSH_ASKPASS=str(asking), SSH_ASKPASS_REQUIRE="force")
    try:
        with running_agent(write_key(tmp_path, KEY)) as agent:
            signer = AgentSigner(agent, KEY.public_key)
            add(agent, "-x")
            with pytest.raises(AgentUnavailable, match="refused: it may be locked"):
                signer.sign(b"message")
            with pytest.raises(AgentUnavailable, match="holds 0 ssh-ed25519 keys"):
                signer.require()
            add(agent, "-X")
            assert KEY.sign(b"message") == signer.sign(b"message")
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@needs_agent
def test_an_agent_that_was_started_again_is_found(tmp_path: Path) -> None:
    """Each signature has a connection of its own; one that is gone is said to be."""
    key = write_key(tmp_path, KEY)
    with short_folder() as folder:
        signer = AgentSigner(folder / "agent", KEY.public_key)
        with running_agent(key, folder=folder):
            signer.require()
        with pytest.raises(AgentUnavailable, match="cannot be reached"):
            signer.sign(b"message")
        with running_agent(key, folder=folder):
            assert KEY.sign(b"message") == signer.sign(b"message")


SIGNATURE = KEY.sign(b"message")
BROKEN = {
    "silence": (b"", "hung up before it had answered"),
    "half a length": (b"\x00\x00", "hung up before it had answered"),
    "half an answer": (b"\x00\x00\x00\x09\x0e", "hung up before it had answered"),
    "an empty answer": (_string(b""), "announced an answer of 0 bytes"),
    "a huge answer": (b"\xff\xff\xff\xff", "announced an answer of 4294967295 bytes"),
    "a failure": (_string(b"\x05"), "refused"),
    "another message": (_string(b"\x06"), "answered with message 6, not 14"),
    "no signature": (_string(b"\x0e"), "less than it announced"),
    "a length beyond": (_string(b"\x0e\xff\xff\xff\xff"), "less than it announced"),
    "another type": (_signing(b"ssh-rsa", SIGNATURE), "another signature than ssh-ed25519"),
    "a short one": (_signing(b"ssh-ed25519", SIGNATURE[:-1]), "another signature than"),
    "another key": (_signing(b"ssh-ed25519", OTHER.sign(b"message")), "signed with another key"),
    "another text": (_signing(b"ssh-ed25519", KEY.sign(b"x")), "signed with another key"),
    "more inside": (_signing(b"ssh-ed25519", SIGNATURE, inside=b"x"), "more than was asked for"),
    "more after": (_signing(b"ssh-ed25519", SIGNATURE, after=b"x"), "more than was asked for"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_agent_signs_nothing(name: str) -> None:
    """Each with its own reason, and as an error that may pass."""
    body, reason = BROKEN[name]
    with (
        broken_agent(_answering(body)) as agent,
        pytest.raises(AgentUnavailable, match=reason) as refused,
    ):
        AgentSigner(agent, KEY.public_key, timeout_s=10).sign(b"message")
    assert (refused.value.code, refused.value.retriable) == ("AGENT_UNAVAILABLE", True)
    assert {"socket": str(agent)} == refused.value.details


def test_the_right_answer_is_accepted() -> None:
    """The twin of the broken ones."""
    with broken_agent(_answering(_signing(b"ssh-ed25519", SIGNATURE))) as agent:
        assert SIGNATURE == AgentSigner(agent, KEY.public_key, timeout_s=10).sign(b"message")
    listed = _listing(KEY.public_key.blob, b"junk", OTHER.public_key.blob)
    with broken_agent(_answering(listed)) as agent:
        assert (KEY.public_key, OTHER.public_key) == identities(agent, timeout_s=10)


LISTS = {
    "more than it says": _string(b"\x0c\x00\x00\x00\x00x"),
    "less than it says": _string(b"\x0c\xff\xff\xff\xff"),
    "no number": _string(b"\x0c"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_broken_list_is_refused(name: str) -> None:
    """Keys are not guessed."""
    with broken_agent(_answering(LISTS[name])) as agent, pytest.raises(AgentUnavailable):
        identities(agent, timeout_s=10)


def test_an_agent_that_hangs_is_not_waited_for() -> None:
    """Neither one that says nothing nor one that says a byte now and then."""

    def silent(peer: socket.socket) -> None:
        while peer.recv(4096):
            pass

    def slow(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(struct.pack(">I", 100_000))
        peer.settimeout(0.01)
        while True:
            with contextlib.suppress(TimeoutError):
                if not peer.recv(4096):
                    return
            peer.sendall(b"\x00")

    for answer in (silent, slow):
        with (
            broken_agent(answer) as agent,
            pytest.raises(AgentUnavailable, match=r"did not answer within 0.1 s"),
        ):
            AgentSigner(agent, KEY.public_key, timeout_s=0.1).sign(b"message")


def test_what_is_no_socket_is_said_to_be_none(tmp_path: Path) -> None:
    """A file, a name that is too long, and one that no system has."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / ("x" * 200), Path("\x00")):
        with pytest.raises(AgentUnavailable, match="cannot be reached"):
            AgentSigner(path, KEY.public_key).sign(b"message")


@given(body=st.binary(max_size=120))
def test_any_answer_is_a_signature_or_refused(body: bytes) -> None:
    """Nothing but our own error comes out."""
    for kind in (b"\x0e", b"\x0c"):
        with broken_agent(_answering(_string(kind + body))) as agent:
            try:
                AgentSigner(agent, KEY.public_key, timeout_s=10).require()
            except AgentUnavailable:
                pass
            with pytest.raises(AgentUnavailable):
                AgentSigner(agent, KEY.public_key, timeout_s=10).sign(b"message")
