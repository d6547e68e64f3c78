"""Replay resampling policies on the simulated population of questions.

    python -m benchmarks.resampling [--quick] [--table]

Every policy sees the same random orders of the same forty answers to each question. The project's
own policies are replayed through their `decide`; the anchors are written here from their
descriptions: fixed K, the seed project's two readings, Adaptive-Consistency (arXiv 2305.11860) and
early-stopping self-consistency (ESC, arXiv 2401.10480). Means are over the sets ("macro");
differences are paired and carry a 95 % interval from a bootstrap over questions. The last line of
the output is one JSON object.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bars import options, say, tell, versions
from benchmarks.population import RECORDED, SETS, Floats, Ints, Orders, count, record, shuffle
from executors.resampling import Policy, Tally, parse_policy

SEED = 20_260_101
OWN = ("latency", "lean", "balanced", "deep", "thorough", "dynamic")
FIXED = (3, 5, 7, 10, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What one policy did on every row: its answer, samples paid, rounds waited, critical path."""

    answer: Ints
    drawn: Ints
    rounds: Ints
    path: Floats


def replay_policy(policy: Policy, orders: Orders) -> Replay:
    """Replay one of the project's policies, wave by wave, through a table of its decisions."""
    table = np.zeros((policy.max_k + 1, RECORDED + 1, RECORDED + 1), dtype=np.int64)
    for n in range(policy.max_k + 1):
        for first in range(n + 1):
            for second in range(min(first, n - first) + 1):
                table[n, first, second] = policy.decide([Tally(n=n, v1=first, v2=second)]).draw
    every = np.arange(len(orders.answers))
    drawn, rounds = np.zeros_like(every), np.zeros_like(every)
    path = np.zeros(len(every))
    while True:
        wave = table[drawn, orders.v1[every, drawn], orders.v2[every, drawn]]
        if not wave.any():
            return Replay(answer=orders.leader[every, drawn], drawn=drawn, rounds=rounds, path=path)
        path += longest(orders.lengths, drawn, wave)
        rounds += wave > 0
        drawn += wave


def longest(lengths: Floats, start: Ints, width: Ints) -> Floats:
    """Return the longest of `width` samples from `start`, row by row; 0 for an empty wave."""
    places = np.arange(lengths.shape[1])
    inside = (places >= start[:, None]) & (places < (start + width)[:, None])
    return np.asarray(np.where(inside, lengths, 0.0).max(axis=1))


def replay_named(name: str) -> Callable[[Orders], Replay]:
    """Return the replay of the project's policy of that name."""
    return partial(replay_policy, parse_policy(name))


def replay_seed_published(orders: Orders) -> Replay:
    """Replay the seed's public worker: 5 samples; below .55 they are thrown away for 7 new ones."""
    again = orders.v1[:, 5] < 0.55 * 5
    _, _, leader = count(orders.answers[:, 5:12], int(orders.answers.max()) + 1)
    rows = len(again)
    first = longest(orders.lengths, np.zeros(rows, dtype=int), np.full(rows, 5))
    second = longest(orders.lengths, np.full(rows, 5), np.where(again, 7, 0))
    return Replay(
        answer=np.where(again, leader[:, 7], orders.leader[:, 5]),
        drawn=np.where(again, 12, 5),
        rounds=1 + again.astype(np.int64),
        path=first + second,
    )


def replay_adaptive(cap: int, threshold: float = 0.95) -> Callable[[Orders], Replay]:
    """Return the replay of Adaptive-Consistency: one at a time until P(leader is ahead) is enough.

    The Beta tail above one half follows from the recurrence p(a, b) = (p(a-1, b) + p(a, b-1)) / 2
    with p(-1, b) = 0 and p(a, -1) = 1, so that it shares no code with the policies.
    """
    tail = np.zeros((cap + 2, cap + 2))
    tail[1:, 0] = 1.0
    for a in range(1, cap + 2):
        for b in range(1, cap + 2):
            tail[a, b] = (tail[a - 1, b] + tail[a, b - 1]) / 2

    def replay(orders: Orders) -> Replay:
        enough = tail[orders.v1[:, 1 : cap + 1] + 1, orders.v2[:, 1 : cap + 1] + 1] >= threshold
        enough[:, -1] = True
        return _sequential(orders, 1 + enough.argmax(axis=1))

    return replay


def _sequential(orders: Orders, drawn: Ints) -> Replay:
    every = np.arange(len(drawn))
    return Replay(
        answer=orders.leader[every, drawn],
        drawn=drawn,
        rounds=drawn,
        path=orders.lengths.cumsum(axis=1)[every, drawn - 1],
    )


def replay_windows(width: int) -> Callable[[Orders], Replay]:
    """Return the replay of ESC: windows of `width` until one is unanimous, at most 40 samples."""

    def replay(orders: Orders) -> Replay:
        rows = len(orders.answers)
        drawn, rounds, path = np.zeros(rows, dtype=int), np.zeros(rows, dtype=int), np.zeros(rows)
        running = np.ones(rows, dtype=bool)
        for start in range(0, RECORDED, width):
            window = orders.answers[:, start : start + width]
            size = np.where(running, window.shape[1], 0)
            path += longest(orders.lengths, np.full(rows, start), size)
            drawn, rounds = drawn + size, rounds + running
            running &= (window != window[:, :1]).any(axis=1)
        answer = orders.leader[np.arange(rows), drawn]
        return Replay(answer=answer, drawn=drawn, rounds=rounds, path=path)

    return replay


def contenders() -> dict[str, Callable[[Orders], Replay]]:
    """Return every replayed policy by name."""
    return {
        **{f"fixed {k}": replay_named(f"fixed:{k}") for k in FIXED},
        "seed, published code": replay_seed_published,
        "seed, documented": replay_named("seed_3_5_7"),
        "AC .95, cap 40": replay_adaptive(40),
        "AC .95, cap 10": replay_adaptive(10),
        **{f"ESC, w={width}": replay_windows(width) for width in (3, 5, 8)},
        **{name: replay_named(name) for name in OWN},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """All replays: by policy, then by set; `orders` is how many rows belong to each question."""

    orders: int
    replays: dict[str, list[Replay]]

    def mean(self, name: str, measure: Callable[[Replay], NDArray[Any]]) -> float:
        """Return the mean over sets of a measure's mean."""
        return float(np.mean([measure(replay).mean() for replay in self.replays[name]]))

    def p95(self, name: str, measure: Callable[[Replay], NDArray[Any]]) -> float:
        """Return the mean over sets of a measure's 95th percentile."""
        return float(np.mean([np.percentile(measure(replay), 95) for replay in self.replays[name]]))

    def difference(
        self, name: str, base: str, measure: Callable[[Replay], NDArray[Any]]
    ) -> tuple[float, float, float]:
        """Return the paired difference of two policies and its 95 % interval over questions."""
        rng = np.random.default_rng(SEED)
        total, resampled = 0.0, np.zeros(1000)
        for ours, theirs in zip(self.replays[name], self.replays[base], strict=True):
            rows = measure(ours).astype(float) - measure(theirs)
            questions = rows.reshape(-1, self.orders).mean(axis=1)
            picks = rng.integers(len(questions), size=(1000, len(questions)))
            total += questions.mean() / len(self.replays[name])
            resampled += questions[picks].mean(axis=1) / len(self.replays[name])
        low, high = np.percentile(resampled, (2.5, 97.5))
        return total, float(low), float(high)


def points(replay: Replay) -> Floats:
    """Measure: 100 for a right answer, 0 for a wrong one."""
    return np.where(replay.answer == 0, 100.0, 0.0)


def samples(replay: Replay) -> Ints:
    """Measure: samples paid for."""
    return replay.drawn


def rounds(replay: Replay) -> Ints:
    """Measure: waves waited for."""
    return replay.rounds


def path(replay: Replay) -> Floats:
    """Measure: the longest sample of every wave, summed, in mean sample lengths."""
    return replay.path


def run(*, questions: int, orders: int, seed: int = SEED) -> Study:
    """Replay every policy on `orders` orders of `questions` questions of every set."""
    rng = np.random.default_rng(seed)
    replays: dict[str, list[Replay]] = {name: [] for name in contenders()}
    for question_set in SETS:
        recording = record(question_set, number=questions, rng=rng)
        shuffled = shuffle(recording, orders=orders, rng=rng)
        for name, replay in contenders().items():
            replays[name].append(replay(shuffled))
    return Study(orders=orders, replays=replays)


def summarise(study: Study) -> dict[str, Any]:
    """Return the figures of the last line: comparisons and their intervals."""
    adaptive = "AC .95, cap 40"
    pairs = zip(study.replays["thorough"], study.replays[adaptive], strict=True)
    figures: dict[str, Any] = {
        "thorough_same_answers": all(bool((a.answer == b.answer).all()) for a, b in pairs),
        "thorough_samples_ratio": study.mean("thorough", samples) / study.mean(adaptive, samples),
        "thorough_rounds_ratio": study.mean("thorough", rounds) / study.mean(adaptive, rounds),
    }
    intervals = {}
    for name in ("dynamic", "lean"):
        for base, measure, suffix in (
            ("seed, documented", points, "seed_documented_points"),
            ("seed, documented", samples, "seed_documented_samples"),
            ("seed, published code", points, "seed_code_points"),
            ("seed, published code", samples, "seed_code_samples"),
        ):
            key = f"{name}_minus_{suffix}"
            figures[key], *intervals[key] = study.difference(name, base, measure)
    return {**figures, "intervals_95": intervals}


def decision_us() -> float:
    """Return the time of one decision in microseconds: every state of `thorough`, table filled."""
    policy = parse_policy("thorough")
    states = [
        [Tally(n=n, v1=first, v2=second)]
        for n in range(4, 41)
        for first in range(n + 1)
        for second in range(min(first, n - first) + 1)
    ]
    best = float("inf")
    for _ in range(6):
        started = time.perf_counter()
        for tallies in states:
            policy.decide(tallies)
        best = min(best, time.perf_counter() - started)
    return best / len(states) * 1e6


def table(study: Study, *, markdown: bool) -> str:
    """Return the comparison as text, one line per policy."""
    head = ("policy", "right %", "K", "p95 K", "rounds", "p95 rounds", "path")
    lines = [
        (
            name,
            f"{study.mean(name, points):.2f}",
            f"{study.mean(name, samples):.2f}",
            f"{study.p95(name, samples):.1f}",
            f"{study.mean(name, rounds):.2f}",
            f"{study.p95(name, rounds):.1f}",
            f"{study.mean(name, path):.2f}",
        )
        for name in study.replays
    ]
    if markdown:
        ruled = [head, ("---", *["---:"] * (len(head) - 1)), *lines]
        return "\n".join(f"| {' | '.join(line)} |" for line in ruled)
    return "\n".join(
        line[0].ljust(22) + "".join(cell.rjust(12) for cell in line[1:]) for line in [head, *lines]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the replay and print the table and, last, one JSON object."""
    parser = options("resampling", __doc__, quick="fewer questions, a few seconds")
    parser.add_argument("--table", action="store_true", help="print the table as Markdown")
    chosen = parser.parse_args(arguments)
    questions, orders = (400, 20) if chosen.quick else (1000, 25)
    started = time.perf_counter()
    study = run(questions=questions, orders=orders)
    figures = summarise(study)
    say(table(study, markdown=chosen.table))
    policies = {name: parse_policy(name).version for name in ("seed_3_5_7", *OWN)}
    result = {
        **figures,
        "decision_us": decision_us(),
        "questions": questions * len(SETS),
        "orders": orders,
        "seed": SEED,
        "seconds": time.perf_counter() - started,
        "versions": {**versions(["honeyflow", "numpy"]), "policies": policies},
    }
    tell("resampling", result, quick=chosen.quick)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
