"""The frozen receipts and the report never change, and each broken twin fails for its one fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proofs import (
    CidProfile,
    Receipt,
    ReceiptInvalid,
    canonicalize,
    compute_cid,
    parse_json,
    sha256_digest,
)
from tests.vectors.proofs.generate import vectors

VECTORS = Path(__file__).parents[2] / "vectors" / "proofs"

FAULTS = {
    "boolean_for_integer": "epoch: False is not an integer",
    "digest_without_prefix": "report_hash: '",
    "duplicate_key": "the key 'epoch' is given twice",
    "fraction": "confidence_score: 60.5 is not an integer",
    "integer_as_float": "not in its canonical form",
    "key_order": "not in its canonical form",
    "missing_field": "the receipt lacks epoch",
    "no_such_day": "not a date and time that exist",
    "null_cid": "ipfs_cid: None is not a CID",
    "spaces": "not in its canonical form",
    "thirteenth_field": "a receipt has no field 'extra'",
    "trailing_newline": "not in its canonical form",
}


def test_the_generator_still_makes_the_frozen_files() -> None:
    """A change of form shows here, and would break every receipt issued before it."""
    made = vectors()
    kept = {path.name: path.read_bytes() for path in VECTORS.iterdir() if path.name in made}

    assert kept == made


def test_the_frozen_receipt_has_its_frozen_hashes() -> None:
    """Id, leaf, report, CIDs, input and output, as sha256sum and Kubo would give them."""
    expected = json.loads((VECTORS / "expected.json").read_bytes())
    read = Receipt.from_bytes((VECTORS / "receipt.json").read_bytes())
    stored = (VECTORS / "report.json").read_bytes()

    assert {
        "receipt_id": read.digest,
        "leaf_hash": read.leaf_hash.hex(),
        "report_hash": sha256_digest(stored),
        "report_cids": {profile: compute_cid(stored, profile) for profile in CidProfile},
        "input_hash": sha256_digest(
            canonicalize(parse_json((VECTORS / "request.json").read_bytes()))
        ),
        "output_hash": sha256_digest((VECTORS / "output.txt").read_bytes()),
    } == expected


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_broken_twin_fails_for_the_fault_in_its_name(name: str) -> None:
    """Everything else about it is right."""
    with pytest.raises(ReceiptInvalid) as caught:
        Receipt.from_bytes((VECTORS / f"broken_{name}.json").read_bytes())

    assert FAULTS[name] in caught.value.message


def test_every_broken_twin_is_tried() -> None:
    """A new file needs its message above."""
    assert {path.stem.removeprefix("broken_") for path in VECTORS.glob("broken_*")} == set(FAULTS)
