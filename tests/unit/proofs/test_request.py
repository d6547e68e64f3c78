"""The caller's own file gives the bytes that the ledger holds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import CanonicalError, canonicalize, input_hash, request_bytes, sha256_digest
from tests.unit.proofs.examples import JSON_VALUES, REQUEST, UNHURRIED

STORED = canonicalize(REQUEST)


@pytest.mark.parametrize("indent", [None, 4])
def test_the_version_may_be_left_out(indent: int | None) -> None:
    """Spelt as the caller likes, with `v` or without."""
    for given_request in (REQUEST, {k: v for k, v in REQUEST.items() if k != "v"}):
        own = json.dumps(given_request, indent=indent, ensure_ascii=False).encode()

        assert STORED == request_bytes(own)
        assert sha256_digest(STORED) == input_hash(own)


def test_another_version_stays_what_it_is() -> None:
    """A request of a version to come is not turned into one of version 1."""
    assert b'{"model":"m","v":2}' == request_bytes(b'{"v": 2, "model": "m"}')


def test_null_is_as_good_as_left_out_where_the_ledger_says_so() -> None:
    """In the request and its answer's format; a schema's own null means null."""
    own = b"""{"model": "m", "profile": null, "v": null, "response_format": {
        "type": "json_schema", "json_schema": {"strict": null, "schema": {"const": null}}}}"""
    told = request_bytes(own)

    assert b'"json_schema":{"schema":{"const":null}}' in told
    assert b"profile" not in told and b"strict" not in told and b'"v":1' in told


@pytest.mark.parametrize("own", [b"[]", b"1", b"null", b"{", b'{"a":1,"a":2}', b"\xff"])
def test_what_is_no_request_is_an_error(own: bytes) -> None:
    """A typed one, with a sentence."""
    with pytest.raises(CanonicalError):
        request_bytes(own)


@UNHURRIED
@given(members=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), JSON_VALUES))
def test_the_bytes_of_a_request_are_its_own_request(members: dict[str, object]) -> None:
    """What the ledger holds, read again as a caller's file, gives the same bytes."""
    once = request_bytes(json.dumps(members).encode())

    assert once == request_bytes(once)
