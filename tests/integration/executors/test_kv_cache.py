"""How full an engine's cache is: told by the engine that has one of its own."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from .conftest import Engine

pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_usage_of_the_cache_is_told_while_a_request_runs(engine: Engine) -> None:
    """A share above 0 from vLLM, nothing from engines without a paged cache."""

    async def most() -> float | None:
        asked = engine.request("kv-cache", max_tokens=100, stream=True)
        async with aclosing(engine.executor.generate(asked)) as events:
            told = [engine.executor.health().kv_cache_usage async for _ in events]
        return max((usage for usage in told if usage is not None), default=None)

    usage = engine.run(most())

    if engine.name == "vllm":
        assert usage is not None
        assert 0 < usage <= 1
    else:
        assert usage is None
