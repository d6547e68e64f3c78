"""From a prompt to token ids, alike for every engine that has a Hugging Face tokenizer.

A text is encoded with the tokenizer's special tokens; messages go through its chat template, which
writes its own. The samples of one job share a prompt, so the last ones are remembered.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from threading import Lock
from typing import Any

from executors.errors import RequestInvalid
from executors.types import Prompt

REMEMBERED = 64
# A prompt of so many characters is encoded in a thread; a shorter one takes less than the hop.
LONG_PROMPT = 4096


class PromptEncoder:
    """A tokenizer's encoding side. `encode` is thread-safe.

    `tokenizer` is a `transformers` tokenizer, used by nobody else: encoding is not safe beside
    another user of the same object.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._seen: OrderedDict[Prompt, tuple[int, ...]] = OrderedDict()
        self._lock = Lock()

    async def encode_aside(self, prompt: Prompt) -> tuple[int, ...]:
        """Like `encode`, without holding up the event loop."""
        size = len(prompt.text or "") + sum(len(message.content) for message in prompt.messages)
        if size < LONG_PROMPT or prompt in self._seen:
            return self.encode(prompt)
        return await asyncio.to_thread(self.encode, prompt)

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        """Turn a prompt into token ids; `RequestInvalid` if the chat template refuses it."""
        with self._lock:
            ids = self._seen.get(prompt)
            if ids is None:
                ids = self._encode(prompt)
                self._seen[prompt] = ids
                if len(self._seen) > REMEMBERED:
                    self._seen.popitem(last=False)
            else:
                self._seen.move_to_end(prompt)
            return ids

    def _encode(self, prompt: Prompt) -> tuple[int, ...]:
        if prompt.text is not None:
            return tuple(self._tokenizer(prompt.text)["input_ids"])
        if not getattr(self._tokenizer, "chat_template", None):
            raise RequestInvalid(
                "this model has no chat template, so it cannot read messages",
                suggested_action="Send the prompt as a text.",
            )
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        try:
            text = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:
            # A template is a program that came with the model: it may raise anything, most often
            # about the order of roles.
            raise RequestInvalid(
                f"the model's chat template refuses these messages: {error}",
                suggested_action="Change the roles or their order.",
            ) from error
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])
