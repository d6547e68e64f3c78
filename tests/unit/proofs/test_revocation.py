"""A revocation names a key, a log and a size, and is read from its own bytes alone."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.canonical import canonical
from proofs.errors import RevocationInvalid
from proofs.merkle import EMPTY_ROOT
from proofs.revocation import Revocation, parse_revocations
from tests.unit.proofs.examples import UNHURRIED
from tests.unit.proofs.signers import KEY, ORIGIN

REVOCATION = Revocation(
    key=KEY.public_key.to_openssh(),
    origin=ORIGIN,
    tree_size=300,
    root_hash="sha256:" + "ab" * 32,
    reason="the machine was stolen",
    timestamp="2026-03-01T12:00:00Z",
)
DATA = REVOCATION.to_bytes()


def _changed(**members: Any) -> bytes:
    return canonical({**json.loads(DATA), **members})


def test_a_revocation_reads_what_it_writes() -> None:
    """And gives the key and the root in binary."""
    assert REVOCATION == Revocation.from_bytes(DATA)
    assert {"v": 1, "type": "key-revocation", **dataclasses.asdict(REVOCATION)} == json.loads(DATA)
    assert (KEY.public_key, b"\xab" * 32) == (REVOCATION.public_key, REVOCATION.root)


def test_nothing_of_a_log_may_be_honoured() -> None:
    """The size 0, with the root of no leaves."""
    none = dataclasses.replace(REVOCATION, tree_size=0, root_hash="sha256:" + EMPTY_ROOT.hex())

    assert none == Revocation.from_bytes(none.to_bytes())


BROKEN = {
    "another version": (_changed(v=2), "no version"),
    "another type": (_changed(type="verdict"), "'verdict' is none of key-revocation"),
    "one member more": (_changed(extra=1), "no field 'extra'"),
    "one member less": (DATA.replace(b'"reason":"the machine was stolen",', b""), "lacks reason"),
    "a comment": (_changed(key=REVOCATION.key + " me"), "a comment or blanks"),
    "a blank": (_changed(key=" " + REVOCATION.key), "a comment or blanks"),
    "another key": (_changed(key="ssh-rsa AAAA"), "key: the key is of type 'ssh-rsa'"),
    "no key": (_changed(key=None), "key: it is not a text"),
    "another origin": (_changed(origin="bee.example"), "origin: .* no slash"),
    "a negative size": (_changed(tree_size=-1), "tree_size: the integer is not"),
    "a fraction": (_changed(tree_size=1.5), "tree_size: 1.5 is not an integer"),
    "true": (_changed(tree_size=True), "tree_size: True is not an integer"),
    "a root in base64": (_changed(root_hash="q83v"), "root_hash: 'q83v' is not sha256:"),
    "no leaves": (_changed(tree_size=0), "root of a tree without leaves"),
    "no reason": (_changed(reason=""), "reason: '' is not a text"),
    "a line break": (_changed(reason="a\nb"), "reason: .* is not a text"),
    "no such day": (_changed(timestamp="2026-02-30T00:00:00Z"), "that exist"),
    "local time": (_changed(timestamp="2026-02-03T00:00:00"), "YYYY-MM-DDTHH:MM:SSZ"),
    "a blank between": (DATA.replace(b":", b": ", 1), "not in its canonical form"),
    "a newline": (DATA + b"\n", "not in its canonical form"),
    "a key twice": (DATA.replace(b'"v":1', b'"v":1,"v":1'), "given twice"),
    "a list": (b"[]", "is a JSON object"),
    "no JSON": (b"revoked", "not strict JSON"),
    "a huge one": (DATA + b" " * 4096, "at most 4096 bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_revocation_is_refused(name: str) -> None:
    """Each with its own reason."""
    data, reason = BROKEN[name]

    with pytest.raises(RevocationInvalid, match=reason):
        Revocation.from_bytes(data)


def test_a_file_holds_one_per_line() -> None:
    """Empty lines do no harm, and a broken one is named by its number."""
    other = dataclasses.replace(REVOCATION, tree_size=7)
    data = b"\n" + DATA + b"\n\n" + other.to_bytes()

    assert (REVOCATION, other) == parse_revocations(data) == parse_revocations(data + b"\n")
    assert () == parse_revocations(b"")
    with pytest.raises(
        RevocationInvalid, match=r"line 3 of the revocations: .*not strict JSON"
    ) as no:
        parse_revocations(DATA + b"\n\nx\n")
    assert {"line": 3} == no.value.details
    with pytest.raises(RevocationInvalid, match=r"line 1 .*no slash") as no:
        parse_revocations(_changed(origin="a"))
    assert {"line": 1, "field": "origin"} == no.value.details
    with pytest.raises(RevocationInvalid, match="more than 10000 lines"):
        parse_revocations(b"\n" * 10_000)


@UNHURRIED
@given(at=st.integers(0, len(DATA) - 1), to=st.integers(0, 255))
def test_a_changed_byte_makes_another_revocation_or_none(at: int, to: int) -> None:
    """Nothing but our own error comes out, and what is read is written back as it was."""
    data = DATA[:at] + bytes((to,)) + DATA[at + 1 :]
    try:
        read = Revocation.from_bytes(data)
    except RevocationInvalid:
        return
    assert data == read.to_bytes()
