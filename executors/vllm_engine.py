"""Answers from vLLM: `AsyncLLM` in this process, its engine core in a process of its own.

Every sample is a request of its own (`n=1`), so that it is seen, kept and aborted by itself;
samples of one prompt share its prefix in vLLM's cache. Outputs come once, at the end, unless the
request is streamed: each wake-up costs time. What vLLM ends with `abort` or `error` is never an
answer.

`options` go to `AsyncEngineArgs` as they are, but for `env`, `adapters` and `start_timeout_s`
(`vllm_settings.py`). Statistics are on, for vLLM's own metrics; `disable_log_stats` saves a few
microseconds of this process per token.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, cast

from executors import devices
from executors.base import ProgressCallback
from executors.config import EngineConfig
from executors.digest import check_model, engine_digest, examine_model
from executors.errors import RequestAborted
from executors.lifecycle import Lifecycle
from executors.prompts import PromptEncoder
from executors.requests import check_length, check_sampling
from executors.types import (
    Completion,
    End,
    Event,
    GenerateRequest,
    Health,
    HealthState,
    LoadProgress,
    Memory,
    ModelInfo,
    Prompt,
    Sampling,
    Started,
)
from executors.vllm_answer import Answer, client_errors, engine_error
from executors.vllm_figures import kv_cache_usage
from executors.vllm_settings import (
    adapter_request,
    invalid,
    prepare_environment,
    sampling_params,
)
from executors.vllm_start import EngineStart, check_device, vllm_version

PROGRESS_S = 0.5
WARMUP_ID = "warm-up"
WARMUP_TIMEOUT_S = 300.0


class VllmExecutor:
    """One vLLM engine."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._lifecycle = Lifecycle(stuck_after_s=config.stuck_after_s)
        self._start: EngineStart | None = None
        self._engine: Any = None
        self._encoder: PromptEncoder | None = None
        # The requests in flight, and why each was aborted by us, if it was.
        self._aborted: dict[str, str | None] = {}

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""
        return self._lifecycle.info

    async def load(self, on_progress: ProgressCallback) -> ModelInfo:
        """Start the engine's process and try it out."""
        self._lifecycle.loading()
        try:
            info = await self._load(on_progress)
        except BaseException as error:
            await self._shut_down()
            self._lifecycle.unloaded(str(error))
            raise
        self._lifecycle.ready(info)
        on_progress(LoadProgress(phase="ready", fraction=1.0))
        return info

    async def _load(self, on_progress: ProgressCallback) -> ModelInfo:
        config = self._config
        on_progress(LoadProgress(phase="locate", fraction=0.0, detail=str(config.path)))
        check_model(config.path)
        prepare_environment(config)
        # This imports vLLM, which takes seconds.
        await asyncio.to_thread(check_device, config)
        digest = await asyncio.to_thread(examine_model, config)
        on_progress(LoadProgress(phase="engine", fraction=0.1))
        self._start = EngineStart(config)
        self._engine = await self._build(self._start, on_progress)
        on_progress(LoadProgress(phase="warmup", fraction=0.9))
        _count_outputs(self._engine, self._lifecycle.tick)
        await self._warm_up(self._start, self._engine)
        # Its own copy: the engine's is in use while tokens become text.
        self._encoder = PromptEncoder(copy.deepcopy(self._engine.get_tokenizer()))
        model = self._engine.model_config
        return ModelInfo(
            name=config.model,
            engine="vllm",
            engine_version=vllm_version(),
            device=config.device,
            model_digest=digest,
            engine_digest=engine_digest(
                config,
                version=vllm_version(),
                settings={"dtype": str(model.dtype), "quantization": model.quantization},
            ),
            max_num_seqs=config.max_num_seqs,
            max_model_len=int(model.max_model_len),
        )

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event[Completion], None]:
        """Answer one request; see `Executor.generate`."""
        with self._lifecycle.running(request.request_id):
            prompt, params, adapter = await self._prepared(request)
            # The engine may have ended while the prompt was encoded.
            self._lifecycle.check_loaded()
            self._aborted[request.request_id] = None
            try:
                yield Started(request_id=request.request_id)
                async with aclosing(self._outputs(request, prompt, params, adapter)) as events:
                    async for event in events:
                        yield event
            finally:
                del self._aborted[request.request_id]

    async def cancel(self, request_id: str) -> bool:
        """Abort a running request; False if it is not running."""
        if request_id not in self._aborted:
            return False
        self._aborted[request_id] = "the request was cancelled"
        await self._abort(request_id)
        return True

    def health(self) -> Health:
        """Say what the engine is doing, judged from the outputs that arrive."""
        health = self._lifecycle.health()
        if health.state in (HealthState.READY, HealthState.STUCK) and self._engine.errored:
            self._note_death()
            return self._lifecycle.health()
        return replace(health, kv_cache_usage=kv_cache_usage(self._engine))

    def memory(self) -> Memory:
        """Resident bytes of the engine's processes, and what NVML says they hold on the GPUs."""
        pids = self._start.pids if self._start is not None else []
        on_gpu = devices.gpu_bytes(pids) if pids and self._config.device == "cuda" else 0
        return Memory(host_bytes=devices.host_bytes(pids), device_bytes=on_gpu)

    async def unload(self) -> None:
        """Abort what runs, end the engine's process and everything below it."""
        self._lifecycle.unloaded()
        running = list(self._aborted)
        self._aborted.update(dict.fromkeys(running, "the engine was unloaded"))
        await self._abort(*running)
        await self._shut_down()

    async def _prepared(self, request: GenerateRequest) -> tuple[tuple[int, ...], Any, Any]:
        """Token ids, `SamplingParams` and adapter; raises `RequestInvalid`."""
        check_sampling(request.sampling)
        encoder, max_len = cast("PromptEncoder", self._encoder), self.info.max_model_len
        adapter = adapter_request(self._config, request.adapter)
        prompt = await encoder.encode_aside(request.prompt)
        check_length(prompt_tokens=len(prompt), max_model_len=max_len)
        limit = min(request.sampling.max_tokens, max_len - len(prompt))
        return prompt, sampling_params(request, limit=limit), adapter

    async def _outputs(
        self, request: GenerateRequest, prompt: tuple[int, ...], params: Any, adapter: Any
    ) -> AsyncGenerator[Event[Completion], None]:
        """What the engine makes of a request, in our words."""
        from vllm.v1.engine.exceptions import EngineDeadError

        answer = Answer(request=request, prompt_tokens=len(prompt))
        failure: Exception | None = None
        try:
            self._check_not_aborted(request.request_id)
            async with aclosing(
                self._engine.generate(
                    # Token ids in this shape are taken as they are, without a thread.
                    {"type": "token", "prompt_token_ids": list(prompt)},
                    params,
                    request.request_id,
                    lora_request=adapter,
                    priority=request.priority,
                )
            ) as outputs:
                async for output in outputs:
                    self._lifecycle.tick()
                    if token := answer.add(output):
                        yield token
        except (asyncio.CancelledError, GeneratorExit):
            # vLLM aborts by itself, but not while the request is still on its way in.
            await self._abort(request.request_id)
            raise
        except EngineDeadError as error:
            self._note_death()
            raise self._lifecycle.engine_dead() from error
        except client_errors() as error:
            raise invalid(error) from error
        except RequestAborted:
            raise
        except Exception as error:
            failure = error
        if failure is not None:
            yield engine_error(failure)
            return
        self._check_not_aborted(request.request_id)
        answer.check_finished()
        yield answer.metrics()
        yield End(output=answer.completion())

    async def _abort(self, *request_ids: str) -> None:
        if request_ids and self._engine is not None:
            await self._engine.abort(request_ids)

    def _check_not_aborted(self, request_id: str) -> None:
        why = self._aborted.get(request_id)
        if why is not None:
            raise RequestAborted(why, suggested_action="Send the request again if it is wanted.")

    async def _build(self, start: EngineStart, on_progress: ProgressCallback) -> Any:
        """Wait for the thread that starts the engine; end the start if nobody waits any more."""
        building = asyncio.ensure_future(asyncio.to_thread(start.run))
        try:
            while not building.done():
                await asyncio.wait((building,), timeout=PROGRESS_S)
                share = start.progress()
                if share is not None:
                    on_progress(LoadProgress(phase="weights", fraction=0.1 + 0.7 * share))
            return building.result()
        except asyncio.CancelledError:
            start.end("the load was cancelled")
            await asyncio.wait((building,))
            if building.exception() is None:
                self._engine = building.result()
            raise

    async def _warm_up(self, start: EngineStart, engine: Any) -> None:
        """Have one token made: an engine that cannot run its model dies of the first one."""
        request = GenerateRequest(
            request_id=WARMUP_ID,
            prompt=Prompt(text="-"),
            sampling=Sampling(max_tokens=1, temperature=0.0),
        )
        try:
            async with asyncio.timeout(WARMUP_TIMEOUT_S):
                async for _ in engine.generate(
                    {"type": "token", "prompt_token_ids": [0]},
                    sampling_params(request, limit=1),
                    WARMUP_ID,
                ):
                    pass
        except TimeoutError as error:
            raised = f"no answer to the first request within {WARMUP_TIMEOUT_S:.0f} s"
            raise start.failure(raised) from error
        except Exception as error:
            raise await asyncio.to_thread(start.failure, str(error)) from error

    def _note_death(self) -> None:
        self._lifecycle.dead(self._start.death() if self._start is not None else "")

    async def _shut_down(self) -> None:
        """Leave nothing running; idempotent, and safe on an engine that is dead or half started."""
        engine, self._engine = self._engine, None
        start, self._start = self._start, None
        self._encoder = None
        if engine is not None:
            handler = getattr(engine, "output_handler", None)
            if handler is not None:
                # Otherwise it takes the shutdown for a death and says so at length.
                handler.cancel()
                await asyncio.wait((handler,))
            await asyncio.to_thread(engine.shutdown)
            # Its destructor shuts down again, and at the interpreter's end finds half of it gone.
            engine.shutdown = _nothing
        if start is not None:
            await asyncio.to_thread(start.close)


def _nothing() -> None:
    """Do nothing."""


def _count_outputs(engine: Any, tick: Callable[[], None]) -> None:
    """Have `tick` called for each message from the engine's process.

    With `FINAL_ONLY` a request is silent until its end, but the engine's process still reports
    every step. This sees the reports before they are sorted by request, for one call per step.
    """
    client = engine.engine_core
    receive = client.get_output_async

    async def counted() -> Any:
        outputs = await receive()
        tick()
        return outputs

    client.get_output_async = counted
