"""What a model is asked and what it answers: frozen values shared by every executor.

No engine is imported here. Times are seconds, sizes are bytes, token counts are integers.
Events are generic over the output, so that a later modality (embedding, image, audio) needs a new
output type and no new transport.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

OutputT_co = TypeVar("OutputT_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a chat: `role` is system, user, assistant or tool."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What the model reads: either `text` as it is, or `messages` for its chat template."""

    text: str | None = None
    messages: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a prompt that is both or neither."""
        if (self.text is None) == (not self.messages):
            raise ValueError("a prompt is either a text or a list of messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How one answer is drawn: OpenAI's sampling fields, with vLLM's names where OpenAI has none.

    `seed` belongs to this one sample. `top_k` 0 means off. `json_schema` constrains the answer to a
    JSON document that meets it, where the engine can; `json_object` to any JSON object.
    """

    max_tokens: int = 256
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    json_schema: Mapping[str, Any] | None = None
    json_object: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """One sample to draw.

    `request_id` is unique among the requests in flight; `priority` is served lower first;
    `stream` asks for `Token` events, which cost time and are otherwise left out.
    """

    request_id: str
    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    stream: bool = False
    priority: int = 0
    adapter: str | None = None


class FinishReason(StrEnum):
    """Why a completion ended; anything else an engine says is an error, never an answer."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One finished answer of a language model.

    `cached_tokens` is how many prompt tokens came from the prefix cache; `mean_logprob` is the mean
    log-probability of the answer's tokens when the request asked for log-probabilities.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    mean_logprob: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The engine has taken the request."""

    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """More text of a running answer: `text` is what is new, `index` counts the events from 0."""

    text: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What the engine measured for this request."""

    first_token_s: float | None = None
    total_s: float | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Narration:
    """A sentence for a person watching."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class End(Generic[OutputT_co]):
    """The answer. Nothing follows it."""

    output: OutputT_co


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The request failed; nothing follows. `retriable`: could another try succeed?"""

    code: str
    message: str
    suggested_action: str
    retriable: bool
    details: Mapping[str, Any] = field(default_factory=dict)


Event = Started | Token | Metrics | Narration | End[OutputT_co] | Error


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProgress:
    """How far a load is.

    `fraction` is in 0..1; `phase` is one of locate, weights, engine, warmup, ready.
    """

    phase: str
    fraction: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What was loaded.

    `model_digest` is `sha256:` over the model's engine files, `engine_digest` over the engine's
    name, version and the settings that change answers; a sample is reused only where both match.
    """

    name: str
    engine: str
    engine_version: str
    device: str
    model_digest: str
    engine_digest: str
    max_num_seqs: int
    max_model_len: int
    parameters: int | None = None


class HealthState(StrEnum):
    """What an engine is doing, judged from progress and not from whether it answers."""

    LOADING = "loading"
    READY = "ready"
    STUCK = "stuck"
    DEAD = "dead"
    UNLOADED = "unloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """An engine's condition. `idle_s` is the time since the last progress while requests ran.

    `kv_cache_usage` goes from 0 to 1; None where the engine does not tell it.
    """

    state: HealthState
    in_flight: int
    idle_s: float = 0.0
    reason: str = ""
    kv_cache_usage: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes held by the model process on the host and, where there is one, on the GPU."""

    host_bytes: int
    device_bytes: int = 0
