"""A report is readable, deterministic, and holds the companion that the receipt's hash covers."""

from __future__ import annotations

import json
from dataclasses import fields
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs import Companion, JsonValue, ReportInvalid, SampleDigest, parse_report, sha256_digest
from proofs.report import encryption_of, salt_of, written
from tests.unit.proofs.examples import (
    ANSWER,
    JOB_ID,
    JSON_VALUES,
    REQUEST,
    SALT,
    SAMPLE_TEXTS,
    UNHURRIED,
    companion,
    report,
    sample_digests,
)


def test_a_report_is_readable_and_ends_with_a_newline() -> None:
    """Two spaces, sorted keys, real characters."""
    text = report().decode("utf-8")

    assert text.startswith('{\n  "answer": ')
    assert text.endswith("\n}\n")
    assert "L4–L5" in text
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_the_same_values_give_the_same_bytes() -> None:
    """The order in which a caller fills a mapping is not in the report."""
    shuffled = dict(reversed(list(REQUEST.items())))

    assert report(request=shuffled) == report()
    assert report(request=MappingProxyType(shuffled)) == report()


def test_a_report_holds_what_was_asked_answered_and_drawn() -> None:
    """Every part comes back, under version 1."""
    document = parse_report(report())

    assert document["v"] == 1
    assert document["job_id"] == JOB_ID
    assert document["request"] == REQUEST
    assert document["answer"] == ANSWER
    assert isinstance(document["samples"], list)
    assert len(document["samples"]) == len(SAMPLE_TEXTS)


def test_the_companion_is_written_field_by_field() -> None:
    """Its names in the report are its names in the code; a sample's class is `class`."""
    members = parse_report(report())["companion"]

    assert isinstance(members, dict)
    # Nothing is said of another's samples, of a clock or an encryption, where there is none.
    unsaid = {"samples_of", "clock_skew_s", "report_encryption"}
    assert set(members) == {field.name for field in fields(Companion)} - unsaid
    assert members["calibrator_version"] is None
    assert members["cid_profile"] == "unixfs-v0-2015"
    assert members["samples"] == [sample.to_json() for sample in sample_digests()]
    assert set(sample_digests()[0].to_json()) == {"index", "seed", "digest", "class", "valid"}


@UNHURRIED
@given(
    request_body=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), JSON_VALUES),
    answer=st.text(st.characters(codec="utf-8")),
)
def test_any_request_and_answer_come_back(request_body: dict[str, JsonValue], answer: str) -> None:
    """A report is strict JSON whatever it is about."""
    document = parse_report(report(request=request_body, answer=answer))

    assert document["request"] == request_body
    assert document["answer"] == answer


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": {"temperature": float("nan")}}, "cannot be written as JSON"),
        ({"request": {1: "one"}}, "key of type int"),
        ({"request": {"when": object()}}, "value of type object"),
        ({"request": {"seed": 2**64 - 1}}, "does not fit a double exactly"),
        ({"answer": "\ud800"}, "cannot be written as JSON"),
        ({"samples": [{"text": "no index"}]}, "integer index"),
        ({"samples": [{"index": True}]}, "integer index"),
        ({"samples": [{"index": 0, "text": "another"}]}, "digest of sample 0"),
        ({"samples": [{"index": 9, "text": ANSWER}]}, "digest of sample 9"),
        ({"salt": b"short"}, "^salt: 5 bytes long, not 32"),
    ],
)
def test_what_cannot_be_reported_is_refused(changes: dict[str, object], reason: str) -> None:
    """A report that could not be read or checked later is never written."""
    with pytest.raises(ReportInvalid, match=reason):
        report(**changes)


def test_a_request_that_contains_itself_is_refused() -> None:
    """Depth is limited before anything is written."""
    loop: dict[str, object] = {}
    loop["again"] = loop

    with pytest.raises(ReportInvalid, match="nested deeper"):
        report(request=loop)


def test_a_salt_is_a_member_of_the_report_and_is_read_back() -> None:
    """As hexadecimal digits; a report without one has no such member."""
    salted, plain = parse_report(report(salt=SALT)), parse_report(report())

    assert salted["salt"] == SALT.hex()
    assert (salt_of(salted), salt_of(plain)) == (SALT, None)
    assert "salt" not in plain


@pytest.mark.parametrize("salt", [None, 7, "", "ab" * 31, "AB" * 32, "zz" * 32, "ab" * 32 + "\n"])
def test_a_salt_out_of_form_is_refused(salt: object) -> None:
    """Two readers must not take it for two salts."""
    document = {**json.loads(report()), "salt": salt}

    with pytest.raises(ReportInvalid, match=r"^salt: not 64 lower-case"):
        parse_report(json.dumps(document).encode("utf-8"))


def test_an_encrypted_report_says_so() -> None:
    """In its companion; other encryptions than the known one are refused."""
    encrypted = parse_report(report(companion=companion(report_encryption="age")))

    assert (encryption_of(encrypted), encryption_of(parse_report(report()))) == ("age", None)
    for other in ("rot13", 7, ["age"]):
        document = {**encrypted, "companion": {"report_encryption": other}}
        with pytest.raises(ReportInvalid, match="no encryption known here"):
            encryption_of(document)


def test_samples_may_be_reported_without_their_texts() -> None:
    """Then the digests in the companion are all there is."""
    document = parse_report(report(samples=[{"index": 0, "completion_tokens": 3}]))

    assert document["samples"] == [{"index": 0, "completion_tokens": 3}]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be read"),
        (b"[]", "is a JSON object"),
        (b'{"v":2}', "version 1"),
        (b'{"v":true}', "version 1"),
        (b'{"v":1}', "lacks job_id, request, answer, samples, companion"),
        (b'{"v":1,"v":1}', "given twice"),
    ],
)
def test_what_is_no_report_is_refused(data: bytes, reason: str) -> None:
    """The reason is in the message."""
    with pytest.raises(ReportInvalid, match=reason):
        parse_report(data)


def test_an_unknown_member_is_refused() -> None:
    """What a reader does not know, it cannot vouch for."""
    document = {**json.loads(report()), "note": "trust me"}

    with pytest.raises(ReportInvalid, match="no member 'note'"):
        parse_report(json.dumps(document).encode("utf-8"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_digest", "queenbee"),
        ("engine_digest", ""),
        ("profile_digest", None),
        ("profile", None),
        ("profile_digest", "spine"),
        ("calibrator_version", "3"),
        ("confidence_calibrated", True),
        ("fence", -1),
        ("confidence_raw", 1.5),
        ("confidence", float("nan")),
        ("k_launched", True),
        ("k_invalid", -1),
        ("rounds", 1.0),
        ("samples", sample_digests()[::-1]),
        ("samples", sample_digests()[:1] * 2),
        ("cid_profile", "unixfs"),
        ("report_encryption", "rot13"),
    ],
)
def test_a_companion_that_contradicts_itself_is_refused(field: str, value: object) -> None:
    """The message begins with the field to look at."""
    with pytest.raises(ReportInvalid) as caught:
        companion(**{field: value})

    named = {"profile": "profile_digest", "confidence_calibrated": "calibrator_version"}
    assert caught.value.details == {"field": named.get(field, field)}
    assert caught.value.message.startswith(f"{named.get(field, field)}: ")


def test_a_calibrated_confidence_names_its_calibrator() -> None:
    """Both together are accepted, and so is a bare prompt without a profile."""
    calibrated = companion(confidence_calibrated=True, calibrator_version="3")
    bare = companion(profile=None, profile_digest=None)

    assert calibrated.to_json()["calibrator_version"] == "3"
    assert bare.to_json()["profile"] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("index", -1), ("seed", 2**53), ("seed", 1.5), ("digest", "answer"), ("index", False)],
)
def test_a_sample_that_could_not_be_drawn_again_is_refused(field: str, value: object) -> None:
    """A seed beyond 2**53 - 1 would be another number to a reader with doubles."""
    values = {
        "index": 0,
        "seed": 7,
        "digest": sha256_digest(b"answer"),
        "answer_class": "a",
        "valid": True,
        field: value,
    }

    with pytest.raises(ReportInvalid, match=f"^{field}: "):
        SampleDigest(**values)  # type: ignore[arg-type]  # broken on purpose


@UNHURRIED
@given(document=st.dictionaries(st.text(max_size=6), JSON_VALUES, max_size=5))
def test_a_report_is_written_as_json_writes_it(document: dict[str, JsonValue]) -> None:
    """Only faster; tuples and other mappings are lists and objects."""
    expected = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=2)
    frozen = MappingProxyType(
        {key: tuple(one) if isinstance(one, list) else one for key, one in document.items()}
    )

    assert expected == written(document) == written(frozen)
