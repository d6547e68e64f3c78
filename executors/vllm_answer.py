"""One request's outputs from vLLM, put together into one answer.

vLLM sends either the whole answer at its end or pieces of it as they come; the last output says how
it ended. Only `stop` and `length` are answers.
"""

from __future__ import annotations

import time
from typing import Any

from executors.errors import RequestAborted
from executors.types import Completion, Error, FinishReason, GenerateRequest, Metrics, Token

ANSWERED = frozenset(reason.value for reason in FinishReason)


class Answer:
    """What has come of one request so far."""

    def __init__(self, *, request: GenerateRequest, prompt_tokens: int) -> None:
        self._request = request
        self._prompt_tokens = prompt_tokens
        self._started = time.monotonic()
        self._first_token_s: float | None = None
        self._pieces: list[str] = []
        self._tokens = 0
        self._cached = 0
        self._logprob = 0.0
        self._index = 0
        self._reason: str | None = None

    def add(self, output: Any) -> Token | None:
        """Take a `RequestOutput`; gives the event of its text if the request is streamed."""
        completion = output.outputs[0]
        self._tokens += len(completion.token_ids)
        self._logprob = completion.cumulative_logprob or self._logprob
        self._cached = output.num_cached_tokens or self._cached
        self._reason = completion.finish_reason
        self._note_first_token(output)
        if not completion.text:
            return None
        self._pieces.append(completion.text)
        if not self._request.stream:
            return None
        self._index += 1
        return Token(text=completion.text, index=self._index - 1)

    def check_finished(self) -> None:
        """Refuse an end that is no answer; raises `RequestAborted`."""
        if self._reason not in ANSWERED:
            raise RequestAborted(
                f"the engine ended this request with {self._reason!r} and not with an answer",
                suggested_action="Send the request again.",
                details={"finish_reason": self._reason},
            )

    def metrics(self) -> Metrics:
        """How fast it went, seen from here; the first token as the engine saw it."""
        total_s = time.monotonic() - self._started
        return Metrics(
            first_token_s=self._first_token_s,
            total_s=total_s,
            tokens_per_s=self._tokens / total_s if total_s > 0 else None,
        )

    def completion(self) -> Completion:
        """The answer."""
        wanted = self._request.sampling.logprobs is not None
        return Completion(
            text="".join(self._pieces),
            finish_reason=FinishReason(self._reason or ""),
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._tokens,
            cached_tokens=self._cached,
            mean_logprob=self._logprob / self._tokens if wanted and self._tokens else None,
        )

    def _note_first_token(self, output: Any) -> None:
        if self._first_token_s is not None or not self._tokens:
            return
        # With statistics off there are no metrics, and a whole answer tells nothing of its first
        # token.
        measured = getattr(output.metrics, "first_token_latency", 0.0)
        if measured:
            self._first_token_s = measured
        elif self._request.stream:
            self._first_token_s = time.monotonic() - self._started


def client_errors() -> tuple[type[Exception], ...]:
    """What vLLM raises for a request that it will never run."""
    import vllm.exceptions

    newer = getattr(vllm.exceptions, "VLLMClientError", ValueError)
    return (newer, ValueError)


def engine_error(error: Exception) -> Error:
    """The event of a request that failed while the engine lives on."""
    cause = error.__cause__ or error
    reason = f"{type(cause).__name__}: {cause}"
    return Error(
        code="ENGINE_ERROR",
        message=f"the engine failed this request: {reason}",
        suggested_action="Try again; if it fails again, look at the engine's log.",
        retriable=True,
        details={"reason": reason},
    )
