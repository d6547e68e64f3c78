"""The replay of policies on the simulated population, at the size of its quick run."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
import pytest

from benchmarks import resampling
from benchmarks.population import SETS, Orders, count, record, shuffle
from executors.resampling import RawSample, draw_until_settled, parse_agreement, parse_policy
from tests.unit.executors.resampling.draws import sample


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """The figures of the last line."""
    study = resampling.run(questions=400, orders=20)
    return resampling.summarise(study)


def test_thorough_answers_as_adaptive_consistency_in_a_quarter_of_the_rounds(
    figures: dict[str, Any],
) -> None:
    """On every order of every question, and with fewer samples."""
    assert figures["thorough_same_answers"] is True
    assert figures["thorough_samples_ratio"] < 1
    assert figures["thorough_rounds_ratio"] == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("name", ["dynamic", "lean"])
def test_it_beats_the_documented_seed_in_points_and_its_code_in_samples(
    figures: dict[str, Any], name: str
) -> None:
    """By more than chance: the whole interval lies on one side."""
    assert figures[f"{name}_minus_seed_documented_points"] > 0
    assert figures["intervals_95"][f"{name}_minus_seed_documented_points"][0] > 0
    assert figures[f"{name}_minus_seed_code_samples"] < -1


def test_lean_beats_the_documented_seed_in_samples_too(figures: dict[str, Any]) -> None:
    """It is better and cheaper at once."""
    assert figures["lean_minus_seed_documented_samples"] < 0


def test_the_replay_is_what_the_loop_does() -> None:
    """The same answers, samples and rounds as drawing them one job at a time."""
    rng = np.random.default_rng(3)
    orders = shuffle(record(SETS[0], number=40, rng=rng), orders=2, rng=rng)
    agreement = parse_agreement({"type": "choice", "options": [str(c) for c in range(13)]})
    for name in ("dynamic", "seed_3_5_7", "thorough"):
        replay = resampling.replay_policy(parse_policy(name), orders)
        for row, answers in enumerate(orders.answers):

            async def draw(
                index: int, texts: tuple[str, ...] = tuple(map(str, answers))
            ) -> RawSample:
                return sample(index, texts[index])

            outcome = asyncio.run(
                draw_until_settled(draw=draw, policy=parse_policy(name), agreement=agreement)
            )
            assert (outcome.answer, outcome.k, outcome.rounds) == (
                str(replay.answer[row]),
                replay.drawn[row],
                replay.rounds[row],
            )


def test_the_last_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """With the figures by name, after a table that names every policy."""
    assert resampling.main(["--quick", "--table"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert result["thorough_same_answers"] is True
    assert {
        "thorough_samples_ratio",
        "thorough_rounds_ratio",
        "decision_us",
        "versions",
        "dynamic_minus_seed_documented_points",
        "lean_minus_seed_documented_points",
        "lean_minus_seed_code_samples",
    } <= result.keys()
    assert {line.split("|")[1].strip() for line in lines[2:]} == set(resampling.contenders())


def test_the_anchors_do_what_their_descriptions_say() -> None:
    """On votes written out by hand: class 0 right, 40 samples a row."""
    rows = np.array([[0] * 40, [0, 1, 2, 3] * 10, [0, 0, 1, 1, 2] + [1] * 35])
    v1, v2, leader = count(rows, 5)
    orders = Orders(answers=rows, lengths=np.ones(rows.shape), v1=v1, v2=v2, leader=leader)
    seed = resampling.replay_seed_published(orders)
    assert (list(seed.drawn), list(seed.rounds), list(seed.answer)) == (
        [5, 12, 12],
        [1, 2, 2],
        [0, 1, 1],
    )
    adaptive = resampling.replay_adaptive(40)(orders)
    assert list(adaptive.drawn) == [4, 40, 11]
    windows = resampling.replay_windows(5)(orders)
    assert (list(windows.drawn), list(windows.rounds)) == ([5, 40, 10], [1, 8, 2])
