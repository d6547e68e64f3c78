"""Digests have one textual form, salted or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import SaltInvalid, is_digest, salted_digest, sha256_digest
from tests.unit.proofs.examples import UNHURRIED

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_the_sha_256_with_its_name() -> None:
    """The empty input's digest is the published one."""
    assert sha256_digest(b"") == EMPTY


def test_a_salted_digest_is_the_hmac_of_rfc_4231() -> None:
    """RFC 4231, test case 3: a key of twenty 0xaa, data of fifty 0xdd."""
    assert salted_digest(b"\xdd" * 50, b"\xaa" * 20) == (
        "sha256:773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
    )


def test_a_short_salt_is_refused() -> None:
    """A salt that can be guessed hides nothing."""
    salted_digest(b"L4-L5", b"x" * 16)
    with pytest.raises(SaltInvalid, match="15 bytes, at least 16"):
        salted_digest(b"L4-L5", b"x" * 15)


@UNHURRIED
@given(data=st.binary(), salt=st.binary(min_size=16))
def test_every_digest_has_the_form(data: bytes, salt: bytes) -> None:
    """Salted and plain digests look alike and are never equal."""
    plain, salted = sha256_digest(data), salted_digest(data, salt)

    assert is_digest(plain)
    assert is_digest(salted)
    assert plain != salted


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        b"sha256:",
        "",
        EMPTY.upper(),
        EMPTY[7:],
        EMPTY[:-1],
        EMPTY + "0",
        EMPTY + "\n",
        " " + EMPTY,
        "sha512:" + EMPTY[7:],
        EMPTY[:-1] + "g",
        EMPTY[:-1] + "\N{FULLWIDTH DIGIT ONE}",
    ],
)
def test_anything_else_is_no_digest(value: object) -> None:
    """Case, length, prefix and alphabet all count."""
    assert not is_digest(value)
