"""A receipt has twelve fields and one form; anything else is refused by name."""

from __future__ import annotations

import hashlib
from dataclasses import FrozenInstanceError, asdict
from fractions import Fraction

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from proofs import Receipt, ReceiptInvalid, canonicalize, confidence_score, parse_json, timestamp
from proofs.canonical import MAX_SAFE_INTEGER
from proofs.receipt import MAX_RECEIPT_BYTES, RECEIPT_FIELDS
from tests.unit.proofs.examples import RECEIPTS, UNHURRIED, receipt, receipt_fields

SEED_FIELDS = (
    "job_id",
    "worker_ens",
    "model",
    "input_hash",
    "output_hash",
    "report_hash",
    "inference_time_ms",
    "confidence_score",
    "k_samples",
    "timestamp",
    "epoch",
    "ipfs_cid",
)
EXAMPLE = receipt()

# One way to break each field, and more where a field can be broken in ways that look right.
BROKEN = (
    ("job_id", "not-a-uuid"),
    ("job_id", "0B0F7C1E-52A4-4D39-9F6E-2F6A1C1D7E55"),
    ("job_id", "{0b0f7c1e-52a4-4d39-9f6e-2f6a1c1d7e55}"),
    ("job_id", "0b0f7c1e52a44d399f6e2f6a1c1d7e55"),
    ("job_id", "../../etc/passwd"),
    ("job_id", 5),
    ("worker_ens", ""),
    ("worker_ens", "two bees"),
    ("worker_ens", "bee+key"),
    ("worker_ens", "bee/receipts"),
    ("worker_ens", "bee\n"),
    ("worker_ens", None),
    ("model", ""),
    ("model", " queenbee"),
    ("model", "queen\x00bee"),
    ("model", "q" * 256),
    ("model", "\ud800"),
    ("model", 1),
    ("input_hash", "ab" * 32),
    ("input_hash", "sha256:" + "AB" * 32),
    ("output_hash", "sha256:" + "ab" * 31),
    ("report_hash", "sha256:" + "ab" * 32 + "\n"),
    ("report_hash", None),
    ("inference_time_ms", -1),
    ("inference_time_ms", 1.5),
    ("inference_time_ms", MAX_SAFE_INTEGER + 1),
    ("inference_time_ms", "75000"),
    ("confidence_score", 101),
    ("confidence_score", -1),
    ("confidence_score", 68.0),
    ("confidence_score", True),
    ("k_samples", 0),
    ("k_samples", [5]),
    ("timestamp", "2025-12-31 21:30:00Z"),
    ("timestamp", "2025-12-31T21:30:00+00:00"),
    ("timestamp", "2025-12-31T21:30:00.5Z"),
    ("timestamp", "2025-02-29T21:30:00Z"),
    ("timestamp", "2025-12-31T24:00:00Z"),
    ("timestamp", "0000-01-01T00:00:00Z"),
    ("timestamp", "\u0662025-12-31T21:30:00Z"),
    ("timestamp", "2025-12-31T21:30:00Z\n"),
    ("timestamp", 1767216600),
    ("epoch", -1),
    ("epoch", False),
    ("epoch", None),
    ("ipfs_cid", ""),
    ("ipfs_cid", "Qm"),
    ("ipfs_cid", "ipfs://QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"),
    ("ipfs_cid", None),
)


def test_the_fields_are_the_twelve() -> None:
    """No field is missing, none has been added."""
    assert RECEIPT_FIELDS == SEED_FIELDS


def test_a_receipt_is_a_value() -> None:
    """It cannot be changed, and equal fields make equal receipts."""
    assert receipt() == EXAMPLE
    with pytest.raises(FrozenInstanceError):
        EXAMPLE.epoch = 1  # type: ignore[misc]  # what is tried here


@UNHURRIED
@given(original=RECEIPTS)
def test_reading_undoes_writing(original: Receipt) -> None:
    """Every receipt comes back from its bytes, with the same id."""
    read = Receipt.from_bytes(original.to_bytes())

    assert read == original
    assert read.digest == original.digest


@UNHURRIED
@given(original=RECEIPTS)
def test_the_bytes_are_in_the_form_of_rfc_8785(original: Receipt) -> None:
    """Whoever writes the same twelve fields with a library of theirs gets the same bytes."""
    assert original.to_bytes() == rfc8785.dumps(asdict(original))


@UNHURRIED
@given(original=RECEIPTS)
def test_a_receipt_fits_a_log_entry(original: Receipt) -> None:
    """A tiled log cannot hold a longer one."""
    assert len(original.to_bytes()) <= MAX_RECEIPT_BYTES


@UNHURRIED
@given(original=RECEIPTS, data=st.data())
def test_any_changed_byte_is_refused_or_changes_the_id(
    original: Receipt, data: st.DataObject
) -> None:
    """No other bytes pass for this receipt."""
    written = original.to_bytes()
    position = data.draw(st.integers(min_value=0, max_value=len(written) - 1))
    byte = data.draw(st.integers(min_value=0, max_value=255).filter(written[position].__ne__))
    changed = written[:position] + bytes([byte]) + written[position + 1 :]

    try:
        read = Receipt.from_bytes(changed)
    except ReceiptInvalid:
        return
    assert read != original
    assert read.digest != original.digest
    assert read.to_bytes() == changed


@UNHURRIED
@given(junk=st.binary(max_size=200))
def test_junk_is_refused_with_our_error(junk: bytes) -> None:
    """Whatever arrives, nothing but ReceiptInvalid comes out."""
    with pytest.raises(ReceiptInvalid):
        Receipt.from_bytes(junk)


@pytest.mark.parametrize(("field", "value"), BROKEN)
def test_a_broken_field_is_named(field: str, value: object) -> None:
    """The message begins with the field, and so does the detail a program reads."""
    with pytest.raises(ReceiptInvalid) as caught:
        receipt(**{field: value})

    assert caught.value.details == {"field": field}
    assert caught.value.message.startswith(f"{field}: ")


def test_an_integer_too_long_to_write_out_is_refused_like_any_other() -> None:
    """The message does without its digits."""
    with pytest.raises(ReceiptInvalid, match="epoch: a value of type int is not an integer from"):
        receipt(epoch=10**5000)


def test_every_field_can_be_broken() -> None:
    """The list above leaves no field out."""
    assert {field for field, _ in BROKEN} == set(SEED_FIELDS)


@pytest.mark.parametrize("field", SEED_FIELDS)
def test_a_missing_field_is_named(field: str) -> None:
    """Eleven fields are not a receipt."""
    values = receipt_fields()
    del values[field]

    with pytest.raises(ReceiptInvalid, match=f"the receipt lacks {field}"):
        Receipt.from_bytes(canonicalize(values))


def test_a_thirteenth_field_is_named() -> None:
    """Nothing can be smuggled into a receipt."""
    with pytest.raises(ReceiptInvalid, match="no field 'signature'"):
        Receipt.from_bytes(canonicalize(receipt_fields(signature="x")))


@pytest.mark.parametrize("data", [b"[]", b"null", b'"receipt"', b"12"])
def test_only_an_object_is_a_receipt(data: bytes) -> None:
    """Other JSON is refused."""
    with pytest.raises(ReceiptInvalid, match="is a JSON object"):
        Receipt.from_bytes(data)


def test_an_oversized_receipt_is_refused_unread() -> None:
    """The length is looked at before the content."""
    with pytest.raises(ReceiptInvalid, match="at most 65535 bytes, not 65536"):
        Receipt.from_bytes(b" " * 65_536)


def test_the_id_and_the_leaf_hash_are_of_the_bytes() -> None:
    """Anyone with sha256sum gets the same."""
    written = EXAMPLE.to_bytes()

    assert hashlib.sha256(written).hexdigest() == EXAMPLE.digest.removeprefix("sha256:")
    assert hashlib.sha256(b"\x00" + written).digest() == EXAMPLE.leaf_hash


def test_a_receipt_holds_integers_only() -> None:
    """Floats are where implementations of canonical JSON differ."""
    values = parse_json(EXAMPLE.to_bytes())

    assert isinstance(values, dict)
    assert {type(value) for value in values.values()} == {int, str}


@pytest.mark.parametrize(
    ("confidence", "score"),
    [(0.0, 0), (1.0, 100), (0.29, 29), (0.57, 57), (0.58, 58), (2 / 3, 66), (0.999, 99), (1, 100)],
)
def test_a_confidence_is_rounded_down_to_a_score(confidence: float, score: int) -> None:
    """In decimal, so that 0.29 is 29 although 100 * 0.29 is less in binary."""
    assert confidence_score(confidence) == score


@UNHURRIED
@given(total=st.integers(min_value=1, max_value=40), data=st.data())
def test_a_share_of_votes_is_rounded_down_exactly(total: int, data: st.DataObject) -> None:
    """A share v/n scores what whole numbers would give."""
    votes = data.draw(st.integers(min_value=0, max_value=total))

    assert confidence_score(votes / total) == Fraction(100 * votes, total).__floor__()


@pytest.mark.parametrize("confidence", [-0.01, 1.01, float("nan"), float("inf")])
def test_what_is_no_confidence_has_no_score(confidence: float) -> None:
    """Shares lie within 0..1."""
    with pytest.raises(ReceiptInvalid, match="not a confidence within"):
        confidence_score(confidence)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1767216600.999, "2025-12-31T21:30:00Z"),
        (-0.5, "1969-12-31T23:59:59Z"),
        (-62135596800, "0001-01-01T00:00:00Z"),
        (253402300799, "9999-12-31T23:59:59Z"),
    ],
)
def test_a_time_is_written_in_whole_utc_seconds(seconds: float, text: str) -> None:
    """Rounded down, and accepted by the receipt."""
    assert timestamp(seconds) == text
    assert receipt(timestamp=text).timestamp == text


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), 1e18, -1e18])
def test_what_is_no_time_has_no_text(seconds: float) -> None:
    """Years 1 to 9999 can be written."""
    with pytest.raises(ReceiptInvalid, match="not a time in seconds"):
        timestamp(seconds)
