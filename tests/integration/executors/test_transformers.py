"""What only the transformers engine has: a batch that sequences join and leave at every step."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from executors.errors import (
    DeviceUnavailable,
    EngineStartFailed,
    ExecutorError,
    ModelInvalid,
    OutOfMemory,
    RequestInvalid,
)
from executors.types import HealthState, Message

from .conftest import Launch, build, configure, need
from .models import make_model

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    need("transformers")
    import torch

    # Models this small lose by a second thread, and lose badly beside another busy process.
    torch.set_num_threads(1)


def _failed_load(path: Path, **changes: Any) -> ExecutorError:
    async def main() -> ExecutorError:
        executor = build(configure("transformers", path, **changes))
        with pytest.raises(ExecutorError) as caught:
            await executor.load(lambda _: None)
        assert executor.health().state is HealthState.UNLOADED
        return caught.value

    return asyncio.run(main())


def _attention_only(**changes: Any) -> dict[str, Any]:
    return {
        "vocab_size": 100,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 64,
    } | changes


def _random(config: Any, **options: Any) -> Any:
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    return auto.from_config(config, **options).eval()


def _models() -> list[tuple[str, Any]]:
    import transformers as t

    return [
        ("llama", t.LlamaConfig(**_attention_only())),
        ("qwen3", t.Qwen3Config(**_attention_only())),
        ("sliding", t.MistralConfig(**_attention_only(sliding_window=4))),
        (
            "mixed",
            t.Gemma3TextConfig(
                **_attention_only(
                    sliding_window=4, layer_types=["sliding_attention", "full_attention"] * 2
                )
            ),
        ),
        (
            "absolute",
            t.GPT2Config(
                vocab_size=100,
                n_embd=64,
                n_head=2,
                n_layer=2,
                n_positions=64,
                bos_token_id=0,
                eos_token_id=0,
            ),
        ),
    ]


@pytest.mark.parametrize("number", range(5), ids=["llama", "qwen3", "sliding", "mixed", "absolute"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_batch_of_rows_that_come_and_go_computes_what_each_alone_would(
    number: int, attention: str
) -> None:
    """Logits of rows of different lengths, joining and leaving, equal a plain forward pass."""
    import torch

    from executors.slot_model import SlotModel

    torch.manual_seed(0)
    _, config = _models()[number]
    model = _random(config, attn_implementation=attention)
    slots = SlotModel(model, max_rows=8, max_len=64, prefix_tokens=100)

    def alone(text: list[int]) -> Any:
        return model(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1]

    def check(found: Any, text: list[int]) -> None:
        torch.testing.assert_close(found, alone(text), atol=1e-4, rtol=1e-3)

    with torch.inference_mode():
        rows: list[list[int]] = []
        for step, joining in enumerate([[[5, 9, 3, 7, 4, 8, 1, 2]], [[8, 6], [3]], [], [[1] * 20]]):
            if joining:
                for prefix, text in zip(
                    slots.prefill([tuple(text) for text in joining]), joining, strict=True
                ):
                    check(prefix.logits, text)
                    slots.slots.join(prefix)
                    rows.append(list(text))
            for _ in range(3):
                tokens = [(7 * row + step) % 100 for row in range(len(rows))]
                logits = slots.decode(tokens)
                for text, token, found in zip(rows, tokens, logits, strict=True):
                    text.append(token)
                    check(found, text)
            if step == 1:
                slots.slots.leave(0)
                rows[0] = rows.pop()


def test_an_architecture_without_attention_is_refused() -> None:
    """A state-space model has no keys and values to batch."""
    from transformers import MambaConfig

    from executors.slot_model import SlotModel

    model = _random(MambaConfig(vocab_size=100, hidden_size=32, num_hidden_layers=1))
    with pytest.raises(ModelInvalid, match="linear_attention"):
        SlotModel(model, max_rows=2, max_len=16, prefix_tokens=0).verify()


def test_an_architecture_that_computes_otherwise_is_found_out() -> None:
    """A model whose answers depend on more than the mask and the positions fails at load."""
    import torch
    from transformers import LlamaConfig

    from executors.slot_model import SlotModel

    torch.manual_seed(0)
    model = _random(LlamaConfig(**_attention_only()))
    embed = model.model.embed_tokens

    def padded(_: Any, arguments: tuple[Any, ...], output: Any) -> Any:
        return output + arguments[0].shape[0]

    embed.register_forward_hook(padded)
    with pytest.raises(ModelInvalid, match="cannot be batched"):
        SlotModel(model, max_rows=4, max_len=32, prefix_tokens=0).verify()


def test_samples_of_one_prompt_share_its_prefill(launch: Launch) -> None:
    """The first sample reads the prompt, the others and a later wave do not."""
    engine = launch("transformers")

    async def main() -> list[int]:
        wave = [engine.request(f"k-{seed}", seed=seed) for seed in range(3)]
        answers = await asyncio.gather(*(engine.answer(request) for request in wave))
        answers.append(await engine.answer(engine.request("k-3", seed=3)))
        return [answer.cached_tokens for answer in answers]

    length = engine.run(
        engine.answer(engine.request("length", prompt="L4-L5: other"))
    ).prompt_tokens
    cached = engine.run(main())

    assert length > 1
    assert cached.count(0) == 1
    assert len(set(cached)) == 2
    assert cached[-1] > 1


def test_an_answer_does_not_depend_on_who_shares_its_batch(launch: Launch) -> None:
    """The same texts one by one and all at once, in a crowd of other samplings."""
    engine = launch("transformers")
    samplings: list[dict[str, Any]] = [
        {},
        {"temperature": 0.0},
        {"top_p": 0.8},
        {"top_k": 5},
        {"presence_penalty": 1.0},
        {"repetition_penalty": 1.3},
    ]

    async def all_at_once() -> list[str]:
        requests = [
            engine.request(f"crowd-{n}-{i}", seed=n, prompt=f"finding {n}:", **sampling)
            for n in range(3)
            for i, sampling in enumerate(samplings)
        ]
        return [a.text for a in await asyncio.gather(*(engine.answer(r) for r in requests))]

    together = engine.run(all_at_once())
    alone = [
        engine.run(
            engine.answer(
                engine.request(f"single-{n}-{i}", seed=n, prompt=f"finding {n}:", **sampling)
            )
        ).text
        for n in range(3)
        for i, sampling in enumerate(samplings)
    ]

    assert together == alone


def test_greedy_answers_are_those_of_transformers_itself(launch: Launch, model_path: Path) -> None:
    """The decode loop computes what `model.generate` does."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    engine = launch("transformers")
    tokenizer: Any = AutoTokenizer.from_pretrained(model_path)
    model: Any = AutoModelForCausalLM.from_pretrained(model_path)
    ids = tokenizer("No acute fracture", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        out = model.generate(ids, do_sample=False, max_new_tokens=20, pad_token_id=0)
    expected = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)

    request = engine.request(
        "greedy", prompt="No acute fracture", temperature=0.0, max_tokens=20, logit_bias={}
    )

    assert engine.run(engine.answer(request)).text == expected


def test_a_higher_priority_joins_first(launch: Launch) -> None:
    """With one place, who waits is served by priority and not by arrival."""
    from dataclasses import replace

    engine = launch("transformers", max_num_seqs=1)
    order: list[str] = []

    async def read(name: str, priority: int) -> None:
        await engine.answer(replace(engine.request(name, max_tokens=5), priority=priority))
        order.append(name)

    async def main() -> None:
        readers = [asyncio.ensure_future(read("running", 5))]
        await asyncio.sleep(0)
        readers += [asyncio.ensure_future(read(f"batch-{n}", 6)) for n in range(3)]
        await asyncio.sleep(0)
        readers.append(asyncio.ensure_future(read("urgent", 0)))
        await asyncio.gather(*readers)

    engine.run(main())

    assert order.index("urgent") < order.index("batch-1") < order.index("batch-2")


def test_a_model_without_chat_template_refuses_messages(launch: Launch, tmp_path: Path) -> None:
    """No template is invented."""
    engine = launch("transformers", path=make_model(tmp_path / "plain", chat=False))
    messages = (Message(role="user", content="grade?"),)

    with pytest.raises(RequestInvalid, match="no chat template"):
        engine.run(engine.answer(engine.request("chat", messages=messages)))


def test_a_gpu_that_is_not_there_is_refused_with_figures(model_path: Path) -> None:
    """The CPU does not stand in for it."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    error = _failed_load(model_path, device="cuda")

    assert isinstance(error, DeviceUnavailable)
    assert (error.details["needed"], error.details["found"]) == (1, 0)


def test_weights_that_cannot_fit_are_refused_with_figures(model_path: Path, tmp_path: Path) -> None:
    """A file of a hundred terabytes is not even opened."""
    (tmp_path / "config.json").write_bytes((model_path / "config.json").read_bytes())
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(10 * 1024**4)

    error = _failed_load(tmp_path)

    assert isinstance(error, OutOfMemory)
    assert error.details["required_bytes"] >= 10 * 1024**4
    assert 0 < error.details["available_bytes"] < 10 * 1024**4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tensor_parallel": 2}, "tensor_parallel is 2"),
        ({"quantization": "awq"}, "quantization"),
        ({"dtype": "int8"}, "dtype"),
        ({"attention_backend": "FLASHINFER"}, "attention_backend"),
        ({"max_model_len": 100_000}, "made for 512 tokens"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_followed_are_refused(
    model_path: Path, changes: dict[str, Any], words: str
) -> None:
    """None is silently dropped."""
    error = _failed_load(model_path, **changes)

    assert isinstance(error, EngineStartFailed)
    assert words in error.message


def test_damaged_weights_fail_the_start_with_the_reason(tmp_path: Path) -> None:
    """A file that ends early is not a model."""
    path = make_model(tmp_path / "cut")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])

    error = _failed_load(path)

    assert isinstance(error, EngineStartFailed)
    assert error.details["reason"]


def test_a_model_that_asks_for_code_is_refused(tmp_path: Path) -> None:
    """Before anything of it is read."""
    path = make_model(tmp_path / "code")
    settings = json.loads((path / "config.json").read_text())
    settings["auto_map"] = {"AutoModelForCausalLM": "evil.Model"}
    (path / "config.json").write_text(json.dumps(settings))

    assert isinstance(_failed_load(path), ModelInvalid)
