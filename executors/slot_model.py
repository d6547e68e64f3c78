"""One causal language model that answers many sequences of different lengths per step.

`prefill` reads prompts and gives a `Prefix` each; `decode` adds one token to every row of the
slots. Which sequence is in which row is the caller's business.

A model is supported if its layers attend fully or through a sliding window and take explicit
positions. That is not believed but tried: `verify` compares a few steps with the model's own plain
forward pass, so that an unknown architecture fails at load and never answers wrongly.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from executors.errors import ModelInvalid
from executors.slot_cache import Prefix, SlotCache

SUPPORTED_LAYERS = frozenset({"full_attention", "sliding_attention"})
CHECK_PROMPTS = ((5, 9, 3, 7, 4), (8, 6, 5))
CHECK_STEPS = 2
# Of the largest logit: rounding differs between the two ways of computing the same thing.
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
HALF_TOLERANCE = 5e-2


class SlotModel:
    """A loaded `transformers` model and its slots. Used by one thread."""

    def __init__(self, model: Any, *, max_rows: int, max_len: int, prefix_tokens: int) -> None:
        self._model = model
        self._device = model.device
        config = model.config.get_text_config()
        self._window = getattr(config, "sliding_window", None)
        self._kinds = _layer_kinds(config)
        self.slots = SlotCache(
            layers=config.num_hidden_layers,
            max_rows=max_rows,
            max_width=max_len,
            device=self._device,
        )
        self._prefix_tokens = prefix_tokens
        self._prefixes: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()

    def known_prefix(self, prompt: tuple[int, ...]) -> Prefix | None:
        """What was computed lately for exactly this prompt."""
        prefix = self._prefixes.get(prompt)
        if prefix is not None:
            self._prefixes.move_to_end(prompt)
        return prefix

    def remember(self, prompt: tuple[int, ...], prefix: Prefix) -> None:
        """Keep a prefix for prompts that come again, the oldest going first."""
        if prefix.length > self._prefix_tokens:
            return
        self._prefixes[prompt] = prefix
        while sum(kept.length for kept in self._prefixes.values()) > self._prefix_tokens:
            self._prefixes.popitem(last=False)

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[tuple[int, ...]]) -> list[Prefix]:
        """Read prompts, all in one pass; they are padded on the right to the longest."""
        lengths = [len(prompt) for prompt in prompts]
        width = max(lengths)
        ids = torch.tensor(
            [[*prompt, *([0] * (width - len(prompt)))] for prompt in prompts], device=self._device
        )
        ends = torch.tensor(lengths, device=self._device)
        positions = torch.arange(width, device=self._device)
        cache: Any = DynamicCache()
        kept, place = torch.unique(ends - 1, return_inverse=True)
        logits = self._model(
            input_ids=ids,
            attention_mask=(positions[None, :] < ends[:, None]).long(),
            position_ids=positions[None, :].expand(len(prompts), -1),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=kept,
        ).logits
        last = logits[torch.arange(len(prompts), device=self._device), place]
        return [
            Prefix(
                length=length,
                keys=tuple(layer.keys[row, :, :length].clone() for layer in cache.layers),
                values=tuple(layer.values[row, :, :length].clone() for layer in cache.layers),
                logits=last[row].clone(),
            )
            for row, length in enumerate(lengths)
        ]

    @torch.inference_mode()
    def decode(self, tokens: Sequence[int]) -> torch.Tensor:
        """Add one token to each row, in row order; gives the next logits [rows, vocabulary]."""
        slots = self.slots
        slots.prepare()
        positions = slots.lengths[:, None]
        logits = self._model(
            input_ids=torch.tensor(tokens, device=self._device)[:, None],
            attention_mask=self._masks(positions),
            position_ids=positions,
            past_key_values=slots.cache,
            use_cache=True,
        ).logits
        slots.advance()
        last: torch.Tensor = logits[:, -1]
        return last

    def verify(self) -> None:
        """Compare with the model's own forward pass; raises `ModelInvalid` if they differ."""
        try:
            self._verify()
        except ModelInvalid:
            raise
        except Exception as error:
            # An architecture that wants other arguments fails inside its own code.
            raise ModelInvalid(
                f"this architecture ({type(self._model).__name__}) cannot be batched by the "
                f"transformers engine: {type(error).__name__}: {error}",
                suggested_action="Use the vllm engine for this model.",
            ) from error

    @torch.inference_mode()
    def _verify(self) -> None:
        vocabulary = self._model.config.get_text_config().vocab_size
        texts = [[token % vocabulary for token in prompt] for prompt in CHECK_PROMPTS]
        prefixes = self.prefill([tuple(text) for text in texts])
        found = [prefix.logits for prefix in prefixes]
        for prefix in prefixes:
            self.slots.join(prefix)
        for step in range(CHECK_STEPS + 1):
            for row, text in enumerate(texts):
                self._compare(found[row], text)
            if step < CHECK_STEPS:
                tokens = [int(row.argmax()) for row in found]
                found = list(self.decode(tokens))
                for text, token in zip(texts, tokens, strict=True):
                    text.append(token)
        self.slots.clear()

    def close(self) -> None:
        """Give back all memory that is held beside the model."""
        self.slots.clear()
        self._prefixes.clear()
        self._model = None

    def _compare(self, found: torch.Tensor, text: list[int]) -> None:
        expected = self._model(
            input_ids=torch.tensor([text], device=self._device), use_cache=False
        ).logits[0, -1]
        scale = expected.abs().max().clamp(min=1e-6)
        worst = float((found.float() - expected.float()).abs().max() / scale)
        allowed = TOLERANCE.get(expected.dtype, HALF_TOLERANCE)
        if not worst <= allowed:
            raise ModelInvalid(
                f"this architecture ({type(self._model).__name__}) cannot be batched by the "
                f"transformers engine: its logits differ by {worst:.2g} of their scale from the "
                f"model's own (allowed {allowed:.2g})",
                suggested_action="Use the vllm engine for this model.",
                details={"difference": worst, "allowed": allowed},
            )

    def _masks(self, positions: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """What each row may look at: its own tokens, or the last ones where a window slides."""
        columns = torch.arange(self.slots.width, device=self._device)[None, :]
        seen = columns <= positions
        masks = {}
        for kind in self._kinds:
            allowed = seen
            if kind == "sliding_attention" and self._window:
                allowed = seen & (columns > positions - self._window)
            mask = torch.zeros(allowed.shape, dtype=self._model.dtype, device=self._device)
            mask.masked_fill_(~allowed, torch.finfo(mask.dtype).min)
            masks[kind] = mask[:, None, None, :]
        return masks if len(masks) > 1 else next(iter(masks.values()))


def _layer_kinds(config: Any) -> tuple[str, ...]:
    kinds = getattr(config, "layer_types", None)
    if not kinds:
        kinds = [
            "sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"
        ]
    unknown = set(kinds) - SUPPORTED_LAYERS
    if unknown:
        raise ModelInvalid(
            f"the transformers engine cannot batch layers of the kind {', '.join(sorted(unknown))}",
            suggested_action="Use the vllm engine for this model.",
            details={"layer_types": sorted(unknown)},
        )
    return tuple(sorted(set(kinds)))
