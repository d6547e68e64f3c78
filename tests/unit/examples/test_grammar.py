"""The grammars: every text has honest odds, a valid answer, and one split."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from examples.queenbee.grammar import GRAMMARS, Grammar, prompt, split_of
from examples.queenbee.readings import Finding
from examples.queenbee.shipping import MAX_PROMPT_CHARS

grammars = st.sampled_from(sorted(GRAMMARS)).map(GRAMMARS.__getitem__)
seeds = st.integers(min_value=0, max_value=2**32)


def found(grammar: Grammar, seed: int) -> Finding:
    """Return one text of a grammar."""
    return grammar.find(random.Random(seed))


@given(grammars, seeds)
def test_probabilities_of_a_text_sum_to_one(grammar: Grammar, seed: int) -> None:
    """The readings of a text are a distribution."""
    probabilities = [reading.probability for reading in found(grammar, seed).readings]
    assert all(0 < p <= 1 for p in probabilities)
    assert sum(probabilities) == pytest.approx(1)


@given(grammars, seeds)
def test_no_two_readings_of_a_text_are_the_same(grammar: Grammar, seed: int) -> None:
    """Each reading has critical fields of its own, in answer order, out of the known values."""
    readings = found(grammar, seed).readings
    assert len({reading.fields for reading in readings}) == len(readings)
    for reading in readings:
        assert tuple(name for name, _ in reading.fields) == grammar.fields
        assert all(value in grammar.choices[name] for name, value in reading.fields)


@given(grammars, seeds)
def test_a_drawn_answer_meets_the_schema_and_is_a_reading(grammar: Grammar, seed: int) -> None:
    """What is learned can be parsed, is valid, and is one of the readings."""
    finding = found(grammar, seed)
    answer = finding.draw(random.Random(seed))
    document = json.loads(answer)
    Draft202012Validator(grammar.schema()).validate(document)
    assert "\n" not in answer
    assert finding.probability_of({name: document[name] for name in grammar.fields}) > 0


@given(grammars, seeds)
def test_a_text_is_clear_only_with_a_single_reading(grammar: Grammar, seed: int) -> None:
    """`clear` means that nobody could read it differently."""
    finding = found(grammar, seed)
    assert (finding.kind == "clear") == (len(finding.readings) == 1)


@given(grammars, seeds)
def test_a_text_is_tidy_and_fits_the_prompt(grammar: Grammar, seed: int) -> None:
    """No empty text, no doubled blanks, no unfilled placeholder, none too long."""
    text = found(grammar, seed).text
    assert text.strip() == text != ""
    assert "  " not in text
    assert "{" not in text and "$" not in text
    assert len(prompt(text)) <= MAX_PROMPT_CHARS


@given(grammars, seeds)
def test_a_seed_names_its_texts(grammar: Grammar, seed: int) -> None:
    """Two runs with one seed write the same."""
    first, second = (grammar.findings(seed=seed, split="train") for _ in range(2))
    assert list(itertools.islice(first, 3)) == list(itertools.islice(second, 3))


@pytest.mark.parametrize("model", sorted(GRAMMARS))
def test_held_out_texts_are_never_trained_on(model: str) -> None:
    """The splits share no text, whatever the letter case."""
    grammar = GRAMMARS[model]
    train = {f.text for f in itertools.islice(grammar.findings(seed=0, split="train"), 500)}
    held_out = {f.text for f in itertools.islice(grammar.findings(seed=0, split="held-out"), 500)}
    assert {split_of(text.lower()) for text in train} == {"train"}
    assert {split_of(text.upper()) for text in held_out} == {"held-out"}


@pytest.mark.parametrize("model", sorted(GRAMMARS))
def test_every_answer_and_every_kind_of_text_occurs(model: str) -> None:
    """No choice of the schema and no kind of text is dead."""
    grammar = GRAMMARS[model]
    findings = list(itertools.islice(grammar.findings(seed=3, split="train"), 3000))
    assert {finding.kind for finding in findings} == {"clear", "mid", "ambiguous"}
    for name, values in grammar.choices.items():
        seen = {dict(reading.fields)[name] for f in findings for reading in f.readings}
        assert seen == set(values)


@given(seeds)
def test_answers_are_drawn_with_the_odds_of_the_readings(seed: int) -> None:
    """A reading of probability p is drawn about p of the time."""
    grammar = GRAMMARS["queenbee-spine"]
    finding = found(grammar, seed)
    rng = random.Random(0)
    drawn = [json.loads(finding.draw(rng)) for _ in range(600)]
    for reading in finding.readings:
        share = sum(dict(reading.fields).items() <= one.items() for one in drawn) / len(drawn)
        assert share == pytest.approx(reading.probability, abs=0.1)
