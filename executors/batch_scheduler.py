"""The thread that owns a model and keeps one running batch of answers full.

Its loop: take what came in, drop what was aborted, read new prompts and let them join, add one
token to every running answer, hand out what is new. Requests so join and leave between any two
tokens. The samples of one job have one prompt; it is read once.

The event loop's side calls `submit`, `abort` and `close`; it hears through each sequence's queue,
which is filled once per step for all of them. What was aborted is only dropped here: whoever aborts
knows it already.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread

import torch

from executors.answer_text import AnswerText
from executors.errors import ExecutorError
from executors.slot_cache import Prefix
from executors.slot_model import SlotModel
from executors.token_choice import Draw, choose
from executors.types import Completion, FinishReason, GenerateRequest

logger = logging.getLogger(__name__)

# How many prompt tokens are read between two steps, so that a flood of prompts does not hold up
# the answers that run; a single longer prompt is read whole.
PREFILL_TOKENS = 2048


Item = str | Completion | ExecutorError


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """One answer on its way. The queue gets new text, then the `Completion` or an error."""

    request: GenerateRequest
    prompt: tuple[int, ...]
    draw: Draw
    text: AnswerText
    limit: int
    queue: asyncio.Queue[Item] = field(default_factory=asyncio.Queue)
    submitted: float = field(default_factory=time.monotonic)
    first_token_s: float | None = None
    cached_tokens: int = 0
    tokens: int = 0
    last: int = -1
    logprob: float = 0.0
    aborted: bool = False


class BatchScheduler:
    """Continuous batching over one `SlotModel`.

    `stops` are the token ids that end an answer, `threads` how many the CPU's operators use (None:
    torch's own choice). `on_progress` and `on_death` are called from the thread; `on_death` gets
    the exception that ended it.
    """

    def __init__(
        self,
        model: SlotModel,
        *,
        stops: frozenset[int],
        max_rows: int,
        threads: int | None,
        loop: asyncio.AbstractEventLoop,
        on_progress: Callable[[], None],
        on_death: Callable[[Exception], None],
    ) -> None:
        self._model = model
        self._stops = stops
        self._max_rows = max_rows
        self._threads = threads
        self._loop = loop
        self._on_progress = on_progress
        self._on_death = on_death
        # None only wakes the thread up.
        self._inbox: SimpleQueue[Sequence | None] = SimpleQueue()
        self._waiting: list[tuple[int, int, Sequence]] = []
        self._arrival = itertools.count()
        self._running: list[Sequence] = []
        self._outbox: list[tuple[Sequence, Item]] = []
        self._closing = False
        self._thread = Thread(target=self._run, name="batch-scheduler", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, sequence: Sequence) -> None:
        """Let a sequence take part as soon as there is room."""
        self._inbox.put(sequence)

    def abort(self, sequence: Sequence) -> None:
        """Have a sequence dropped before the next step."""
        sequence.aborted = True
        self._inbox.put(None)

    def close(self) -> None:
        """End the thread after the step in hand; blocks until then. Idempotent."""
        self._closing = True
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            if self._threads is not None:
                torch.set_num_threads(self._threads)
            with torch.inference_mode():
                while not self._closing:
                    self._take_inbox()
                    self._drop_aborted()
                    self._admit()
                    self._step()
                    self._hand_out()
        except Exception as error:
            # Whatever it was, the batch is in an unknown state and so is the device.
            logger.exception("the engine's thread died", extra={"action": "engine_died"})
            self._on_death(error)
        finally:
            self._running, self._waiting = [], []
            self._model.close()

    def _take_inbox(self) -> None:
        """Sleep while there is nothing to do, then take everything that came in."""
        block = not self._running and not self._waiting
        while True:
            try:
                sequence = self._inbox.get(block=block)
            except Empty:
                return
            block = False
            if sequence is not None:
                entry = (sequence.request.priority, next(self._arrival), sequence)
                heapq.heappush(self._waiting, entry)

    def _drop_aborted(self) -> None:
        for row in range(len(self._running) - 1, -1, -1):
            if self._running[row].aborted:
                self._leave(row)

    def _admit(self) -> None:
        """Let waiting sequences join: known prompts at once, new ones after one common pass."""
        joining: list[Sequence] = []
        prompts: dict[tuple[int, ...], Prefix | None] = {}
        budget = PREFILL_TOKENS
        while self._waiting and len(self._running) + len(joining) < self._max_rows:
            sequence = self._waiting[0][2]
            prompt = sequence.prompt
            if sequence.aborted:
                heapq.heappop(self._waiting)
                continue
            if prompt not in prompts:
                prompts[prompt] = self._model.known_prefix(prompt)
                if prompts[prompt] is None:
                    budget -= len(prompt)
                    if budget < 0 and joining:
                        del prompts[prompt]
                        break
                else:
                    sequence.cached_tokens = len(prompt)
            else:
                sequence.cached_tokens = len(prompt)
            joining.append(sequence)
            heapq.heappop(self._waiting)
        if joining:
            self._join(joining, prompts)

    def _join(self, joining: list[Sequence], prompts: dict[tuple[int, ...], Prefix | None]) -> None:
        new = [prompt for prompt, prefix in prompts.items() if prefix is None]
        if new:
            for prompt, computed in zip(new, self._model.prefill(new), strict=True):
                prompts[prompt] = computed
                self._model.remember(prompt, computed)
        prefixes = [prefix for s in joining if (prefix := prompts[s.prompt]) is not None]
        logits = torch.stack([prefix.logits for prefix in prefixes])
        for sequence, prefix, ended in zip(
            joining, prefixes, self._choose(logits, joining), strict=True
        ):
            if not ended:
                self._model.slots.join(prefix)
                self._running.append(sequence)

    def _step(self) -> None:
        """Add one token to every running answer."""
        if not self._running:
            return
        logits = self._model.decode([sequence.last for sequence in self._running])
        ended = self._choose(logits, self._running)
        # From the back, because the last row takes the place of one that leaves.
        for row in range(len(ended) - 1, -1, -1):
            if ended[row]:
                self._leave(row)

    def _choose(self, logits: torch.Tensor, sequences: list[Sequence]) -> list[bool]:
        """Choose a token for each and say which have ended; those are told their answer."""
        tokens, logprobs = choose(logits, [sequence.draw for sequence in sequences])
        now = time.monotonic()
        self._on_progress()
        ended = []
        for sequence, token, logprob in zip(sequences, tokens, logprobs, strict=True):
            sequence.tokens += 1
            sequence.last = token
            sequence.logprob += logprob or 0.0
            if sequence.first_token_s is None:
                sequence.first_token_s = now - sequence.submitted
            ended.append(self._advance(sequence, token))
        return ended

    def _advance(self, sequence: Sequence, token: int) -> bool:
        stopped = token not in self._stops and sequence.text.push(token)
        if stopped or token in self._stops:
            self._finish(sequence, FinishReason.STOP, stopped=stopped)
            return True
        if sequence.tokens >= sequence.limit:
            self._finish(sequence, FinishReason.LENGTH, stopped=False)
            return True
        if sequence.request.stream and (piece := sequence.text.take()):
            self._tell(sequence, piece)
        return False

    def _finish(self, sequence: Sequence, reason: FinishReason, *, stopped: bool) -> None:
        text = sequence.text.finish(stopped=stopped)
        if sequence.request.stream and (piece := sequence.text.rest()):
            self._tell(sequence, piece)
        wanted = sequence.request.sampling.logprobs is not None
        self._tell(
            sequence,
            Completion(
                text=text,
                finish_reason=reason,
                prompt_tokens=len(sequence.prompt),
                completion_tokens=sequence.tokens,
                cached_tokens=sequence.cached_tokens,
                mean_logprob=sequence.logprob / sequence.tokens if wanted else None,
            ),
        )

    def _leave(self, row: int) -> None:
        self._model.slots.leave(row)
        last = self._running.pop()
        if row < len(self._running):
            self._running[row] = last

    def _tell(self, sequence: Sequence, item: Item) -> None:
        self._outbox.append((sequence, item))

    def _hand_out(self) -> None:
        """Wake the event loop once for everything that is new."""
        if not self._outbox:
            return
        outbox, self._outbox = self._outbox, []
        try:
            self._loop.call_soon_threadsafe(_deliver, outbox)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            self._closing = True


def _deliver(outbox: list[tuple[Sequence, Item]]) -> None:
    for sequence, item in outbox:
        sequence.queue.put_nowait(item)
