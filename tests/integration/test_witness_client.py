"""Asking a witness: a real one, and servers that answer what no witness should."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from proofs.checkpoint import Checkpoint, cosign, witness_vkey
from proofs.keys import PrivateKey
from proofs.merkle import consistency_proof
from proofs.note import VerifierKey
from proofs.witness import SIZE_TYPE, Cosignature
from tasks.errors import SettingsInvalid
from tasks.settings import Settings
from tasks.witness_client import Conflict, Witness, ask, configured, held_size
from tasks.witness_errors import (
    WitnessAnswerInvalid,
    WitnessAway,
    WitnessContradicts,
    WitnessError,
    WitnessRefused,
)
from tests.witness import LocalWitness, Log, ScriptedServer, http_answer

LOG = Log()
NOTE = LOG.note(8)
KEY = PrivateKey.generate()
VKEY = witness_vkey("friend.example/w", KEY.public_key)
LINE = cosign(Checkpoint.from_note(NOTE), KEY, name=VKEY.name, at=7).line + "\n"
SIZE = f"Content-Type: {SIZE_TYPE}"


def proof(old: int, new: int) -> tuple[bytes, ...]:
    """What shows that the log has only grown."""
    return consistency_proof(LOG.leaves[:new], old)


def test_a_witness_is_asked_as_a_log_grows(tmp_path: Path) -> None:
    """A cosignature, the size that it holds, and another history refused."""
    with LocalWitness(tmp_path / "w", [LOG.vkey]) as friend:
        witness = friend.configured()
        first = ask(witness, NOTE, old_size=0, proof=())
        assert isinstance(first, Cosignature)
        assert abs(first.at - time.time()) < 60
        assert ask(witness, LOG.note(20), old_size=0, proof=()) == Conflict(size=8)
        assert isinstance(ask(witness, LOG.note(20), old_size=8, proof=proof(8, 20)), Cosignature)
        for other in (LOG.forked(4).note(20), LOG.forked(4).note(30)):
            with pytest.raises(WitnessContradicts, match="another history"):
                ask(witness, other, old_size=20, proof=proof(20, 20))


def test_how_much_a_witness_holds_is_learnt_without_changing_it(tmp_path: Path) -> None:
    """Whether it holds less, the same, or more than the checkpoint that it is shown."""
    with LocalWitness(tmp_path / "w", [LOG.vkey]) as friend:
        witness = friend.configured()
        assert held_size(witness, NOTE, size=8) == 0
        ask(witness, LOG.note(20), old_size=0, proof=())
        assert held_size(witness, NOTE, size=8) == 20
        assert held_size(witness, LOG.note(20), size=20) == 20
        assert held_size(witness, LOG.note(40), size=40) == 20
        with pytest.raises(WitnessContradicts):
            held_size(witness, LOG.forked(4).note(20), size=20)


def test_a_log_that_a_witness_does_not_know_is_refused(tmp_path: Path) -> None:
    """And so is one whose key it does not know."""
    with LocalWitness(tmp_path / "w", [LOG.vkey]) as friend:
        for other in (Log(origin="other.example/log"), Log(origin=LOG.origin)):
            with pytest.raises(WitnessRefused) as refused:
                ask(friend.configured(), other.note(8), old_size=0, proof=())
            assert "vkey" in refused.value.suggested_action


REDIRECT = http_answer("307 Temporary Redirect", b"", "Location: http://127.0.0.1:9/add-checkpoint")
TRICKLE: list[bytes | float] = [b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n"]
TRICKLE += [part for _ in range(100) for part in (b"a", 0.1)]
TRICKLED_HEAD: list[bytes | float] = [b"HTTP/1.1 200 OK\r\n"]
TRICKLED_HEAD += [part for _ in range(100) for part in (b"X: y\r\n", 0.1)]


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (http_answer("500 Oops", b"broken\n"), WitnessAway, "500: 'broken'"),
        (http_answer("503 Busy"), WitnessAway, "503"),
        (http_answer("429 Too Many"), WitnessAway, "429"),
        ([2.0], WitnessAway, "took longer than 0.5 s"),
        (TRICKLE, WitnessAway, "took longer than 0.5 s"),
        (TRICKLED_HEAD, WitnessAway, "took longer than 0.5 s"),
        ([], WitnessAway, "does not answer"),
        ([b"SSH-2.0-OpenSSH\r\n"], WitnessAway, "does not answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"], WitnessAnswerInvalid, "cannot be read"),
        (http_answer("400 Bad", b"no\n"), WitnessRefused, "400: 'no'"),
        (http_answer("404 Not Found"), WitnessRefused, "404"),
        (http_answer("413 Large"), WitnessRefused, "413"),
        (REDIRECT, WitnessAnswerInvalid, "redirects are not followed"),
        (http_answer("204 No Content"), WitnessAnswerInvalid, "204"),
        (http_answer("200 OK", b"thank you\n"), WitnessAnswerInvalid, "cannot be read"),
        (http_answer("200 OK", b""), WitnessAnswerInvalid, "cannot be read"),
        (http_answer("200 OK", LINE[:-3].encode()), WitnessAnswerInvalid, "cannot be read"),
        (http_answer("200 OK", b"x" * 70_000), WitnessAnswerInvalid, "more than 65536 bytes"),
        (http_answer("409 Conflict", b"4\n", SIZE), WitnessContradicts, "another history"),
        (http_answer("409 Conflict", b"no\n"), WitnessContradicts, "another history"),
        (
            http_answer("409 Conflict", b"9" * 30 + b"\n", SIZE),
            WitnessContradicts,
            "another history",
        ),
        (http_answer("422 No", b"\x1b[31m\n"), WitnessContradicts, r"\\x1b"),
    ],
)
def test_an_answer_that_is_no_cosignature_has_its_own_error(
    answer: Sequence[bytes | float], error: type[WitnessError], told: str
) -> None:
    """In bounded time and size; what it said is shown harmlessly."""
    with ScriptedServer(answer) as server:
        witness = Witness(name="friend", url=server.url, key=VKEY)
        with pytest.raises(error, match=told) as caught:
            ask(witness, NOTE, old_size=4, proof=proof(4, 8), timeout_s=0.5)
    assert caught.value.details["witness"] == "friend"


def test_a_good_answer_is_taken_from_any_prefix() -> None:
    """The request goes to the prefix and `add-checkpoint`."""
    with ScriptedServer(http_answer("200 OK", LINE.encode())) as server:
        witness = Witness(name="friend", url=f"{server.url}/logs/w/", key=VKEY)
        answer = ask(witness, NOTE, old_size=4, proof=proof(4, 8))
    assert isinstance(answer, Cosignature)
    assert answer.at == 7
    assert server.asked[0].startswith(b"POST /logs/w/add-checkpoint HTTP/1.1\r\n")


def test_a_witness_that_is_not_there_is_away() -> None:
    """Nobody listens, or the name does not exist."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://nowhere.invalid"):
        witness = Witness(name="friend", url=url, key=VKEY)
        with pytest.raises(WitnessAway, match="does not answer"):
            ask(witness, NOTE, old_size=4, proof=proof(4, 8))


def test_without_tls_there_is_no_answer_over_https() -> None:
    """The certificate is checked before anything is sent."""
    with ScriptedServer(http_answer("200 OK", LINE.encode())) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(WitnessError):
            ask(
                Witness(name="friend", url=url, key=VKEY),
                NOTE,
                old_size=4,
                proof=proof(4, 8),
                timeout_s=1.0,
            )
    assert b"add-checkpoint" not in b"".join(server.asked)


def settings(tmp_path: Path, **witnesses: Any) -> Settings:
    """Settings with these witnesses."""
    return Settings(
        data_dir=tmp_path,
        keys_dir=tmp_path / "keys",
        redis_url="redis://127.0.0.1",
        redis_embedded=False,
        ledger_url="sqlite://",
        node="node",
        witnesses=witnesses,
    )


def test_witnesses_are_configured_by_url_and_key(tmp_path: Path) -> None:
    """The name is the table's."""
    told = settings(tmp_path, friend={"url": "https://friend.example/w", "vkey": VKEY.text})
    assert configured(told) == (Witness(name="friend", url="https://friend.example/w", key=VKEY),)
    assert configured(settings(tmp_path)) == ()


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"url": "http://a"}, "witnesses.friend"),
        ({"vkey": VKEY.text}, "witnesses.friend"),
        ({"url": "http://a", "vkey": VKEY.text, "key": "x"}, "witnesses.friend"),
        ({"url": "ftp://a", "vkey": VKEY.text}, "witnesses.friend.url"),
        ({"url": "http://u:p@a", "vkey": VKEY.text}, "witnesses.friend.url"),
        ({"url": "http://a:99999", "vkey": VKEY.text}, "witnesses.friend.url"),
        ({"url": "http://a/?q", "vkey": VKEY.text}, "witnesses.friend.url"),
        ({"url": "http://a/\r\nX: y", "vkey": VKEY.text}, "witnesses.friend.url"),
        ({"url": "http://[a", "vkey": VKEY.text}, "witnesses.friend.url"),
        ({"url": "a", "vkey": VKEY.text}, "witnesses.friend.url"),
        ({"url": 5, "vkey": VKEY.text}, "witnesses.friend.url"),
        ({"url": "http://a", "vkey": 5}, "witnesses.friend.vkey"),
        ({"url": "http://a", "vkey": LOG.vkey.text}, "0x04"),
        (
            {"url": "http://a", "vkey": VerifierKey(name="x", kind=6, public_key=b"y").text},
            "0x04",
        ),
    ],
)
def test_a_witness_that_makes_no_sense_is_refused(
    tmp_path: Path, table: dict[str, Any], told: str
) -> None:
    """With its key's full name."""
    with pytest.raises(SettingsInvalid, match=told) as refused:
        configured(settings(tmp_path, friend=table))
    assert "p@a" not in str(refused.value)
