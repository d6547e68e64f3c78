"""Loaded engines for the tests: one of each kind per session, because loading takes long."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import pytest

from executors import registry
from executors.config import EngineConfig
from executors.fake import FakeExecutor
from executors.fake_script import Action, Answer, Rule, Script
from executors.types import Completion, End, Event, GenerateRequest, Prompt, Sampling

from .models import make_model

T = TypeVar("T")

PROMPT = "L4-L5: moderate spinal stenosis with"
FAKE_SCRIPT = Script(
    rules=(
        Rule(marker="die now", do=Action.DIE, message="the script says so"),
        Rule(
            answers=tuple(
                Answer(text=" ".join(f"word{(n * k) % 97}" for k in range(1, 41)))
                for n in range(50)
            ),
            first_token_s=0.002,
            token_s=0.002,
        ),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An executor and the event loop that it belongs to."""

    name: str
    config: EngineConfig
    executor: Any
    loop: asyncio.AbstractEventLoop

    def run(self, main: Awaitable[T], *, timeout_s: float = 60.0) -> T:
        """Run a coroutine on the executor's loop."""

        async def limited() -> T:
            return await asyncio.wait_for(main, timeout_s)

        return self.loop.run_until_complete(limited())

    def request(
        self,
        request_id: str,
        *,
        prompt: str = PROMPT,
        messages: tuple[Any, ...] = (),
        stream: bool = False,
        **sampling: Any,
    ) -> GenerateRequest:
        """A request for a longish answer: the token that ends answers is all but forbidden."""
        bias = {} if self.name == "fake" else {2: -100.0}
        defaults: dict[str, Any] = {
            "max_tokens": 30,
            "temperature": 1.0,
            "seed": 1,
            "logit_bias": bias,
        }
        return GenerateRequest(
            request_id=request_id,
            prompt=Prompt(messages=messages) if messages else Prompt(text=prompt),
            sampling=Sampling(**(defaults | sampling)),
            stream=stream,
        )

    async def events(self, request: GenerateRequest) -> list[Event[Completion]]:
        """All events of one request."""
        async with aclosing(self.executor.generate(request)) as events:
            return [event async for event in events]

    async def answer(self, request: GenerateRequest) -> Completion:
        """The answer of one request."""
        last = (await self.events(request))[-1]
        assert isinstance(last, End)
        return last.output


Launch = Callable[..., Engine]


def need(name: str) -> None:
    """Skip where an engine is not installed, but fail in CI, where it has to be."""
    packages = registry.ENGINES[name].packages
    if all(find_spec(package) for package in packages):
        return
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed")


def collect_garbage() -> None:
    """Collect what foreign packages left open here, where its warnings are nobody's failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def configure(name: str, path: Path, **changes: Any) -> EngineConfig:
    """A small configuration for one engine."""
    config = EngineConfig(
        model="tiny",
        path=path,
        device="cpu",
        engine=name,
        max_num_seqs=16,
        max_model_len=256,
        dtype="float32" if name != "fake" else "auto",
        stuck_after_s=2.0,
    )
    return replace(config, **changes)


def build(config: EngineConfig) -> Any:
    """An executor that is not loaded."""
    if config.engine == "fake" and "script" not in config.options:
        return FakeExecutor(config, script=FAKE_SCRIPT)
    return registry.create(config)


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with a head size of 32."""
    need("transformers")
    return make_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def _loaded() -> Iterator[dict[str, Engine]]:
    engines: dict[str, Engine] = {}
    yield engines
    for engine in engines.values():
        engine.run(engine.executor.unload())
        engine.loop.close()
    collect_garbage()


@pytest.fixture(
    params=["fake", "transformers", pytest.param("vllm", marks=pytest.mark.vllm)], scope="session"
)
def engine(request: pytest.FixtureRequest, model_path: Path, _loaded: dict[str, Engine]) -> Engine:
    """A loaded engine, shared by all tests that do not harm it."""
    name = request.param
    need(name)
    if name not in _loaded:
        config = configure(name, model_path)
        loop = asyncio.new_event_loop()
        shared = Engine(name=name, config=config, executor=build(config), loop=loop)
        shared.run(shared.executor.load(lambda _: None), timeout_s=280)
        _loaded[name] = shared
    return _loaded[name]


@pytest.fixture
def launch(model_path: Path) -> Iterator[Launch]:
    """Load engines of a test's own; they are unloaded after it."""
    engines: list[Engine] = []

    def start(name: str, *, path: Path = model_path, **changes: Any) -> Engine:
        need(name)
        config = configure(name, path, **changes)
        loop = asyncio.new_event_loop()
        own = Engine(name=name, config=config, executor=build(config), loop=loop)
        engines.append(own)
        own.run(own.executor.load(lambda _: None), timeout_s=280)
        return own

    yield start
    for own in engines:
        own.run(own.executor.unload())
        own.loop.close()
