"""When two plain answers are the same: options, numbers, texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.resampling import AgreementInvalid, Ballot, Vote, parse_agreement

OPTIONS = {"A": "stenosis", "B": "normal"}


def canonical(spec: dict[str, Any], text: str, *, truncated: bool = False) -> str | None:
    """Return the class of one text, None for an invalid one."""
    return parse_agreement(spec).classify(text, truncated=truncated).canonical


@pytest.mark.parametrize(
    "text",
    ["B", " b ", "(B)", "b.", '"B"', "normal", "Normal.", "B. normal", "b) Normal", "(B) normal"],
)
def test_an_option_is_found_by_its_id_its_label_or_both(text: str) -> None:
    """Case, brackets, quotes and a full stop aside."""
    assert canonical({"type": "choice", "options": OPTIONS}, text) == "B"


@pytest.mark.parametrize("text", ["C", "A or B", "", "stenosis normal", "not normal", "AB"])
def test_a_text_that_is_no_option_is_invalid(text: str) -> None:
    """No guessing."""
    read = parse_agreement({"type": "choice", "options": OPTIONS}).classify(text)
    assert (read.valid, read.leaves, read.reason) == (False, (), "not_an_option")


def test_a_cut_off_option_is_valid_unless_another_continues_it() -> None:
    """Yes could still have become "yes, partly"."""
    spec = {"type": "choice", "options": ["yes", "yes, partly", "no"]}
    assert canonical(spec, "yes", truncated=True) is None
    assert canonical(spec, "no", truncated=True) == "no"
    assert canonical(spec, "yes") == "yes"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", "42"),
        ("42.0", "42"),
        ("-1,234.50", "-2469/2"),
        ("1 234 567", "1234567"),
        ("1 1/2", "3/2"),
        ("6/4", "3/2"),
        ("3.0e2 mm", "300 mm"),
        ("$5", "5 $"),
        ("5%", "5 %"),
        ("\u22127", "-7"),
        ("The answer is 42.", "42"),
        ("x = 42 mm", "42 mm"),
    ],
)
def test_a_number_is_read_whatever_its_spelling(text: str, value: str) -> None:
    """Exactly, as a fraction, with its unit."""
    assert canonical({"type": "number"}, text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "4 or 5",
        "1,5",
        "1,2345",
        "is not 42",
        "1/0",
        "1e999",
        "nan",
        "inf",
        "9" * 300,
        "1.2.3",
        "$5 mm",
        "½",
    ],
)
def test_a_text_without_one_clear_number_is_invalid(text: str) -> None:
    """Two numbers, an ambiguous one, none, or one of absurd size."""
    assert canonical({"type": "number"}, text) is None


def test_a_cut_off_number_is_invalid() -> None:
    """The beginning of 1234 is another number."""
    assert canonical({"type": "number"}, "12", truncated=True) is None


def test_units_are_converted_where_they_are_given_and_kept_apart_where_not() -> None:
    """5 mm and 5 g are never the same answer."""
    lengths = {"type": "number", "units": {"mm": 1, "cm": 10}}
    assert canonical(lengths, "1.2 cm") == canonical(lengths, "12") == canonical(lengths, "12 mm")
    assert canonical(lengths, "12 m") is None
    assert canonical({"type": "number"}, "5 mm") != canonical({"type": "number"}, "5 g")


def classes(spec: dict[str, Any], *texts: str) -> list[Vote]:
    """Return the classes of a vote of these texts."""
    ballot = Ballot(parse_agreement(spec))
    for index, text in enumerate(texts):
        ballot.add(index, text)
    return list(ballot.votes())


def test_numbers_within_the_tolerance_are_one_class_named_by_its_median() -> None:
    """And the sample that wrote the median is the answer."""
    spec = {"type": "number", "atol": 0.5}
    assert classes(spec, "10.4", "10.0", "10.2", "12") == [("51/5", 3, 0), ("12", 1, 3)]
    ballot = Ballot(parse_agreement(spec))
    for index, text in enumerate(("10.4", "10.0", "10.2", "12")):
        ballot.add(index, text)
    assert ballot.standing().representative == 2


def test_a_chain_of_small_steps_joins_no_distant_values() -> None:
    """Complete linkage: every pair of a class is within the tolerance."""
    spec = {"type": "number", "atol": 1}
    sizes = [size for _, size, _ in classes(spec, "0", "0.9", "1.8", "2.7", "3.6")]
    assert sorted(sizes) == [1, 2, 2]


def test_integers_are_exact_unless_a_tolerance_is_given() -> None:
    """The default tolerance is for rounding, not for counts."""
    assert len(classes({"type": "number"}, "5000000", "5000001")) == 2
    assert len(classes({"type": "number"}, "5000000.1", "5000000.2")) == 1
    assert len(classes({"type": "number", "atol": 1}, "5", "6")) == 1


@given(st.permutations(["1", "1.1", "1.2", "1.9", "2", "2.05", "7", "seven", "3 mm"]))
def test_clusters_depend_on_the_answers_and_not_on_their_order(texts: list[str]) -> None:
    """The same classes with the same sizes, however the samples come."""
    found = {(name, size) for name, size, _ in classes({"type": "number", "atol": 0.15}, *texts)}
    reference = classes({"type": "number", "atol": 0.15}, *sorted(texts))
    assert found == {(name, size) for name, size, _ in reference}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The L4/L5 level.", "l4-l5 level"),
        ("1,000 units", "1000 Units!"),
        ("three discs", "3 discs"),
        ("It\u2019s fine", "its fine"),
        ("\uff21\uff22\uff23", "abc"),
    ],
)
def test_short_texts_that_differ_in_wording_only_are_the_same(one: str, other: str) -> None:
    """Case, punctuation, articles, number style."""
    assert canonical({"type": "text"}, one) == canonical({"type": "text"}, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5", "-5"),
        ("5", "- 5"),
        ("<5", ">5"),
        ("5", "5%"),
        ("C", "C#"),
        ("C", "C++"),
        ("1/2", "1-2"),
        ("1.5", "15"),
        ("hepatitis a", "hepatitis"),
        ("?!", "..."),
        ("$5", "5"),
        ("no", "not"),
    ],
)
def test_short_texts_that_differ_in_meaning_stay_apart(one: str, other: str) -> None:
    """Signs, comparisons, units and names survive."""
    assert canonical({"type": "text"}, one) != canonical({"type": "text"}, other)


def test_an_exact_text_is_compared_character_by_character() -> None:
    """A cut-off text still counts; an empty one does not."""
    assert canonical({"type": "exact"}, "a ") == "a "
    assert canonical({"type": "exact"}, "a b", truncated=True) == "a b"
    assert canonical({"type": "exact"}, " \n") is None
    assert canonical({"type": "text"}, "") is None


@given(text=st.text(), truncated=st.booleans())
def test_no_text_breaks_a_plain_agreement(text: str, truncated: bool) -> None:
    """It is read or it is invalid."""
    for spec in ({"type": "choice", "options": OPTIONS}, {"type": "number"}, {"type": "text"}):
        read = parse_agreement(spec).classify(text, truncated=truncated)
        assert read.valid == (read.canonical is not None) == bool(read.leaves)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        None,
        {"type": "vibes"},
        {"type": ["text"]},
        {"type": "text", "option": 1},
        {"type": "choice"},
        {"type": "choice", "options": "AB"},
        {"type": "choice", "options": ["A"]},
        {"type": "choice", "options": ["A", "a."]},
        {"type": "choice", "options": ["A", 2]},
        {"type": "choice", "options": {"A": "B", "B": "other"}},
        {"type": "choice", "options": {"A": "", "B": "other"}},
        {"type": "number", "atol": -1},
        {"type": "number", "rtol": float("nan")},
        {"type": "number", "atol": "1"},
        {"type": "number", "units": {"mm": 0}},
        {"type": "number", "units": ["mm"]},
    ],
)
def test_an_unusable_agreement_is_refused_before_anything_is_drawn(spec: Any) -> None:
    """With a sentence and what to do."""
    with pytest.raises(AgreementInvalid) as caught:
        parse_agreement(spec)
    assert caught.value.code == "AGREEMENT_INVALID"
    assert caught.value.suggested_action
