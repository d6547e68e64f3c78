"""What every side of `benchmarks.engine` is asked: the same prompts, seeds and lengths.

A question is one sample, drawn at a temperature with a seed of its own, as a job's samples are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.models import prompts
from executors.resampling import sample_seed

MODEL = "bench"
TEMPERATURE = 0.7

IN_FLIGHT = 64
"""Samples at once, on every side."""

MAX_NUM_SEQS = 53
"""Of every engine: 1.25 times this is 66 places, two of which are kept for interactive work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prompt and how it is answered: `max_tokens` tokens, drawn with `seed`."""

    prompt: str
    seed: int
    max_tokens: int

    def request(self) -> dict[str, Any]:
        """The request to honeyflow: one sample, whatever comes."""
        return {
            "model": MODEL,
            "prompt": self.prompt,
            "k": 1,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "temperature": TEMPERATURE,
        }

    def sampling_params(self) -> Any:
        """The same for vLLM itself: what honeyflow's sample 0 of this request is drawn with."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            n=1,
            max_tokens=self.max_tokens,
            temperature=TEMPERATURE,
            seed=sample_seed(self.seed, 0),
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_clone=True,
        )

    def plain(self) -> dict[str, Any]:
        """The question as JSON holds it; `Question(**plain)` is the way back."""
        return asdict(self)


def questions(count: int, *, max_tokens: int, number: int) -> list[Question]:
    """The questions of one round; every `number` has others, so that no cache knows them."""
    first = number * 1_000_000
    return [
        Question(prompt=prompt, seed=first + index, max_tokens=max_tokens)
        for index, prompt in enumerate(prompts(count, seed=number))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One round of one side: seconds, output tokens, CPU seconds of all its processes, answers."""

    seconds: float
    tokens: int
    cpu_s: float
    answers: tuple[str, ...] = ()

    @property
    def rate(self) -> float:
        """Output tokens per second."""
        return self.tokens / self.seconds
