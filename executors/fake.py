"""A scripted twin of the real engines, for tests: no model, no network, no other process.

It keeps the contract of `executors/base.py` to the letter, so that what is built on it can be
tested for every way in which an engine answers, fails, hangs and dies. `FakeExecutor(config,
script=...)` takes a `Script`; without one, `options["script"]` may name a JSON file, by which a
test drives an engine in another process.

Tokens are words with the space after them. `max_num_seqs` requests run at once and the rest wait,
as in a real engine; `peak_running` is the most that ever ran at once. The digests do not depend on
the script, so that a test can change it between two workers that are to share samples.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from math import log
from pathlib import Path
from random import Random

from executors.base import ProgressCallback
from executors.config import EngineConfig
from executors.digest import engine_digest
from executors.errors import EngineStartFailed, ExecutorError, OutOfMemory, RequestAborted
from executors.fake_script import Action, Rule, Script, read_script
from executors.lifecycle import Lifecycle
from executors.places import Places
from executors.requests import check_length, check_sampling
from executors.types import (
    Completion,
    End,
    Error,
    Event,
    FinishReason,
    GenerateRequest,
    Health,
    LoadProgress,
    Memory,
    Metrics,
    ModelInfo,
    Prompt,
    Sampling,
    Started,
    Token,
)

MAX_MODEL_LEN = 4096
HELD_BYTES = 64 * 1024**2
GIB = 1024**3
VERSION = "1"
GARBAGE_TOKENS = 12

_WORD = re.compile(r"\s*\S+\s*")


class FakeExecutor:
    """An engine that does what its script says."""

    def __init__(self, config: EngineConfig, *, script: Script | None = None) -> None:
        self._config = config
        self._script = script
        self._lifecycle = Lifecycle(stuck_after_s=config.stuck_after_s)
        self._places = Places(config.max_num_seqs)
        self._fates: dict[str, asyncio.Future[ExecutorError]] = {}
        self._loaded_at = 0.0
        self._requests = 0

    @property
    def peak_running(self) -> int:
        """The most requests that ever ran at the same time."""
        return self._places.peak

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return self._lifecycle.info

    async def load(self, on_progress: ProgressCallback) -> ModelInfo:
        """Load as the script says: slowly, or not at all."""
        self._lifecycle.loading()
        try:
            info = await self._load(on_progress)
        except BaseException as error:
            self._lifecycle.unloaded(str(error))
            raise
        self._lifecycle.ready(info)
        on_progress(LoadProgress(phase="ready", fraction=1.0))
        return info

    async def _load(self, on_progress: ProgressCallback) -> ModelInfo:
        script = self._script = self._script or _configured_script(self._config)
        load = script.load
        on_progress(LoadProgress(phase="locate", fraction=0.0))
        for step in range(load.steps):
            await asyncio.sleep(load.seconds / load.steps)
            on_progress(LoadProgress(phase="weights", fraction=(step + 1) / (load.steps + 1)))
        if load.fails == "memory":
            raise OutOfMemory(
                f"the fake engine did not start for want of memory: {load.message}; it needs "
                f"{load.required_bytes / GIB:.1f} GiB and {load.available_bytes / GIB:.1f} GiB are "
                "free",
                suggested_action="Change the script.",
                details={
                    "required_bytes": load.required_bytes,
                    "available_bytes": load.available_bytes,
                },
            )
        if load.fails is not None:
            raise EngineStartFailed(
                f"the fake engine did not start: {load.message}",
                suggested_action="Change the script.",
                details={"reason": load.message},
            )
        self._loaded_at = time.monotonic()
        self._requests = 0
        return ModelInfo(
            name=self._config.model,
            engine="fake",
            engine_version=VERSION,
            device=self._config.device,
            model_digest=self._config.model_digest or _digest(self._config.model),
            engine_digest=engine_digest(self._config, version=VERSION),
            max_num_seqs=self._config.max_num_seqs,
            max_model_len=self._config.max_model_len or MAX_MODEL_LEN,
        )

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event[Completion], None]:
        """Answer one request; see `Executor.generate`."""
        with self._lifecycle.running(request.request_id):
            check_sampling(request.sampling)
            prompt = _text(request.prompt)
            prompt_tokens = len(_words(prompt))
            check_length(prompt_tokens=prompt_tokens, max_model_len=self.info.max_model_len)
            fate = self._fates[request.request_id] = asyncio.get_running_loop().create_future()
            try:
                yield Started(request_id=request.request_id)
                async with (
                    self._places.one(priority=request.priority, fate=fate),
                    aclosing(self._answer(request, prompt, prompt_tokens, fate)) as events,
                ):
                    async for event in events:
                        yield event
            finally:
                del self._fates[request.request_id]

    async def cancel(self, request_id: str) -> bool:
        """Abort a running request; False if it is not running."""
        fate = self._fates.get(request_id)
        if fate is None or fate.done():
            return False
        fate.set_result(
            RequestAborted("the request was cancelled", suggested_action="Send it again if wanted.")
        )
        return True

    def health(self) -> Health:
        """Say what the engine is doing, judged from its progress."""
        return self._lifecycle.health()

    def memory(self) -> Memory:
        """A constant while it is loaded."""
        try:
            loaded = self.info.device == "cuda"
        except ExecutorError:
            return Memory(host_bytes=0)
        return Memory(host_bytes=HELD_BYTES, device_bytes=HELD_BYTES if loaded else 0)

    async def unload(self) -> None:
        """Abort what runs and be unloaded."""
        self._lifecycle.unloaded()
        self._end_all(
            RequestAborted("the engine was unloaded", suggested_action="Send the request again.")
        )

    async def _answer(
        self,
        request: GenerateRequest,
        prompt: str,
        prompt_tokens: int,
        fate: asyncio.Future[ExecutorError],
    ) -> AsyncGenerator[Event[Completion], None]:
        started = time.monotonic()
        rule = self._next_rule(prompt)
        text, probability = _drawn(rule, request.sampling)
        text, reason = _limited(text, request.sampling, prompt_tokens, self.info.max_model_len)
        words = _words(text)
        first_token_s = None
        for index, word in enumerate(words):
            if rule.do not in (Action.ANSWER, Action.GARBAGE) and index == rule.after_tokens:
                break
            await _pause(rule.token_s if index else rule.first_token_s, fate)
            self._lifecycle.tick()
            first_token_s = first_token_s or time.monotonic() - started
            if request.stream:
                yield Token(text=word, index=index)
        if rule.do is Action.ERROR:
            yield Error(
                code=rule.code,
                message=rule.message,
                suggested_action="Change the script.",
                retriable=rule.retriable,
            )
            return
        if rule.do not in (Action.ANSWER, Action.GARBAGE):
            await self._misbehave(rule, fate)
        total_s = time.monotonic() - started
        yield Metrics(
            first_token_s=first_token_s,
            total_s=total_s,
            tokens_per_s=len(words) / total_s if total_s > 0 else None,
        )
        wanted = request.sampling.logprobs is not None
        yield End(
            output=Completion(
                text=text,
                finish_reason=reason,
                prompt_tokens=prompt_tokens,
                completion_tokens=len(words),
                mean_logprob=log(probability) / max(len(words), 1) if wanted else None,
            )
        )

    def _next_rule(self, prompt: str) -> Rule:
        number, self._requests = self._requests, self._requests + 1
        script = self._script or Script()
        elapsed_s = time.monotonic() - self._loaded_at
        for rule in script.rules:
            if rule.applies(prompt=prompt, number=number, elapsed_s=elapsed_s) and _first(rule):
                return rule
        return Rule()

    async def _misbehave(self, rule: Rule, fate: asyncio.Future[ExecutorError]) -> None:
        """Hang, die or take the process along; never returns."""
        if rule.do is Action.EXIT:
            os._exit(rule.exit_code)
        if rule.do is Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if rule.do is Action.DIE:
            self._lifecycle.dead(rule.message)
            self._end_all(self._lifecycle.engine_dead())
        await _pause(None, fate)

    def _end_all(self, error: ExecutorError) -> None:
        for fate in self._fates.values():
            if not fate.done():
                fate.set_result(error)


async def _pause(seconds: float | None, fate: asyncio.Future[ExecutorError]) -> None:
    """Wait, for ever if None, but no longer than until the request's fate is decided."""
    if seconds == 0:
        await asyncio.sleep(0)
    else:
        await asyncio.wait((fate,), timeout=seconds)
    if fate.done():
        raise fate.result()


def _first(rule: Rule) -> bool:
    """Whether a rule that applies once has not applied yet, in this process or another."""
    if rule.once is None:
        return True
    try:
        Path(rule.once).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _configured_script(config: EngineConfig) -> Script:
    path = config.options.get("script")
    return Script() if path is None else read_script(Path(path))


def _drawn(rule: Rule, sampling: Sampling) -> tuple[str, float]:
    """The sample's answer and its probability, by its seed alone."""
    uniform = Random(sampling.seed)  # noqa: S311  # a seed has to repeat
    if rule.do is Action.GARBAGE:
        letters = "{}[]<>#$%&/\\\"'~^\u2603\u00e6"
        words = ("".join(uniform.choices(letters, k=5)) for _ in range(GARBAGE_TOKENS))
        return " ".join(words), 1.0
    total = sum(answer.weight for answer in rule.answers)
    if sampling.temperature == 0:
        likeliest = max(rule.answers, key=lambda answer: answer.weight)
        return likeliest.text, likeliest.weight / total
    weights = [answer.weight for answer in rule.answers]
    (chosen,) = uniform.choices(rule.answers, weights=weights)
    return chosen.text, chosen.weight / total


def _limited(
    text: str, sampling: Sampling, prompt_tokens: int, max_model_len: int
) -> tuple[str, FinishReason]:
    """Cut an answer at its stop strings and at the most tokens it may have."""
    ends = [position for stop in sampling.stop if (position := text.find(stop)) >= 0]
    text = text[: min(ends)] if ends else text
    words = _words(text)
    limit = min(sampling.max_tokens, max_model_len - prompt_tokens)
    if len(words) > limit:
        return "".join(words[:limit]), FinishReason.LENGTH
    return text, FinishReason.STOP


def _text(prompt: Prompt) -> str:
    if prompt.text is not None:
        return prompt.text
    return "\n".join(f"{message.role}: {message.content}" for message in prompt.messages)


def _words(text: str) -> list[str]:
    # An answer of spaces only is still one token.
    return _WORD.findall(text) or ([text] if text else [])


def _digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
