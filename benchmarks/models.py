"""A language model made on the spot: the Llama architecture, random weights, its own tokenizer.

About 24 million parameters, in bf16: enough that the engine and not Python is what a run waits for.
The tokenizer is a byte-level BPE trained on Python's own help texts, which every installation has.
Neither has an end-of-text token, so every answer is exactly as long as `max_tokens` says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

HIDDEN = 512
LAYERS = 8
HEADS = 8
INTERMEDIATE = 1152
VOCABULARY = 2048
MAX_LENGTH = 512
SEED = 20_260_101


def make_model(directory: Path, *, seed: int = SEED) -> int:
    """Write the model and its tokenizer; gives its number of parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        dtype="bfloat16",
    )
    # transformers is only partly typed
    model: Any = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    model = model.to(torch.bfloat16)
    # Without a generation configuration of its own nothing beside this says what ends an answer.
    model.generation_config.eos_token_id = None
    model.save_pretrained(directory, safe_serialization=True)
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=_tokenizer())  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(directory)
    return int(model.num_parameters())


def prompts(count: int, *, seed: int, words: int = 24) -> list[str]:
    """Different pieces of Python's help texts, all of as many words."""
    told = " ".join(topics[name] for name in sorted(topics)).split()
    draw = random.Random(seed)  # noqa: S311 - a workload, not a secret
    starts = (draw.randrange(len(told) - words) for _ in range(count))
    return [" ".join(told[start : start + words]) for start in starts]


def _tokenizer() -> object:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return tokenizer


def _texts() -> Iterator[str]:
    for name in sorted(topics):
        yield topics[name]
