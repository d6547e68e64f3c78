"""A proof file has one form, that of C2SP tlog-proof, and every other text is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import TlogProofInvalid
from proofs.tlog_proof import TlogProof
from tests.unit.proofs.trees import LEAVES

CHECKPOINT = (
    b"bee.example/0b0f7c1e-52a4-4d39-9f6e-2f6a1c1d7e55\n5\n"
    b"Tju7H3tHjc/nH7YxYxUZo7yhLJrvyhYSv85ME6hiZNQ=\n\n\xe2\x80\x94 bee.example AAAAAAAA\n"
)
FILE = b"""c2sp.org/tlog-proof@v1
extra aGVsbG8=
index 4
Bg4Fb93Uh90lt8bTgQ6Dr9WTrs3qAyM6n8q0fZ0Z4lA=

checkpoint, verbatim
"""

PROOFS = st.builds(
    TlogProof,
    index=st.integers(min_value=0, max_value=2**63 - 2),
    path=st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
    checkpoint=st.binary(min_size=1, max_size=80),
    extra=st.none() | st.binary(max_size=40),
)


@given(PROOFS)
def test_what_is_written_is_read_back(proof: TlogProof) -> None:
    """Whatever the checkpoint's bytes are; they stay as they are."""
    assert TlogProof.parse(proof.to_bytes()) == proof


def test_the_lines_are_those_of_the_format() -> None:
    """Written out by hand."""
    proof = TlogProof.parse(FILE)

    assert (proof.index, len(proof.path), proof.extra) == (4, 1, b"hello")
    assert proof.checkpoint == b"checkpoint, verbatim\n"
    assert proof.to_bytes() == FILE
    assert TlogProof(index=0, path=(), checkpoint=CHECKPOINT).to_bytes() == (
        b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + CHECKPOINT
    )


HASH = b"Bg4Fb93Uh90lt8bTgQ6Dr9WTrs3qAyM6n8q0fZ0Z4lA="
FAULTS = {
    "no empty line stands between the path and a checkpoint": FILE.replace(b"\n\n", b"\n"),
    "line 1 is not c2sp.org/tlog-proof@v1": FILE.replace(b"@v1", b"@v2"),
    "line 2 is not `index` and a number without leading zeros": FILE.replace(b"extra a", b"more a"),
    "line 2 is not base64 in its usual form": FILE.replace(b"aGVsbG8=", b"aGVsbG9="),
    "line 3 is not `index` and a number without leading zeros": FILE.replace(b"x 4", b"x 04"),
    "line 4 is not base64 in its usual form": FILE.replace(HASH, HASH[:-1]),
    "byte 47, before the checkpoint, is not ASCII": FILE.replace(b"Bg4", b"B\xff4"),
    "path hash 0 has 3 bytes, not 32": FILE.replace(HASH, b"aGVs"),
    "there is no checkpoint": FILE.removesuffix(b"checkpoint, verbatim\n"),
    "a path has at most 63 hashes, not 64": FILE.replace(HASH, b"\n".join([HASH] * 70)),
    "the index is not from 0 to 2**63 - 2": FILE.replace(b"index 4", b"index 9223372036854775807"),
    "a proof has at most 1048576 bytes, not 1048689": FILE + b"x" * (1 << 20),
}


@pytest.mark.parametrize("message", FAULTS)
def test_another_text_is_refused_with_its_own_message(message: str) -> None:
    """A line's number, where there is one."""
    with pytest.raises(TlogProofInvalid, match=re.escape(message) + "$"):
        TlogProof.parse(FAULTS[message])


@pytest.mark.parametrize("index", [b"-1", b"+1", b"1 ", b" 1", b"1_0", "\u0661".encode(), b""])
def test_an_index_has_one_spelling(index: bytes) -> None:
    """Digits, as few as possible."""
    with pytest.raises(TlogProofInvalid):
        TlogProof.parse(FILE.replace(b"index 4", b"index " + index))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """With the right head or without."""
    for text in (data, FILE[:23] + data, FILE[:46] + data):
        try:
            proof = TlogProof.parse(text)
        except TlogProofInvalid:
            continue
        assert proof.to_bytes() == text


def test_values_without_a_form_are_refused() -> None:
    """Before they are written."""
    with pytest.raises(TlogProofInvalid, match="path hash 1 has 2 bytes"):
        TlogProof(index=0, path=(LEAVES[0], b"xx"), checkpoint=CHECKPOINT)
    with pytest.raises(TlogProofInvalid, match="the index is not from 0"):
        TlogProof(index=-1, path=(), checkpoint=CHECKPOINT)
