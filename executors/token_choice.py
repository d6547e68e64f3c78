"""Choosing the next token of many running answers at once, each by its own rules.

Every answer has its own stream of uniform numbers from its own seed, and one number is used for one
token: inverse transform sampling. So an answer does not depend on who shares its batch, as far as
the floating point numbers of the model do not. Rows are grouped by the way they are drawn (greedy,
plain, truncated), because the order in which probabilities are summed is part of the choice.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from random import Random

import torch

from executors.types import Sampling

Kind = Callable[[torch.Tensor, Sequence["Draw"]], list[int]]


class Draw:
    """The state of one answer's sampling: its random numbers and the tokens it has seen."""

    def __init__(self, sampling: Sampling, *, prompt: Sequence[int]) -> None:
        self.sampling = sampling
        seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
        self.uniform = Random(seed).random  # noqa: S311  # a seed has to repeat
        self.greedy = sampling.temperature == 0
        self.truncated = sampling.top_k > 0 or sampling.top_p < 1 or sampling.min_p > 0
        self.repeats = sampling.repetition_penalty != 1
        self.adjusted = bool(
            self.repeats
            or sampling.presence_penalty
            or sampling.frequency_penalty
            or sampling.logit_bias
        )
        self._counts: dict[int, int] = {}
        self._seen = set(prompt) if self.repeats else set()

    def note(self, token: int) -> None:
        """Remember a chosen token for the penalties."""
        if self.adjusted:
            self._counts[token] = self._counts.get(token, 0) + 1
            if self.repeats:
                self._seen.add(token)

    def adjust(self, row: torch.Tensor) -> None:
        """Apply bias and penalties to this answer's logits, in place."""
        s = self.sampling
        if s.repetition_penalty != 1 and self._seen:
            index = torch.tensor(sorted(self._seen), device=row.device)
            seen = row[index]
            row[index] = torch.where(
                seen > 0, seen / s.repetition_penalty, seen * s.repetition_penalty
            )
        if (s.presence_penalty or s.frequency_penalty) and self._counts:
            index = torch.tensor(list(self._counts), device=row.device)
            counts = torch.tensor(list(self._counts.values()), device=row.device, dtype=row.dtype)
            row[index] -= s.frequency_penalty * counts + s.presence_penalty
        if s.logit_bias:
            index = torch.tensor(list(s.logit_bias), device=row.device)
            row[index] += torch.tensor(
                list(s.logit_bias.values()), device=row.device, dtype=row.dtype
            )


def choose(logits: torch.Tensor, draws: Sequence[Draw]) -> tuple[list[int], list[float | None]]:
    """Choose one token per row.

    `logits` is [rows, vocabulary], any float type. Gives the tokens, and the log-probability under
    the model's own distribution of each row that asked for it.
    """
    logits = logits.float()
    original = logits
    if any(draw.adjusted for draw in draws):
        logits = logits.clone()
        for row, draw in enumerate(draws):
            if draw.adjusted:
                draw.adjust(logits[row])
    tokens = [0] * len(draws)
    for rows, kind in _groups(draws):
        picked = logits if len(rows) == len(draws) else logits[rows]
        for row, token in zip(rows, kind(picked, [draws[row] for row in rows]), strict=True):
            tokens[row] = token
    for draw, token in zip(draws, tokens, strict=True):
        draw.note(token)
    return tokens, _logprobs(original, draws, tokens)


def _groups(draws: Sequence[Draw]) -> list[tuple[list[int], Kind]]:
    greedy: list[int] = []
    plain: list[int] = []
    truncated: list[int] = []
    for row, draw in enumerate(draws):
        (greedy if draw.greedy else truncated if draw.truncated else plain).append(row)
    kinds = ((greedy, _greedy), (plain, _plain), (truncated, _truncated))
    return [(rows, kind) for rows, kind in kinds if rows]


def _greedy(logits: torch.Tensor, _: Sequence[Draw]) -> list[int]:
    chosen: list[int] = logits.argmax(dim=-1).tolist()
    return chosen


def _plain(logits: torch.Tensor, draws: Sequence[Draw]) -> list[int]:
    scaled = logits / _column(logits, [d.sampling.temperature for d in draws])
    probabilities = torch.softmax(scaled, dim=-1)
    chosen: list[int] = _invert(probabilities, draws).tolist()
    return chosen


def _truncated(logits: torch.Tensor, draws: Sequence[Draw]) -> list[int]:
    """Draw among the likely tokens: the first `top_k`, then `min_p`, then `top_p` of the mass."""
    vocabulary = logits.shape[-1]
    scaled = logits / _column(logits, [d.sampling.temperature for d in draws])
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    ranks = torch.arange(vocabulary, device=logits.device)
    top_k = _column(logits, [d.sampling.top_k or vocabulary for d in draws])
    ordered = ordered.masked_fill(ranks >= top_k, -torch.inf)
    probabilities = torch.softmax(ordered, dim=-1)
    floor = probabilities[:, :1] * _column(logits, [d.sampling.min_p for d in draws])
    probabilities = probabilities.masked_fill(probabilities < floor, 0)
    probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    beyond = before >= _column(logits, [d.sampling.top_p for d in draws])
    # The likeliest token always stays.
    beyond[:, 0] = False
    probabilities = probabilities.masked_fill(beyond, 0)
    ranked = _invert(probabilities, draws)
    chosen: list[int] = order.gather(-1, ranked[:, None])[:, 0].tolist()
    return chosen


def _invert(probabilities: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """The index at which each row's cumulated probability passes the row's next uniform number."""
    cumulated = probabilities.cumsum(dim=-1, dtype=torch.float64)
    uniform = torch.tensor(
        [[draw.uniform()] for draw in draws], dtype=torch.float64, device=probabilities.device
    )
    found = torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True)[:, 0]
    # Rounding may point past the last token that has any probability.
    last = (probabilities > 0).int().cumsum(dim=-1).argmax(dim=-1)
    return torch.minimum(found, last)


def _logprobs(
    logits: torch.Tensor, draws: Sequence[Draw], tokens: Sequence[int]
) -> list[float | None]:
    values: list[float | None] = [None] * len(draws)
    rows = [row for row, draw in enumerate(draws) if draw.sampling.logprobs is not None]
    if rows:
        picked = logits[rows]
        index = torch.tensor([[tokens[row]] for row in rows], device=logits.device)
        found = (picked.gather(-1, index) - picked.logsumexp(dim=-1, keepdim=True))[:, 0]
        for row, value in zip(rows, found.tolist(), strict=True):
            values[row] = value
    return values


def _column(like: torch.Tensor, values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype)[:, None]
