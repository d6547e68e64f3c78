"""Every engine keeps the contract of `executors/base.py`: requests and answers."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from executors.errors import RequestInvalid
from executors.types import End, FinishReason, Message, Metrics, Narration, Started, Token

from .conftest import Engine

# Foreign packages warn about their own insides while they are imported and used.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_events_come_in_order_and_end_once(engine: Engine) -> None:
    """Started first, one End last, and nothing unknown in between."""
    events = engine.run(engine.events(engine.request("order", stream=True)))

    kinds = [type(event) for event in events]
    assert kinds[0] is Started
    assert kinds[-1] is End
    assert kinds.count(Started) == kinds.count(End) == 1
    assert set(kinds[1:-1]) <= {Token, Metrics, Narration}
    assert [e.index for e in events if isinstance(e, Token)] == list(range(kinds.count(Token)))


def test_a_request_that_is_not_streamed_has_no_tokens(engine: Engine) -> None:
    """Token events cost time and come only when asked for."""
    events = engine.run(engine.events(engine.request("quiet")))

    assert not [event for event in events if isinstance(event, Token)]


def test_streamed_text_adds_up_to_the_answer(engine: Engine) -> None:
    """The deltas put together are the final text, also over characters of several bytes."""
    for seed in range(6):
        events = engine.run(engine.events(engine.request(f"sum-{seed}", stream=True, seed=seed)))

        text = "".join(event.text for event in events if isinstance(event, Token))
        assert isinstance(events[-1], End)
        assert events[-1].output.text == text != ""


def test_streaming_does_not_change_the_answer(engine: Engine) -> None:
    """The same request gives the same text with and without Token events."""
    quiet = engine.run(engine.answer(engine.request("still", seed=5)))
    streamed = engine.run(engine.answer(engine.request("moving", seed=5, stream=True)))

    assert quiet.text == streamed.text


def test_many_requests_overlap(engine: Engine) -> None:
    """Twelve answers are all under way before the first of them is finished."""
    seen: list[tuple[str, str]] = []

    def note(event: Any, who: str) -> None:
        seen.append((type(event).__name__, who))

    async def read(number: int) -> None:
        request = engine.request(f"many-{number}", seed=number, stream=True)
        async with aclosing(engine.executor.generate(request)) as events:
            async for event in events:
                note(event, request.request_id)

    async def main() -> None:
        await asyncio.gather(*(read(number) for number in range(12)))

    engine.run(main())

    first_end = next(i for i, (kind, _) in enumerate(seen) if kind == "End")
    assert {who for kind, who in seen[:first_end] if kind == "Token"} == {
        f"many-{number}" for number in range(12)
    }


def test_more_requests_than_places_are_all_answered(engine: Engine) -> None:
    """Requests beyond max_num_seqs wait for a place."""

    async def main() -> list[Any]:
        count = engine.config.max_num_seqs * 3
        requests = [engine.request(f"queue-{n}", seed=n, max_tokens=8) for n in range(count)]
        return await asyncio.gather(*(engine.answer(request) for request in requests))

    answers = engine.run(main())

    assert all(answer.completion_tokens == 8 for answer in answers)
    assert engine.executor.health().in_flight == 0


def test_the_same_seed_gives_the_same_answer(engine: Engine) -> None:
    """A sample can be drawn again."""
    first = engine.run(engine.answer(engine.request("again-1", seed=42)))
    second = engine.run(engine.answer(engine.request("again-2", seed=42)))

    assert first.text == second.text


def test_different_seeds_give_different_answers(engine: Engine) -> None:
    """Samples of one prompt are not copies of each other."""

    async def main() -> set[str]:
        requests = [engine.request(f"differ-{seed}", seed=seed) for seed in range(8)]
        answers = await asyncio.gather(*(engine.answer(request) for request in requests))
        return {answer.text for answer in answers}

    assert len(engine.run(main())) > 4


def test_temperature_zero_ignores_the_seed(engine: Engine) -> None:
    """Greedy answers are all alike."""

    async def main() -> set[str]:
        requests = [
            engine.request(f"greedy-{seed}", seed=seed, temperature=0.0, max_tokens=6)
            for seed in range(4)
        ]
        return {answer.text for answer in [await engine.answer(r) for r in requests]}

    assert len(engine.run(main())) == 1


def test_max_tokens_ends_an_answer_with_length(engine: Engine) -> None:
    """An answer that is cut says so."""
    answer = engine.run(engine.answer(engine.request("cut", max_tokens=3)))

    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.completion_tokens == 3


def test_an_answer_ends_at_the_models_length(engine: Engine) -> None:
    """More tokens than the model can hold are not an error but a cut."""
    prompt = "stenosis " * 20
    if engine.name == "fake":
        pytest.skip("scripted answers are short")

    answer = engine.run(engine.answer(engine.request("full", prompt=prompt, max_tokens=10_000)))

    assert answer.finish_reason is FinishReason.LENGTH
    assert answer.prompt_tokens + answer.completion_tokens in (
        engine.config.max_model_len,
        (engine.config.max_model_len or 0) + 1,
    )


def test_a_stop_string_ends_the_answer_before_itself(engine: Engine) -> None:
    """The text stops where the stop string would begin, streamed or not."""
    whole = engine.run(engine.answer(engine.request("unstopped", seed=3))).text
    stop = next(
        match.group() for match in re.finditer(r"[a-z0-9]{2,4}", whole) if match.start() > 3
    )

    stopped = engine.run(engine.answer(engine.request("stopped", seed=3, stop=(stop,))))
    events = engine.run(
        engine.events(engine.request("stopped-live", seed=3, stop=(stop,), stream=True))
    )

    assert stopped.finish_reason is FinishReason.STOP
    assert stopped.text == whole[: whole.index(stop)]
    assert "".join(e.text for e in events if isinstance(e, Token)) == stopped.text


def test_log_probabilities_are_given_when_asked_for(engine: Engine) -> None:
    """A mean of logarithms of probabilities is negative, and absent otherwise."""
    asked = engine.run(engine.answer(engine.request("logprobs", logprobs=1, seed=2)))
    not_asked = engine.run(engine.answer(engine.request("no-logprobs", seed=2)))

    assert asked.mean_logprob is not None
    assert asked.mean_logprob < 0
    assert not_asked.mean_logprob is None


def test_messages_are_read_through_the_chat_template(engine: Engine) -> None:
    """A chat is answered, and has more tokens than its content alone."""
    messages = (Message(role="user", content="grade?"),)
    answer = engine.run(engine.answer(engine.request("chat", messages=messages)))

    assert answer.prompt_tokens > 1
    assert answer.text


def test_sampling_fields_are_followed_together(engine: Engine) -> None:
    """Penalties, truncation and bias at once give an answer."""
    request = engine.request(
        "fields",
        top_p=0.9,
        top_k=20,
        min_p=0.01,
        presence_penalty=0.5,
        frequency_penalty=0.5,
        repetition_penalty=1.1,
    )

    assert engine.run(engine.answer(request)).completion_tokens > 0


def test_a_prompt_too_long_is_refused_with_figures(engine: Engine) -> None:
    """The error names the prompt's length and the model's."""
    prompt = "stenosis " * 400
    with pytest.raises(RequestInvalid) as caught:
        engine.run(engine.answer(engine.request("long", prompt=prompt)))

    assert caught.value.details["max_model_len"] == engine.config.max_model_len
    assert caught.value.details["prompt_tokens"] >= 256
    assert str(engine.config.max_model_len) in caught.value.message
    assert caught.value.suggested_action


@pytest.mark.parametrize(
    "wrong",
    [{"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}, {"stop": ("",)}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_sampling_out_of_range_is_refused(engine: Engine, wrong: dict[str, Any]) -> None:
    """The field is named."""
    with pytest.raises(RequestInvalid) as caught:
        engine.run(engine.answer(engine.request("wrong", **wrong)))

    assert caught.value.details["field"] in wrong


def test_an_empty_prompt_is_refused(engine: Engine) -> None:
    """There is nothing to answer."""
    with pytest.raises(RequestInvalid):
        engine.run(engine.answer(engine.request("empty", prompt="")))


def test_two_requests_in_flight_cannot_share_an_id(engine: Engine) -> None:
    """The second is refused and the first goes on."""

    async def main() -> None:
        async with aclosing(engine.executor.generate(engine.request("twin"))) as events:
            await anext(events)
            with pytest.raises(RequestInvalid):
                await engine.answer(engine.request("twin"))
            assert isinstance([event async for event in events][-1], End)

    engine.run(main())


def test_info_tells_what_is_loaded(engine: Engine) -> None:
    """Name, limits and both digests."""
    info = engine.executor.info

    assert (info.name, info.engine, info.device) == ("tiny", engine.name, "cpu")
    assert (info.max_num_seqs, info.max_model_len) == (16, 256)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", info.model_digest)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", info.engine_digest)


def test_a_schema_constrains_the_answer_or_says_that_it_does_not(engine: Engine) -> None:
    """Vllm follows a JSON schema; another engine narrates that it cannot."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    request = engine.request("schema", json_schema=schema, max_tokens=60, logit_bias={})
    events = engine.run(engine.events(request))

    assert isinstance(events[-1], End)
    if engine.name == "vllm":
        assert isinstance(json.loads(events[-1].output.text)["a"], int)
    elif engine.name == "transformers":
        assert any(isinstance(event, Narration) for event in events)


def test_a_schema_that_is_none_is_refused_where_it_would_be_followed(engine: Engine) -> None:
    """What no answer can meet is refused before it is tried."""
    if engine.name != "vllm":
        pytest.skip("this engine does not follow schemas")
    with pytest.raises(RequestInvalid):
        engine.run(engine.answer(engine.request("nonsense", json_schema={"type": "nonsense"})))


def test_an_unknown_adapter_is_refused(engine: Engine) -> None:
    """No answer without the adapter that was asked for."""
    if engine.name == "fake":
        pytest.skip("a script knows no adapters")
    request = replace(engine.request("adapter"), adapter="spine-v2")
    with pytest.raises(RequestInvalid, match="spine-v2"):
        engine.run(engine.answer(request))


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
