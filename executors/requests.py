"""What every engine refuses alike: sampling fields out of range, prompts that do not fit.

The ranges are OpenAI's where OpenAI has the field and vLLM's elsewhere, so that a request that one
engine takes is taken by all.
"""

from __future__ import annotations

import math

from executors.errors import RequestInvalid
from executors.types import Sampling

MAX_LOGPROBS = 20


def check_sampling(sampling: Sampling) -> None:
    """Refuse sampling fields that no engine could follow; raises `RequestInvalid`."""
    s = sampling
    _require(s.max_tokens >= 1, "max_tokens", s.max_tokens, "at least 1")
    _require(
        _finite(s.temperature) and s.temperature >= 0, "temperature", s.temperature, "0 or more"
    )
    _require(0 < s.top_p <= 1, "top_p", s.top_p, "above 0 and at most 1")
    _require(s.top_k >= 0, "top_k", s.top_k, "0 (off) or more")
    _require(0 <= s.min_p <= 1, "min_p", s.min_p, "between 0 and 1")
    for name in ("presence_penalty", "frequency_penalty"):
        value = getattr(s, name)
        _require(-2 <= value <= 2, name, value, "between -2 and 2")
    _require(
        _finite(s.repetition_penalty) and s.repetition_penalty > 0,
        "repetition_penalty",
        s.repetition_penalty,
        "above 0",
    )
    _require(all(s.stop), "stop", s.stop, "strings that are not empty")
    _require(
        s.logprobs is None or 0 <= s.logprobs <= MAX_LOGPROBS,
        "logprobs",
        s.logprobs,
        f"between 0 and {MAX_LOGPROBS}",
    )
    _require(
        all(token >= 0 and _finite(bias) for token, bias in s.logit_bias.items()),
        "logit_bias",
        dict(s.logit_bias),
        "finite numbers by token id",
    )
    _require(
        s.json_schema is None or not s.json_object,
        "json_object",
        s.json_object,
        "false where json_schema is given",
    )


def check_length(*, prompt_tokens: int, max_model_len: int) -> None:
    """Refuse a prompt that leaves no room for one token; raises `RequestInvalid`."""
    if prompt_tokens == 0:
        raise RequestInvalid(
            "the prompt is empty",
            suggested_action="Send at least one token.",
            details={"prompt_tokens": 0},
        )
    if prompt_tokens >= max_model_len:
        raise RequestInvalid(
            f"the prompt has {prompt_tokens} tokens; this model takes {max_model_len} "
            "for prompt and answer together",
            suggested_action=f"Shorten the prompt to {max_model_len - 1} tokens or fewer.",
            details={"prompt_tokens": prompt_tokens, "max_model_len": max_model_len},
        )


def _finite(value: float) -> bool:
    return math.isfinite(value)


def _require(holds: object, field: str, value: object, allowed: str) -> None:
    if not holds:
        raise RequestInvalid(
            f"{field} is {value!r}; allowed is {allowed}",
            suggested_action=f"Correct {field}.",
            details={"field": field},
        )
