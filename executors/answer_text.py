"""From token ids to text as they come: whole characters only, and stop strings cut off.

A byte-level tokenizer splits characters over tokens; text is given out only when it is complete.
Where a stop string could still be forming, its possible beginning is held back. What was given out,
put together, is the final text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class AnswerText:
    """The text of one answer. `tokenizer` is the fast tokenizer's backend."""

    def __init__(self, tokenizer: Tokenizer, *, stop: Sequence[str], incremental: bool) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._text = ""
        self._given = 0
        # Decoding token by token costs time, so it is done only for someone who needs it.
        self._stream: Any = DecodeStream(skip_special_tokens=True) if incremental or stop else None

    def push(self, token: int) -> bool:
        """Add a token; True if a stop string is complete now."""
        self._ids.append(token)
        if self._stream is None:
            return False
        piece = self._stream.step(self._tokenizer, token)
        if not piece:
            return False
        looked_at = len(self._text)
        self._text += piece
        return self._cut_at_stop(looked_at)

    def take(self) -> str:
        """Text that is new and certain since the last call."""
        certain = max(len(self._text) - self._held_back(), self._given)
        piece = self._text[self._given : certain]
        self._given = certain
        return piece

    def finish(self, *, stopped: bool) -> str:
        """The final text; `stopped` says that a stop string ended it."""
        if not stopped:
            whole = self._tokenizer.decode(self._ids, skip_special_tokens=True)
            # A last character may be incomplete for ever; then it shows as a replacement mark.
            if self._stream is None or whole.startswith(self._text):
                self._text = whole
        return self._text

    def rest(self) -> str:
        """What of the final text was not taken yet."""
        piece = self._text[self._given :]
        self._given = len(self._text)
        return piece

    def _cut_at_stop(self, looked_at: int) -> bool:
        ends = [
            position
            for stop in self._stop
            if (position := self._text.find(stop, max(looked_at - len(stop) + 1, 0))) >= 0
        ]
        if not ends:
            return False
        self._text = self._text[: min(ends)]
        return True

    def _held_back(self) -> int:
        """How many last characters could be the beginning of a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(self._text)), longest, -1):
                if self._text.endswith(stop[:length]):
                    longest = length
                    break
        return longest
