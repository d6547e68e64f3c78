"""Canonical JSON is one sequence of bytes per value, and its reader accepts nothing doubtful."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given

from proofs import CanonicalError, JsonValue, canonicalize, parse_canonical, parse_json
from proofs.canonical import MAX_DEPTH, MAX_KEYS
from tests.unit.proofs.examples import JSON_VALUES, UNHURRIED

# RFC 8785, appendix B: the bits of a double and its canonical text.
RFC_NUMBERS = (
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555556", "333333333.3333334"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
)


@pytest.mark.parametrize(("bits", "text"), RFC_NUMBERS)
def test_numbers_are_written_as_the_rfc_lists_them(bits: str, text: str) -> None:
    """A double has the one text of RFC 8785, and that text is read back as the same double."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))

    assert canonicalize(number) == text.encode("ascii")
    assert parse_json(text.encode("ascii")) == number


def test_keys_are_sorted_by_their_utf_16_form() -> None:
    """The RFC's order differs from that of code points beyond the basic plane."""
    assert canonicalize({"\ufb33": 1, "\U0001f600": 2, "\r": 3, "1": 4, "é": 5}) == (
        '{"\\r":3,"1":4,"é":5,"\U0001f600":2,"\ufb33":1}'.encode()
    )


def test_unicode_is_not_normalised() -> None:
    """Two spellings of one letter stay two texts."""
    assert canonicalize("\u00e9") != canonicalize("e\u0301")


@UNHURRIED
@given(value=JSON_VALUES)
def test_reading_undoes_writing(value: JsonValue) -> None:
    """Every JSON value comes back from its canonical bytes."""
    assert parse_canonical(canonicalize(value)) == value


@UNHURRIED
@given(value=JSON_VALUES)
def test_writing_undoes_reading(value: JsonValue) -> None:
    """Canonical bytes are read and written back unchanged."""
    data = canonicalize(value)

    assert canonicalize(parse_json(data)) == data


def _cycle() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (2**53, "9007199254740992 exceeds"),
        (-(2**53), "-9007199254740992 exceeds"),
        ([10**5000], "digits"),
        ("\ud800", "non-UTF-8"),
        ({"\udfff": 1}, "lone surrogate"),
        ({1: "one"}, "keys must be strings"),
        ({"set": {1}}, "unsupported type"),
        (b"bytes", "unsupported type"),
        (_cycle(), "contains itself"),
    ],
)
def test_a_value_without_a_canonical_form_is_refused(value: object, reason: str) -> None:
    """Whatever JSON cannot hold exactly is one error, with the reason in it."""
    with pytest.raises(CanonicalError, match=reason) as caught:
        canonicalize(value)

    assert caught.value.message.startswith("this value has no canonical JSON form: ")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a":1,"a":1}', "the key 'a' is given twice"),
        (b'{"a":{"b":1,"\\u0062":2}}', "the key 'b' is given twice"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"1e999", "'1e999' does not fit a double"),
        (b"9007199254740993", "'9007199254740993' does not fit a double exactly"),
        (b"1" * 5000, "does not fit a double exactly"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        (b'"\xed\xa0\x80"', "byte 1 is not UTF-8"),
        (b'"\\ud800"', "lone surrogate"),
        (b'{"\\ud800":1}', "lone surrogate"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b"", "line 1, column 1"),
        (b"{}{}", "Extra data"),
        (b'{"a":1,}', "line 1, column 8"),
        (b"['a']", "line 1, column 2"),
        (b'"\n"', "control character"),
        (b"[" * 100_000, "nested deeper than 32"),
    ],
)
def test_bytes_that_two_readers_could_take_differently_are_refused(
    data: bytes, reason: str
) -> None:
    """Nothing is repaired: the error says what was wrong, and where."""
    with pytest.raises(CanonicalError, match=reason) as caught:
        parse_json(data)

    assert caught.value.message.startswith("this is not strict JSON: ")


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_is_allowed_up_to_the_limit(opening: bytes, closing: bytes) -> None:
    """The deepest allowed value is read, one level more is refused."""
    inner = {b"[": b"[]", b'{"a":': b"{}"}[opening]
    deepest = opening * (MAX_DEPTH - 1) + inner + closing * (MAX_DEPTH - 1)

    parse_json(deepest)
    with pytest.raises(CanonicalError, match="nested deeper than 32"):
        parse_json(opening + deepest + closing)


def test_keys_are_allowed_up_to_the_limit() -> None:
    """Keys are counted over the whole document, not per object."""
    half = b"{" + b",".join(b'"%d":0' % number for number in range(MAX_KEYS // 2)) + b"}"

    parse_json(b"[" + half + b"," + half + b"]")
    with pytest.raises(CanonicalError, match="more than 10000 keys"):
        parse_json(b"[" + half + b"," + half + b',{"one":0}]')


@pytest.mark.timeout(30)
@pytest.mark.parametrize("opening", [b"", b'"a":', b'"'])
@pytest.mark.parametrize("ending", [b"", b"\\"])
def test_a_string_without_an_end_is_read_once(opening: bytes, ending: bytes) -> None:
    """Not again from each of the half a million quotes in it: that would take half an hour."""
    with pytest.raises(CanonicalError, match="not strict JSON"):
        parse_json(b"{" + opening + b'"' + b'\\"' * 500_000 + ending)


@pytest.mark.parametrize(
    "data", [b'{"b":1,"a":2}', b'{ "a":2}', b'{"a":2}\n', b"1.0", b"-0", b'"\\u0061"', b"1E2"]
)
def test_another_spelling_of_a_value_is_not_canonical(data: bytes) -> None:
    """The bytes must be the ones that were hashed."""
    parse_json(data)
    with pytest.raises(CanonicalError, match="not in its canonical form"):
        parse_canonical(data)
