"""Scripted samples for the loop, drawn in a chosen order of completion."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from executors.resampling import (
    Agreement,
    Outcome,
    RawSample,
    draw_until_settled,
    parse_policy,
    sample_seed,
)
from tests.unit.executors.resampling.votes import CHOICE


def sample(index: int, text: str, *, finish_reason: str = "stop") -> RawSample:
    """Return a sample with the seed that belongs to it."""
    return RawSample(
        index=index,
        seed=sample_seed("job", index),
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=11,
        completion_tokens=len(text),
    )


class Script:
    """Draws the texts it is given; remembers what was drawn, and what was still running at the end.

    `patience` maps an index to how many turns of the event loop its sample takes; an exception in
    place of a text is raised after them. `full` is set once `full_at` samples run at once.
    """

    def __init__(
        self,
        texts: Sequence[str | BaseException],
        *,
        patience: Mapping[int, int] | None = None,
        full_at: int = 40,
    ) -> None:
        self.texts = texts
        self.patience = patience or {}
        self.drawn: list[int] = []
        self.running: set[int] = set()
        self.cancelled: set[int] = set()
        self.most_at_once = 0
        self.full_at = full_at
        self.full = asyncio.Event()

    async def __call__(self, index: int) -> RawSample:
        """Draw one sample."""
        self.drawn.append(index)
        self.running.add(index)
        self.most_at_once = max(self.most_at_once, len(self.running))
        if len(self.running) >= self.full_at:
            self.full.set()
        try:
            for _ in range(self.patience.get(index, 1)):
                await asyncio.sleep(0)
            text = self.texts[index]
            if isinstance(text, BaseException):
                raise text
            return sample(index, text)
        except asyncio.CancelledError:
            self.cancelled.add(index)
            # An engine takes a moment to abort; the loop must wait for it.
            await asyncio.sleep(0)
            raise
        finally:
            self.running.discard(index)


def settle(
    texts: Sequence[str | BaseException] | Script,
    *,
    policy: str = "dynamic",
    agreement: Agreement = CHOICE,
    **options: Any,
) -> Outcome:
    """Run the loop over scripted texts."""
    script = texts if isinstance(texts, Script) else Script(texts)
    return asyncio.run(
        draw_until_settled(draw=script, policy=parse_policy(policy), agreement=agreement, **options)
    )
