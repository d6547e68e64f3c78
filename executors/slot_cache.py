"""A key-value cache whose rows are sequences of different lengths that come and go.

`transformers` caches hold a batch that starts and ends together. Here each row of one big tensor
per layer is the slot of one running answer: a new one is copied in, a finished one is overwritten
by the last row, and every step writes each row at its own length. Nothing is padded on the left and
nothing is concatenated, so joining and leaving cost one row's copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

FIRST_WIDTH = 128
FIRST_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """What the model computed for one prompt: shared by the answers that start with it.

    `keys` and `values` hold one [heads, length, size] tensor per layer; `logits` is [vocabulary].
    """

    length: int
    keys: tuple[torch.Tensor, ...]
    values: tuple[torch.Tensor, ...]
    logits: torch.Tensor


class SlotLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]  # of transformers
    """One layer's slots. The model calls `update` once per step with one new token per row."""

    is_sliding = False
    keys: Any
    values: Any

    def __init__(self, slots: SlotCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of transformers
        self._slots = slots

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing: `reserve` makes the tensors, with the first row that joins."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one token per row at the row's length; give all rows up to the widest."""
        slots = self._slots
        rows, width = slots.rows, slots.width
        self.keys[slots.row_index, :, slots.lengths] = key_states[:, :, 0]
        self.values[slots.row_index, :, slots.lengths] = value_states[:, :, 0]
        return self.keys[:rows, :, :width], self.values[:rows, :, :width]

    def get_mask_sizes(self, _: int) -> tuple[int, int]:
        """The width of the keys, and no offset."""
        return self._slots.width, 0

    def get_seq_length(self) -> int:
        """The longest row; positions are given to the model explicitly."""
        return max(self._slots.width - 1, 0)

    def get_max_length(self) -> int:
        """No maximum."""
        return -1

    def reserve(
        self, like_key: torch.Tensor, like_value: torch.Tensor, size: tuple[int, int]
    ) -> None:
        """Grow to `size` (rows, width), keeping what is there."""
        self.keys = _grown(self.keys if self.is_initialized else None, like_key, size)
        self.values = _grown(self.values if self.is_initialized else None, like_value, size)
        self.is_initialized = True


class SlotCache:
    """The slots of all running answers, in all layers.

    `lengths` [rows] is how many tokens each row holds, `width` how many columns the next step sees.
    """

    def __init__(self, *, layers: int, max_rows: int, max_width: int, device: torch.device) -> None:
        self._max_rows = max_rows
        self._max_width = max_width
        self._device = device
        self._size = (0, 0)
        self.rows = 0
        self.width = 0
        self.lengths = torch.zeros(0, dtype=torch.long, device=device)
        self.row_index = torch.zeros(0, dtype=torch.long, device=device)
        self._layers = [SlotLayer(self) for _ in range(layers)]
        self.cache = Cache(layers=[*self._layers])
        self._lengths: list[int] = []

    def join(self, prefix: Prefix) -> None:
        """Give a prompt's keys and values the next free row."""
        self._reserve(prefix, rows=self.rows + 1, width=prefix.length + 1)
        for layer, key, value in zip(self._layers, prefix.keys, prefix.values, strict=True):
            layer.keys[self.rows, :, : prefix.length] = key
            layer.values[self.rows, :, : prefix.length] = value
        self._lengths.append(prefix.length)
        self.rows += 1

    def leave(self, row: int) -> None:
        """Free a row; the last row takes its place."""
        last = self.rows - 1
        length = self._lengths[last]
        if row != last:
            for layer in self._layers:
                layer.keys[row, :, :length] = layer.keys[last, :, :length]
                layer.values[row, :, :length] = layer.values[last, :, :length]
            self._lengths[row] = length
        self._lengths.pop()
        self.rows = last

    def prepare(self) -> None:
        """Make room for one token per row and set what the layers read in the next step."""
        longest = max(self._lengths) + 1
        if longest > self._size[1]:
            self._reserve(None, rows=self.rows, width=longest)
        self.width = longest
        self.lengths = torch.tensor(self._lengths, device=self._device)
        self.row_index = torch.arange(self.rows, device=self._device)

    def advance(self) -> None:
        """Count the token that every row got."""
        self._lengths = [length + 1 for length in self._lengths]

    def clear(self) -> None:
        """Forget all rows and give their memory back."""
        self.rows, self._lengths, self._size = 0, [], (0, 0)
        for layer in self._layers:
            layer.keys = layer.values = None
            layer.is_initialized = False

    def bytes(self) -> int:
        """Memory that the slots hold."""
        ready = [layer for layer in self._layers if layer.is_initialized]
        return sum(int(layer.keys.nbytes) + int(layer.values.nbytes) for layer in ready)

    def _reserve(self, prefix: Prefix | None, *, rows: int, width: int) -> None:
        have_rows, have_width = self._size
        if rows <= have_rows and width <= have_width:
            return
        # Doubling keeps copies rare; what is asked for is given even beyond the usual maximum.
        if have_rows < rows:
            have_rows = max(rows, min(max(have_rows * 2, FIRST_ROWS), self._max_rows))
        if have_width < width:
            have_width = max(width, min(max(have_width * 2, FIRST_WIDTH), self._max_width))
        self._size = (have_rows, have_width)
        for index, layer in enumerate(self._layers):
            key = prefix.keys[index] if prefix else layer.keys[0]
            value = prefix.values[index] if prefix else layer.values[0]
            layer.reserve(key, value, self._size)


def _grown(old: torch.Tensor | None, like: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    heads, _, depth = like.shape
    new = like.new_zeros((size[0], heads, size[1], depth))
    if old is not None:
        new[: old.shape[0], :, : old.shape[2]] = old
    return new
