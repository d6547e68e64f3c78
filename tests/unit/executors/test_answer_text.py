"""Text is given out in whole characters and never beyond a stop string."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tokenizers")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from executors.answer_text import AnswerText


def byte_tokenizer() -> Tokenizer:
    """One token per byte, so that every character beyond ASCII is split."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


TOKENIZER = byte_tokenizer()


def stream(text: str, *, stop: tuple[str, ...] = (), ids: Any = None) -> tuple[list[str], str]:
    """The pieces of a text, and the final text."""
    answer = AnswerText(TOKENIZER, stop=stop, incremental=True)
    pieces = []
    stopped = False
    for token in ids or TOKENIZER.encode(text).ids:
        stopped = answer.push(token)
        if stopped:
            break
        pieces.append(answer.take())
    final = answer.finish(stopped=stopped)
    return [*pieces, answer.rest()], final


@given(text=st.text(alphabet="aö東🐝 \n", max_size=40))
def test_the_pieces_add_up_to_the_text(text: str) -> None:
    """Whatever is split, nothing is lost, doubled or damaged."""
    pieces, final = stream(text)

    assert "".join(pieces) == final == text


def test_a_character_comes_only_when_it_is_complete() -> None:
    """Four bytes of a bee are one piece."""
    pieces, _ = stream("a🐝")

    assert [piece for piece in pieces if piece] == ["a", "🐝"]


def test_an_incomplete_last_character_is_marked() -> None:
    """An answer cut within a character says so instead of hiding it."""
    pieces, final = stream("", ids=TOKENIZER.encode("a🐝").ids[:-1])

    assert final.startswith("a")
    assert final != "a"
    assert "".join(pieces) == final


@given(
    text=st.text(alphabet="abc", max_size=30), stop=st.text(alphabet="abc", min_size=1, max_size=4)
)
def test_a_stop_string_ends_the_text_before_itself(text: str, stop: str) -> None:
    """The final text is what comes before the first stop string, in one piece or in many."""
    expected = text.split(stop, maxsplit=1)[0]

    pieces, final = stream(text, stop=(stop,))

    assert "".join(pieces) == final == expected


def test_no_part_of_a_stop_string_is_given_out_early() -> None:
    """What could become a stop string is held back, and given if it did not."""
    pieces, final = stream("x<|en and <|end|>", stop=("<|end|>",))

    assert final == "x<|en and "
    assert all("<|end" not in "".join(pieces[: i + 1]) for i in range(len(pieces)))


@given(
    text=st.text(alphabet="abc", max_size=30),
    stops=st.lists(st.text(alphabet="abc", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_of_several_stop_strings_the_text_ends_at_the_first_complete_one(
    text: str, stops: list[str]
) -> None:
    """The text ends as soon as any stop string is complete."""
    ends = [
        (position + len(stop), position) for stop in stops if (position := text.find(stop)) >= 0
    ]
    expected = text
    if ends:
        first = min(ends)[0]
        expected = text[: min(position for end, position in ends if end == first)]

    assert stream(text, stop=tuple(stops))[1] == expected


def test_without_listeners_the_text_is_decoded_at_the_end() -> None:
    """The same text without a step per token."""
    answer = AnswerText(TOKENIZER, stop=(), incremental=False)
    for token in TOKENIZER.encode("größe 🐝").ids:
        assert answer.push(token) is False

    assert answer.finish(stopped=False) == "größe 🐝"
