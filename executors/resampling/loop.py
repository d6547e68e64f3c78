"""Drawing samples of one job until its policy has enough.

The loop knows no engine and no store: `draw` performs one sample, wherever and however. Samples
drawn earlier come in as `prior` and are never drawn again. The loop walks the policy's waves from
the first one on, with stored samples where there are some, so a job that is resumed after any crash
ends exactly as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing

from executors.resampling.agreement import Agreement
from executors.resampling.ballot import Ballot
from executors.resampling.calibration import Calibrator, Uncalibrated
from executors.resampling.policy import Policy
from executors.resampling.settle import settle
from executors.resampling.types import Drawn, Outcome, Progress, Thresholds
from executors.resampling.wave import Draw, run_wave


async def draw_until_settled(
    *,
    draw: Draw,
    policy: Policy,
    agreement: Agreement,
    thresholds: Thresholds | None = None,
    calibrator: Calibrator | None = None,
    prior: Mapping[int, Drawn] | None = None,
    on_sample: Callable[[Progress], None] | None = None,
    critical_review: bool = True,
) -> Outcome:
    """Draw waves of samples until `policy` stops, and return the answer with its confidence.

    All samples of a wave are drawn at once, and the policy decides when all are in. If one fails,
    the others are cancelled and awaited and its error is raised as it is; cancelling this call does
    the same. `on_sample` is told of every sample that counts, stored ones first. `critical_review`
    turns the review of single critical fields on or off. Raises whatever `draw` or `on_sample`
    raises, and `SampleMisplaced` for a sample with another index than its own.
    """
    stored = dict(prior or {})
    ballot = Ballot(agreement)
    samples: dict[int, Drawn] = {}
    rounds = 0
    while (decision := policy.decide(ballot.tallies())).draw:
        rounds += 1
        wave = range(len(ballot), len(ballot) + decision.draw)
        async with aclosing(run_wave(draw, wave, stored)) as finished:
            async for index, drawn in finished:
                ballot.add(index, drawn.text, truncated=drawn.finish_reason == "length")
                samples[index] = drawn
                if on_sample is not None:
                    on_sample(
                        _progress(
                            ballot, index, resumed=index in stored, rounds=rounds, wanted=wave.stop
                        )
                    )
    return settle(
        ballot=ballot,
        samples=samples,
        launched=len(samples.keys() | stored.keys()),
        rounds=rounds,
        policy=policy,
        stop_reason=decision.reason,
        thresholds=thresholds or Thresholds(),
        calibrator=calibrator or Uncalibrated(),
        critical_review=critical_review,
    )


def _progress(ballot: Ballot, index: int, *, resumed: bool, rounds: int, wanted: int) -> Progress:
    standing = ballot.standing()
    answer = standing.representative
    return Progress(
        index=index,
        resumed=resumed,
        round=rounds,
        done=standing.n,
        wanted=wanted,
        valid=standing.valid,
        leader=None if answer is None else standing.labels[answer],
        agreement=standing.agreeing / standing.n,
    )
