"""The request, payload v1: its shape, its checks, and its one byte string.

`Request` is what a caller asks for and nothing else: no defaults of ours are written into it, so
its canonical bytes (RFC 8785) can be made again from the caller's own file, and `input_hash` with
them. Options of the submission (priority, expiry, idempotency key) are not part of the request.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from executors import Message, Prompt, Sampling
from executors.resampling import (
    Agreement,
    AgreementInvalid,
    SchemaUnsatisfiable,
    parse_agreement,
    parse_policy,
)
from proofs import canonicalize, parse_json
from tasks.catalogue import Catalogue, Profile
from tasks.errors import PromptTooLarge, RequestInvalid
from tasks.settings import Limits

VERSION = 1
MAX_DEPTH = 32
MAX_KEYS = 10_000
MAX_VALUES = 100_000
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
_SURROGATE = re.compile("[\ud800-\udfff]")
_TOKEN_ID = re.compile("0|[1-9][0-9]{0,8}")
MAX_BIAS = 100


class ChatMessage(BaseModel):
    """One turn of a chat."""

    model_config = _STRICT
    role: Literal["system", "user", "assistant", "tool"]
    content: str


class JsonSchemaSpec(BaseModel):
    """The schema inside `response_format`, as OpenAI names it."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    schema_: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    """What form the answer must have."""

    model_config = _STRICT
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaSpec | None = None


Probability = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Request(BaseModel):
    """Payload v1. Exactly one of `prompt`, `messages` and `findings` is given.

    `findings` is a text that a profile's template turns into a prompt. `k` is short for the policy
    `fixed:<k>`. The sampling fields are OpenAI's, with `top_k`, `min_p` and `repetition_penalty` as
    vLLM names them. `sensitive` has the receipt's hashes of the request and the answer salted, so
    that nobody can find out by guessing what was asked.
    """

    model_config = _STRICT
    v: Literal[1] = 1
    model: str = Field(min_length=1, max_length=64)
    prompt: str | None = None
    messages: list[ChatMessage] | None = None
    findings: str | None = None
    profile: str | None = None
    policy: str | None = None
    k: int | None = None
    agreement: dict[str, Any] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Probability | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    stop: list[str] | str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    logit_bias: dict[str, float] | None = None
    response_format: ResponseFormat | None = None
    adapter: str | None = None
    metadata: dict[str, str] | None = None
    sensitive: bool | None = None

    @field_validator("prompt", "findings")
    @classmethod
    def _readable(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("is empty")
        if text is not None and _SURROGATE.search(text):
            raise ValueError("holds a lone surrogate, which is not text")
        return text

    @field_validator("stop")
    @classmethod
    def _stops_somewhere(cls, stop: list[str] | str | None) -> list[str] | str | None:
        if "" in ([stop] if isinstance(stop, str) else stop or []):
            raise ValueError("an empty text would stop every answer before it begins")
        return stop

    @field_validator("logit_bias")
    @classmethod
    def _names_tokens(cls, bias: dict[str, float] | None) -> dict[str, float] | None:
        for token, value in (bias or {}).items():
            if not _TOKEN_ID.fullmatch(token):
                raise ValueError(f'{token!r:.40} is not the id of a token, such as "1734"')
            if abs(value) > MAX_BIAS:
                raise ValueError(f"{value:g} is not between -{MAX_BIAS} and {MAX_BIAS}")
        return bias

    @model_validator(mode="after")
    def _one_input(self) -> Request:
        given = [n for n in ("prompt", "messages", "findings") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(
                "give exactly one of prompt, messages and findings"
                + (f", not {' and '.join(given)}" if given else "")
            )
        if self.messages is not None and not self.messages:
            raise ValueError("messages is empty")
        if self.k is not None and self.policy is not None:
            raise ValueError("give k or policy, not both")
        return self

    def to_bytes(self) -> bytes:
        """The request's canonical bytes (RFC 8785, UTF-8); what `input_hash` hashes."""
        return canonicalize(self.model_dump(exclude_none=True, by_alias=True))

    @property
    def policy_name(self) -> str | None:
        """The policy the caller named, if any; `k` is one too."""
        return f"fixed:{self.k}" if self.k is not None else self.policy


def parse_request(fields: Mapping[str, Any]) -> Request:
    """A request from plain fields.

    Raises:
        RequestInvalid: names the first field that is wrong, and why.
    """
    _check_size(fields)
    try:
        return Request.model_validate({k: v for k, v in fields.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "request"
        reason = first["msg"].removeprefix("Value error, ")
        raise RequestInvalid(
            f"{where}: {reason[:1].lower()}{reason[1:]}."
            if where != "request"
            else f"{reason[:1].upper()}{reason[1:]}.",
            details={"field": where, "errors": error.error_count()},
        ) from error


def _check_size(fields: Mapping[str, Any]) -> None:
    """Refuse what no reader of the stored bytes would take, without recursion."""
    level: list[Any] = [fields]
    # The version is written into every request.
    keys = values = int("v" not in fields)
    for _ in range(MAX_DEPTH):
        objects = [one for one in level if isinstance(one, Mapping)]
        lists = [one for one in level if isinstance(one, list | tuple)]
        keys += sum(map(len, objects))
        if keys > MAX_KEYS:
            raise _too_much("TOO_MANY_KEYS", f"more than {MAX_KEYS} keys", limit=MAX_KEYS)
        values += sum(map(len, objects)) + sum(map(len, lists))
        if values > MAX_VALUES:
            raise _too_much("TOO_LARGE", f"more than {MAX_VALUES} values", limit=MAX_VALUES)
        if not (objects or lists):
            return
        level = [value for one in objects for value in one.values()]
        level += [value for one in lists for value in one]
    if any(isinstance(one, Mapping | list | tuple) for one in level):
        raise _too_much("TOO_DEEP", f"nested deeper than {MAX_DEPTH}", limit=MAX_DEPTH)


def _too_much(kind: str, told: str, *, limit: int) -> RequestInvalid:
    return RequestInvalid(
        f"The request is too large: {told}.",
        code=f"REQUEST_{kind}",
        suggested_action="Send less in one request.",
        details={"limit": limit},
    )


def request_from_bytes(data: bytes) -> Request:
    """A request from its stored bytes."""
    fields = parse_json(data)
    if not isinstance(fields, dict):
        raise RequestInvalid("The request is not a JSON object.")
    return parse_request(fields)


def check(request: Request, *, catalogue: Catalogue, limits: Limits) -> Profile | None:
    """Refuse what can never be run; return the profile the request goes by, if any.

    Raises:
        UnknownModel, UnknownProfile: the names are not known here.
        PromptTooLarge, RequestInvalid: a value is out of its limits.
        executors.ExecutorError: an unknown policy, a `k` out of range, a wrong agreement.
    """
    catalogue.model(request.model)
    profile = profile_of(request, catalogue)
    chars = _prompt_chars(request)
    limit = profile.max_prompt_chars if profile else limits.max_prompt_chars
    if chars > limit:
        raise PromptTooLarge(
            f"The prompt has {chars} characters; the limit is {limit}.",
            details={"characters": chars, "limit": limit},
        )
    if request.max_tokens is not None and request.max_tokens > limits.max_tokens:
        raise RequestInvalid(
            f"max_tokens: {request.max_tokens} is more than the limit of {limits.max_tokens}.",
            details={"field": "max_tokens", "limit": limits.max_tokens},
        )
    policy = parse_policy(request.policy_name or (profile.policy if profile else "dynamic"))
    if policy.max_k > limits.max_k:
        raise RequestInvalid(
            f"The policy {policy.name} may draw {policy.max_k} samples; the limit is "
            f"{limits.max_k}.",
            code="K_OUT_OF_RANGE",
            suggested_action=f"Use k or a policy of at most {limits.max_k}, or raise limits.max_k.",
            details={"field": "policy" if request.k is None else "k", "limit": limits.max_k},
        )
    if (schema := _schema(request)) is not None:
        _check_schema(schema)
    parsed_agreement(agreement_of(request, profile))
    return profile


def profile_of(request: Request, catalogue: Catalogue) -> Profile | None:
    """The profile a request goes by: the one it names, or for findings the model's own."""
    if request.profile is not None:
        return catalogue.profile(request.profile)
    if request.findings is None:
        return None
    if request.model not in catalogue.profiles:
        raise RequestInvalid(
            f"findings needs a profile, and the model {request.model!r} comes with none.",
            code="PROFILE_REQUIRED",
            suggested_action="Name a profile, or send a prompt instead.",
        )
    return catalogue.profiles[request.model]


def agreement_of(request: Request, profile: Profile | None) -> Mapping[str, Any]:
    """When two answers to this request count as the same."""
    if request.agreement is not None:
        return request.agreement
    if profile is not None:
        return profile.agreement
    if (schema := _schema(request)) is not None:
        return {"type": "json", "schema": schema}
    if request.response_format is not None and request.response_format.type == "json_object":
        return {"type": "json"}
    return {"type": "text"}


def parsed_agreement(spec: Mapping[str, Any]) -> Agreement:
    """The agreement of a description; a description is read once.

    Raises:
        executors.resampling.AgreementInvalid: it cannot be used.
    """
    return _agreement(canonicalize(dict(spec)))


def prompt_of(request: Request, profile: Profile | None) -> Prompt:
    """What the model reads."""
    if request.messages is not None:
        turns = (Message(role=turn.role, content=turn.content) for turn in request.messages)
        return Prompt(messages=tuple(turns))
    text = request.findings if request.findings is not None else request.prompt
    assert text is not None
    return Prompt(text=profile.render(text) if profile is not None else text)


def sampling_of(request: Request, profile: Profile | None, *, seed: int | None) -> Sampling:
    """How one sample of this request is drawn: the request, else the profile, else our defaults."""
    given = request.model_dump(exclude_none=True, include=set(_SAMPLING_FIELDS))
    merged = {**(dict(profile.sampling) if profile else {}), **given}
    stop = merged.pop("stop", ())
    form = request.response_format
    schema = _schema(request)
    if schema is None and profile is not None and profile.constrain:
        schema = profile.schema
    return Sampling(
        **merged,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        logit_bias={int(k): v for k, v in (request.logit_bias or {}).items()},
        json_schema=schema,
        json_object=form is not None and form.type == "json_object",
        seed=seed,
    )


_SAMPLING_FIELDS = (
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "stop",
    "logprobs",
)


def _schema(request: Request) -> Mapping[str, Any] | None:
    form = request.response_format
    if form is None or form.type != "json_schema":
        return None
    if form.json_schema is None:
        raise RequestInvalid("response_format: json_schema is missing.")
    return form.json_schema.schema_


def _check_schema(schema: Mapping[str, Any]) -> None:
    try:
        parsed_agreement({"type": "json", "schema": schema})
    except AgreementInvalid as error:
        impossible = isinstance(error, SchemaUnsatisfiable)
        raise RequestInvalid(
            f"response_format: {error.message}.",
            code=error.code if impossible else "SCHEMA_INVALID",
            suggested_action=f"{error.suggested_action.capitalize()}.",
            details={"field": "response_format", **error.details},
        ) from error


@functools.lru_cache(maxsize=64)
def _agreement(spec: bytes) -> Agreement:
    return parse_agreement(json.loads(spec))


def _prompt_chars(request: Request) -> int:
    if request.messages is not None:
        return sum(len(turn.content) for turn in request.messages)
    return len(request.prompt if request.prompt is not None else request.findings or "")
