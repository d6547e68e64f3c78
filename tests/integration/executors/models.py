"""Random models small enough to be made on the spot, in the layout a real model directory has.

The architecture is Llama with a head size of 32, the smallest that vLLM's CPU kernels accept. The
tokenizer is a byte-level BPE, so every string can be encoded and a character may span tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CORPUS = [
    "L4-L5: moderate spinal stenosis with facet arthropathy.",
    "L5-S1: small central disc protrusion without nerve root compression.",
    '{"level": "L4-L5", "grade": "moderate", "impression": "stenosis"}',
    "No acute fracture. Vertebral body heights are maintained.",
    "größe naïve 東京 πλάτος 🐝 0123456789",
]

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_model(
    path: Path,
    *,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 2,
    vocab: int = 384,
    max_len: int = 512,
    chat: bool = True,
    seed: int = 0,
) -> Path:
    """Write a random Llama and its tokenizer to `path`; the weights are float32 safetensors."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS * 4,
        trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=["<pad>", "<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    wrap: Any = PreTrainedTokenizerFast
    fast = wrap(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=hidden,
        intermediate_size=hidden * 2,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_len,
        initializer_range=0.3,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=False,
        dtype="float32",
    )
    build: Any = LlamaForCausalLM
    model = build(config)
    model.save_pretrained(path)
    fast.save_pretrained(path)
    return path
