"""Answers from a `transformers` model on the CPU or one GPU, many at once.

`load` checks the directory, the memory and the device, reads the weights off the event loop and
tries the model out; `BatchScheduler` then owns it in a thread of its own. Only safetensors are
read, only from the disk, and no code of a model is run.

Not here: constraints. `json_schema` and `json_object` do not steer this engine. Such a request is
answered, with a `Narration` that says so, and whoever asked has to validate the answer. Adapters
and quantisation by configuration are refused.

`options`: `threads` (for the CPU's operators; by default one for a model too small to gain by more)
and `prefix_cache_tokens` (how many prompt tokens are remembered for prompts that come again).
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator
from typing import cast

import torch

from executors import devices
from executors.answer_text import AnswerText
from executors.base import ProgressCallback
from executors.batch_scheduler import BatchScheduler, Item, Sequence
from executors.config import EngineConfig
from executors.digest import check_model, engine_digest, examine_model
from executors.errors import ExecutorError, RequestAborted
from executors.lifecycle import Lifecycle
from executors.requests import check_length, check_sampling
from executors.token_choice import Draw
from executors.transformers_load import (
    Loaded,
    check_config,
    check_supported,
    engine_version,
    load_model,
)
from executors.types import (
    Completion,
    End,
    Event,
    GenerateRequest,
    Health,
    LoadProgress,
    Memory,
    Metrics,
    ModelInfo,
    Narration,
    Started,
    Token,
)

UNCONSTRAINED = "This engine does not constrain answers; the answer is validated afterwards."


class TransformersExecutor:
    """One `transformers` model with continuous batching."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._lifecycle = Lifecycle(stuck_after_s=config.stuck_after_s)
        self._loaded: Loaded | None = None
        self._scheduler: BatchScheduler | None = None
        self._sequences: dict[str, Sequence] = {}

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return self._lifecycle.info

    async def load(self, on_progress: ProgressCallback) -> ModelInfo:
        """Read the model and start the batching thread."""
        self._lifecycle.loading()
        try:
            info = await self._load(on_progress)
        except BaseException as error:
            self._loaded = None
            self._lifecycle.unloaded(str(error))
            raise
        self._lifecycle.ready(info)
        on_progress(LoadProgress(phase="ready", fraction=1.0))
        return info

    async def _load(self, on_progress: ProgressCallback) -> ModelInfo:
        config = self._config
        on_progress(LoadProgress(phase="locate", fraction=0.0, detail=str(config.path)))
        check_model(config.path)
        check_config(config)
        digest = await asyncio.to_thread(examine_model, config)
        on_progress(LoadProgress(phase="weights", fraction=0.2))
        self._loaded = loaded = await asyncio.to_thread(load_model, config)
        on_progress(LoadProgress(phase="warmup", fraction=0.9))
        self._scheduler = BatchScheduler(
            loaded.model,
            stops=loaded.stops,
            max_rows=config.max_num_seqs,
            threads=loaded.threads,
            loop=asyncio.get_running_loop(),
            on_progress=self._lifecycle.tick,
            on_death=self._on_death,
        )
        self._scheduler.start()
        return ModelInfo(
            name=config.model,
            engine="transformers",
            engine_version=engine_version(),
            device=config.device,
            model_digest=digest,
            engine_digest=engine_digest(
                config, version=engine_version(), settings={"dtype": loaded.dtype}
            ),
            max_num_seqs=config.max_num_seqs,
            max_model_len=loaded.max_len,
            parameters=loaded.parameters,
        )

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event[Completion], None]:
        """Answer one request; see `Executor.generate`."""
        with self._lifecycle.running(request.request_id):
            sequence = await self._sequence(request)
            # The engine may have ended while the prompt was encoded; from here on it will say so.
            self._lifecycle.check_loaded()
            scheduler = cast("BatchScheduler", self._scheduler)
            self._sequences[request.request_id] = sequence
            scheduler.submit(sequence)
            answered = False
            try:
                yield Started(request_id=request.request_id)
                if request.sampling.json_schema is not None or request.sampling.json_object:
                    yield Narration(text=UNCONSTRAINED)
                index = 0
                while isinstance(item := await sequence.queue.get(), str):
                    yield Token(text=item, index=index)
                    index += 1
                if isinstance(item, ExecutorError):
                    raise item
                answered = True
                yield _metrics(sequence)
                yield End(output=item)
            finally:
                del self._sequences[request.request_id]
                if not answered:
                    scheduler.abort(sequence)

    async def cancel(self, request_id: str) -> bool:
        """Abort a running request; False if it is not running."""
        sequence = self._sequences.get(request_id)
        if sequence is None or self._scheduler is None:
            return False
        self._scheduler.abort(sequence)
        sequence.queue.put_nowait(
            RequestAborted("the request was cancelled", suggested_action="Send it again if wanted.")
        )
        return True

    def health(self) -> Health:
        """Say what the engine is doing, judged from its progress."""
        return self._lifecycle.health()

    def memory(self) -> Memory:
        """Resident bytes of this process, and what torch holds on the GPU."""
        if self._loaded is None:
            return Memory(host_bytes=0)
        on_gpu = torch.cuda.memory_reserved() if self._config.device == "cuda" else 0
        return Memory(host_bytes=devices.own_bytes(), device_bytes=on_gpu)

    async def unload(self) -> None:
        """End the thread and drop the model; what runs is aborted."""
        scheduler, self._scheduler, self._loaded = self._scheduler, None, None
        self._lifecycle.unloaded()
        self._tell_all(
            RequestAborted("the engine was unloaded", suggested_action="Send the request again.")
        )
        if scheduler is not None:
            await asyncio.to_thread(scheduler.close)
            gc.collect()
            if self._config.device == "cuda":
                torch.cuda.empty_cache()

    async def _sequence(self, request: GenerateRequest) -> Sequence:
        loaded = cast("Loaded", self._loaded)
        check_sampling(request.sampling)
        check_supported(request, vocabulary=loaded.vocabulary)
        prompt = await loaded.encoder.encode_aside(request.prompt)
        check_length(prompt_tokens=len(prompt), max_model_len=loaded.max_len)
        return Sequence(
            request=request,
            prompt=prompt,
            draw=Draw(request.sampling, prompt=prompt),
            text=AnswerText(
                loaded.tokenizer, stop=request.sampling.stop, incremental=request.stream
            ),
            limit=min(request.sampling.max_tokens, loaded.max_len - len(prompt)),
        )

    def _on_death(self, error: Exception) -> None:
        """Called from the batching thread: nothing will be answered any more."""
        self._lifecycle.dead(f"{type(error).__name__}: {error}")
        dead = self._lifecycle.engine_dead()
        dead.__cause__ = error
        loop = self._lifecycle.loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._tell_all, dead)

    def _tell_all(self, item: Item) -> None:
        for sequence in self._sequences.values():
            sequence.queue.put_nowait(item)


def _metrics(sequence: Sequence) -> Metrics:
    total_s = time.monotonic() - sequence.submitted
    return Metrics(
        first_token_s=sequence.first_token_s,
        total_s=total_s,
        tokens_per_s=sequence.tokens / total_s if total_s > 0 else None,
    )
