"""How an attempt went: when it drew what, and when it was settled and written.

Kept in numbers only, while it runs; what is told of it afterwards (a line of the log, spans) is
made elsewhere and later. Times are the process's monotonic clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from executors import ModelInfo
from ledger import SampleRow
from tasks.plans import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One request to the engine, from its place to its end; `code` when it gave no answer."""

    index: int
    began: float
    ended: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str | None = None
    first_token_ms: int | None = None
    code: str | None = None


@dataclass(slots=True, kw_only=True)
class Course:
    """One attempt; a moment that did not come is None."""

    began: float | None = None
    settled: float | None = None
    written: float | None = None
    ended: float | None = None
    chat: bool = False
    engine: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    drawn: list[Drawn] = field(default_factory=list)

    def begin(self, plan: Plan, info: ModelInfo) -> None:
        """The plan is made; drawing begins."""
        self.chat = plan.prompt.text is None
        self.engine = info.engine
        self.max_tokens = plan.sampling.max_tokens
        self.temperature = plan.sampling.temperature

    def drew(self, row: SampleRow, began: float) -> None:
        """A sample has come."""
        self.drawn.append(
            Drawn(
                index=row.index,
                began=began,
                ended=time.monotonic(),
                prompt_tokens=row.prompt_tokens,
                completion_tokens=row.completion_tokens,
                finish_reason=row.finish_reason,
                first_token_ms=row.first_token_ms,
            )
        )

    def missed(self, index: int, began: float, error: BaseException) -> None:
        """A sample will not come."""
        code = str(getattr(error, "code", None) or "CANCELLED")
        self.drawn.append(Drawn(index=index, began=began, ended=time.monotonic(), code=code))
