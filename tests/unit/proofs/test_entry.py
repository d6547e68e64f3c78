"""A leaf is one type of entry and no other, and its bytes are the only spelling of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import Receipt, ReceiptInvalid, canonicalize, sha256_digest, timestamp
from proofs.entry import (
    Entry,
    EntryType,
    KeyHandoverEntry,
    LogCloseEntry,
    VerdictEntry,
    parse_entry,
    type_of,
)
from proofs.errors import EntryInvalid
from proofs.keys import PublicKey
from proofs.merkle import EMPTY_ROOT, leaf_hash
from tests.unit.proofs import examples

ORIGIN = "bumble70b.swarmbee.eth/6c3f0f27-9d0e-4a7e-8c1b-0d9a3a5f1e42"
SUCCESSOR = "bumble70b.swarmbee.eth/a3b5e0de-5d0c-4a55-9a59-3f6f1f0b7c11"
OLD_KEY = PublicKey(raw=bytes(range(32))).to_openssh()
NEW_KEY = PublicKey(raw=bytes(range(1, 33))).to_openssh()
TIME = "2026-01-31T21:30:00Z"

_DIGESTS = st.binary(max_size=8).map(sha256_digest)
_TIMES = st.integers(min_value=0, max_value=253402300799).map(timestamp)
_KEYS = st.binary(min_size=32, max_size=32).map(lambda raw: PublicKey(raw=raw).to_openssh())
_LOGS = st.uuids().map(lambda log_id: f"bee.example/{log_id}")

ENTRIES: st.SearchStrategy[Entry] = st.one_of(
    examples.RECEIPTS,
    st.builds(
        VerdictEntry,
        receipt=_DIGESTS,
        verdict=st.sampled_from(["confirmed", "rejected"]),
        output_hash=st.none(),
        timestamp=_TIMES,
    ),
    st.builds(
        VerdictEntry,
        receipt=_DIGESTS,
        verdict=st.just("corrected"),
        output_hash=_DIGESTS,
        timestamp=_TIMES,
    ),
    st.tuples(_KEYS, _KEYS, _LOGS, _TIMES)
    .filter(lambda parts: parts[0] != parts[1])
    .map(
        lambda parts: KeyHandoverEntry(
            old_key=parts[0], new_key=parts[1], origin=parts[2], timestamp=parts[3]
        )
    ),
    st.builds(
        LogCloseEntry,
        origin=_LOGS,
        tree_size=st.integers(min_value=1, max_value=2**53 - 1),
        root_hash=_DIGESTS,
        successor=st.none() | st.just(SUCCESSOR),
        reason=st.text("abc xyz-", min_size=1).map(str.strip).filter(bool),
        timestamp=_TIMES,
    ),
)

GOOD: dict[str, dict[str, Any]] = {
    "verdict": {
        "v": 1,
        "type": "verdict",
        "receipt": examples.receipt().digest,
        "verdict": "corrected",
        "output_hash": sha256_digest(b"severe stenosis"),
        "timestamp": TIME,
    },
    "key-handover": {
        "v": 1,
        "type": "key-handover",
        "origin": ORIGIN,
        "old_key": OLD_KEY,
        "new_key": NEW_KEY,
        "timestamp": TIME,
    },
    "log-close": {
        "v": 1,
        "type": "log-close",
        "origin": ORIGIN,
        "tree_size": 300,
        "root_hash": "sha256:" + "ab" * 32,
        "successor": SUCCESSOR,
        "reason": "the ledger was restored from a copy",
        "timestamp": TIME,
    },
}


@examples.UNHURRIED
@given(ENTRIES)
def test_what_is_logged_is_read_back(entry: Entry) -> None:
    """As the same type, from bytes whose hash is the leaf's."""
    data = entry.to_bytes()

    assert parse_entry(data) == entry
    assert entry.leaf_hash == leaf_hash(data)
    assert type_of(entry) == json.loads(data).get("type", "receipt")


@pytest.mark.parametrize("name", sorted(GOOD))
def test_an_entry_has_exactly_these_fields(name: str) -> None:
    """As written out by hand; one missing, or one more, is refused."""
    entry = parse_entry(canonicalize(GOOD[name]))
    assert (entry.to_bytes(), type_of(entry)) == (canonicalize(GOOD[name]), EntryType(name))

    for field in GOOD[name].keys() - {"type"}:
        without = {key: value for key, value in GOOD[name].items() if key != field}
        with pytest.raises(EntryInvalid, match=f"^an entry lacks {field}$"):
            parse_entry(canonicalize(without))
    with pytest.raises(EntryInvalid, match=r"^an entry has no field 'note'$"):
        parse_entry(canonicalize({**GOOD[name], "note": ""}))


def test_no_entry_is_read_as_one_of_another_type() -> None:
    """Not under another's name, and not by another's class."""
    for name, value in GOOD.items():
        for other in GOOD.keys() - {name}:
            with pytest.raises(EntryInvalid):
                parse_entry(canonicalize({**value, "type": other}))
    with pytest.raises(EntryInvalid, match="type: 'key-handover' is none of verdict"):
        VerdictEntry.from_bytes(
            canonicalize({**GOOD["verdict"], "type": "key-handover"}),
        )
    with pytest.raises(EntryInvalid, match="type: 'receipt' is none of"):
        parse_entry(canonicalize({**examples.receipt_fields(), "type": "receipt"}))
    with pytest.raises(ReceiptInvalid, match="the receipt lacks"):
        parse_entry(canonicalize({key: 1 for key in GOOD["verdict"] if key != "type"}))
    assert isinstance(parse_entry(examples.receipt().to_bytes()), Receipt)


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("verdict", {"v": 2}, "v: 2 is no version that is known here"),
    ("verdict", {"v": True}, "v: True is no version that is known here"),
    ("verdict", {"v": "1"}, "v: '1' is no version that is known here"),
    ("verdict", {"receipt": "ab" * 32}, "is not sha256: and 64 lower-case hexadecimal digits"),
    ("verdict", {"verdict": "doubted"}, "'doubted' is none of confirmed, corrected, rejected"),
    ("verdict", {"verdict": ["corrected"]}, "verdict: a value of type list is none of"),
    ("verdict", {"output_hash": None}, "output_hash: None is not sha256:"),
    ("verdict", {"verdict": "confirmed"}, "output_hash: an answer that was confirmed has no"),
    ("verdict", {"timestamp": "2026-02-30T00:00:00Z"}, "is not a date and time that exist"),
    ("verdict", {"timestamp": "2026-01-31T21:30:00+01:00"}, "is not of the form YYYY-MM-DD"),
    ("key-handover", {"origin": 7}, "origin: 7 is not the name of a log"),
    ("key-handover", {"origin": "bee.example"}, "has no slash between"),
    ("key-handover", {"origin": "a b/" + ORIGIN[-36:]}, "does not begin with the name of a worker"),
    ("key-handover", {"origin": ORIGIN.upper()}, "does not end with a UUID"),
    ("key-handover", {"origin": ORIGIN + "/x"}, "does not end with a UUID"),
    ("key-handover", {"old_key": None}, "old_key: it is not a text"),
    ("key-handover", {"old_key": NEW_KEY}, "new_key: the key hands over to itself"),
    ("key-handover", {"new_key": NEW_KEY + " bee"}, "new_key: it has a comment or blanks"),
    ("key-handover", {"new_key": "ssh-rsa AAAA"}, "new_key: the key is of type 'ssh-rsa'"),
    ("log-close", {"tree_size": -1}, "tree_size: the integer is not from 0 to"),
    ("log-close", {"tree_size": "300"}, "tree_size: '300' is not an integer"),
    ("log-close", {"tree_size": False}, "tree_size: False is not an integer"),
    ("log-close", {"tree_size": 1.5}, "tree_size: 1.5 is not an integer"),
    ("log-close", {"tree_size": 0}, "root_hash: it is not the root of a tree without leaves"),
    ("log-close", {"successor": ORIGIN}, "successor: the log would succeed itself"),
    ("log-close", {"reason": ""}, "reason: '' is not a text of 1 to 255 printable characters"),
    ("log-close", {"reason": "x" * 256}, "is not a text of 1 to 255 printable characters"),
    ("log-close", {"reason": "two\nlines"}, "is not a text of 1 to 255 printable characters"),
]


@pytest.mark.parametrize(("name", "changes", "message"), FAULTS)
def test_a_broken_field_is_refused_with_its_own_message(
    name: str, changes: dict[str, Any], message: str
) -> None:
    """Each names the field."""
    with pytest.raises(EntryInvalid) as caught:
        parse_entry(canonicalize({**GOOD[name], **changes}))

    assert message in caught.value.message
    assert caught.value.details["field"] in GOOD[name]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[]", "an entry is a JSON object"),
        (b"{", "an entry cannot be read: this is not strict JSON"),
        (b'{"type": "verdict"}', "not in its canonical form"),
        (b'{"type":"verdict","type":"verdict"}', "the key 'type' is given twice"),
        (b'{"type":"other"}', "type: 'other' is none of verdict, key-handover, log-close"),
        (b'{"type":null}', "type: None is none of"),
        (b" " * 65_536, "an entry has at most 65535 bytes, not 65536"),
    ],
)
def test_what_is_no_entry_is_refused(data: bytes, message: str) -> None:
    """Before any type is looked for."""
    with pytest.raises(EntryInvalid, match=message):
        parse_entry(data)


def test_a_log_can_end_before_it_began() -> None:
    """With the root of the empty tree."""
    closed = LogCloseEntry(
        origin=ORIGIN,
        tree_size=0,
        root_hash="sha256:" + EMPTY_ROOT.hex(),
        successor=None,
        reason="made by mistake",
        timestamp=TIME,
    )
    assert parse_entry(closed.to_bytes()) == closed
