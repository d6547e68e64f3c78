"""Prompts become token ids once."""

from __future__ import annotations

from typing import Any

import pytest

from executors.errors import RequestInvalid
from executors.prompts import REMEMBERED, PromptEncoder
from executors.types import Message, Prompt


class Letters:
    """A tokenizer of letters that counts how often it is used."""

    def __init__(self, chat_template: str | None = None) -> None:
        self.chat_template = chat_template
        self.used = 0

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        self.used += 1
        return {"input_ids": ([1] if add_special_tokens else []) + [ord(c) for c in text]}

    def apply_chat_template(self, messages: list[dict[str, str]], **options: Any) -> str:
        assert options == {"tokenize": False, "add_generation_prompt": True}
        if messages[0]["role"] == "tool":
            raise ValueError("roles must alternate")
        return "".join(f"{m['role'][0]}{m['content']}" for m in messages) + ">"


def chat(role: str, content: str) -> Prompt:
    return Prompt(messages=(Message(role=role, content=content),))


def test_a_text_gets_the_tokenizers_special_tokens() -> None:
    """As in a plain completion."""
    assert PromptEncoder(Letters()).encode(Prompt(text="ab")) == (1, 97, 98)


def test_messages_get_those_of_the_template_only() -> None:
    """The template writes its own."""
    ids = PromptEncoder(Letters("{{ }}")).encode(chat("user", "x"))

    assert "".join(map(chr, ids)) == "ux>"


def test_a_model_without_template_refuses_messages() -> None:
    """No template is invented."""
    with pytest.raises(RequestInvalid, match="no chat template"):
        PromptEncoder(Letters()).encode(chat("user", "x"))


def test_a_template_that_refuses_is_quoted() -> None:
    """Its reason reaches the caller."""
    with pytest.raises(RequestInvalid, match="roles must alternate"):
        PromptEncoder(Letters("{{ }}")).encode(chat("tool", "x"))


def test_the_samples_of_a_job_are_encoded_once() -> None:
    """An equal prompt is remembered, and the oldest are forgotten."""
    tokenizer = Letters()
    encoder = PromptEncoder(tokenizer)
    for _ in range(5):
        encoder.encode(Prompt(text="same"))
    assert tokenizer.used == 1

    for number in range(REMEMBERED):
        encoder.encode(Prompt(text=str(number)))
    encoder.encode(Prompt(text="same"))
    assert tokenizer.used == REMEMBERED + 2
