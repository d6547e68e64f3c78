"""Load a shipped model and draw many answers at once; for measuring, not for serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from examples.queenbee.grammar import prompt
from examples.queenbee.shipping import MAX_TOKENS
from executors.resampling import RawSample

ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model in memory with its tokenizer."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast


def load(directory: Path) -> Loaded:
    """Load a model's directory, without any network."""
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise TypeError(f"{directory} holds a {type(tokenizer).__name__}, not a fast tokenizer")
    model = LlamaForCausalLM.from_pretrained(directory, local_files_only=True)
    return Loaded(model=model, tokenizer=tokenizer)


def draw(
    loaded: Loaded, findings: Sequence[str], *, samples: int, temperature: float, seed: int
) -> list[list[RawSample]]:
    """Draw `samples` answers for each text; temperature 0 is greedy.

    All of it comes from one random stream, so a result is the same again only for the same texts
    and counts in the same order.
    """
    torch.manual_seed(seed)
    rows = [(prompt(text), index) for text in findings for index in range(samples)]
    flat = [
        sample
        for start in range(0, len(rows), ROWS)
        for sample in _generate(loaded, rows[start : start + ROWS], temperature, seed)
    ]
    return [flat[start : start + samples] for start in range(0, len(flat), samples)]


@torch.inference_mode()
def _generate(
    loaded: Loaded, rows: Sequence[tuple[str, int]], temperature: float, seed: int
) -> list[RawSample]:
    tokenizer = loaded.tokenizer
    asked = tokenizer([text for text, _ in rows], return_tensors="pt", padding=True)
    ids, mask = asked["input_ids"], asked["attention_mask"]
    how = GenerationConfig(  # type: ignore[no-untyped-call]  # partly typed library
        max_new_tokens=MAX_TOKENS,
        do_sample=temperature > 0,
        temperature=temperature if temperature > 0 else None,
        top_k=0 if temperature > 0 else None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    whole = loaded.model.generate(  # type: ignore[misc]  # a mixin typed by a protocol
        input_ids=ids, attention_mask=mask, generation_config=how
    )
    out = torch.as_tensor(whole)[:, ids.shape[1] :]
    lengths = (out != tokenizer.pad_token_id).sum(dim=1)
    ended = (out == tokenizer.eos_token_id).any(dim=1)
    texts = tokenizer.batch_decode(out, skip_special_tokens=True)
    return [
        RawSample(
            index=index,
            seed=seed,
            text=str(texts[row]),
            finish_reason="stop" if ended[row] else "length",
            prompt_tokens=int(mask[row].sum()),
            completion_tokens=int(lengths[row]),
        )
        for row, (_, index) in enumerate(rows)
    ]
