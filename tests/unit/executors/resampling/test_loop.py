"""The loop: waves, resumption, failures, cancellation."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.resampling import (
    Outcome,
    Progress,
    RawSample,
    SampleMisplaced,
    Verdict,
    Vote,
    draw_until_settled,
    parse_agreement,
    parse_policy,
)
from tests.unit.executors.resampling.draws import Script, sample, settle
from tests.unit.executors.resampling.votes import CHOICE, walk

VOTES = st.text(alphabet="AAABC-", min_size=15, max_size=15)
POLICIES = st.sampled_from(
    ["dynamic", "seed_3_5_7", "lean", "balanced", "fixed:4", "lookahead:.9,1,1,12"]
)


class BrokenEngine(Exception):
    """What a draw may fail with."""


def test_the_outcome_says_all_there_is_to_say() -> None:
    """One dissenter: a second wave, and an answer from the first."""
    outcome = settle(["A", "(b)", "a.", "A", "A"])
    assert outcome == Outcome(
        answer="A",
        representative=0,
        samples=outcome.samples,
        k=5,
        k_launched=5,
        k_invalid=0,
        rounds=2,
        stop_reason="confident",
        confidence_raw=0.8,
        confidence=0.8,
        policy="dynamic",
        policy_version="1",
        decision=Verdict.ACCEPT,
        review=False,
        classes=(Vote("A", 4, 0), Vote("B", 1, 1)),
    )
    assert [(drawn.index, drawn.answer_class) for drawn in outcome.samples] == [
        (0, "A"),
        (1, "B"),
        (2, "A"),
        (3, "A"),
        (4, "A"),
    ]


def test_an_invalid_sample_is_kept_and_says_what_was_wrong() -> None:
    """It counts against the confidence."""
    outcome = settle(["A", "hm", "A"])
    assert (outcome.k, outcome.k_invalid) == (3, 1)
    assert outcome.confidence == pytest.approx(2 / 3)
    invalid = outcome.samples[1]
    assert (invalid.valid, invalid.answer_class, invalid.invalid_reason) == (
        False,
        None,
        "not_an_option",
    )


def test_without_a_valid_sample_the_first_text_goes_to_a_person() -> None:
    """No exception: the job has an answer of confidence nought."""
    outcome = settle(["hm", "er", "um", "oh", "eh", "ah", "mm"])
    assert (outcome.answer, outcome.representative, outcome.confidence) == ("hm", 0, 0.0)
    assert (outcome.k, outcome.review_reasons, outcome.classes) == (7, ("no_valid_sample",), ())


def test_a_schema_that_no_sample_meets_is_the_same_outcome() -> None:
    """The field shares are nought."""
    spec = {"type": "json", "schema": {"required": ["x"], "type": "object"}, "critical": ["/x"]}
    outcome = settle(["{}"] * 7, agreement=parse_agreement(spec))
    assert outcome.review_reasons == ("no_valid_sample",)
    assert outcome.field_shares == {"/x": 0.0}
    assert outcome.samples[0].invalid_reason == "schema:/:required"


def test_a_cut_off_sample_is_invalid_where_the_rest_could_matter() -> None:
    """A number is, an option is not, a text is not."""

    async def draw(index: int) -> RawSample:
        return sample(index, "1", finish_reason="length")

    def invalid(spec: dict[str, object]) -> int:
        policy = parse_policy("fixed:2")
        agreement = parse_agreement(spec)
        return asyncio.run(
            draw_until_settled(draw=draw, policy=policy, agreement=agreement)
        ).k_invalid

    assert invalid({"type": "number"}) == 2
    assert invalid({"type": "choice", "options": ["1", "2"]}) == 0
    assert invalid({"type": "text"}) == 0
    assert invalid({"type": "json"}) == 2


def test_the_samples_of_a_wave_run_at_once() -> None:
    """And no more than the wave."""
    script = Script(list("ABCABCA"))
    settle(script)
    assert script.most_at_once == 3
    assert script.drawn == list(range(7))


@given(votes=VOTES, policy=POLICIES, patience=st.lists(st.integers(0, 6), min_size=15, max_size=15))
def test_the_order_of_completion_changes_nothing(
    votes: str, policy: str, patience: list[int]
) -> None:
    """Nor does the loop decide otherwise than its policy on whole waves."""
    outcome = settle(Script(list(votes), patience=dict(enumerate(patience))), policy=policy)
    assert outcome == settle(list(votes), policy=policy)
    expected = walk(parse_policy(policy), votes)
    assert (outcome.k, outcome.rounds, outcome.stop_reason) == (
        expected.steps[-1],
        len(expected.steps),
        expected.reason,
    )
    if expected.leader:
        assert outcome.answer == expected.leader


@given(votes=VOTES, policy=POLICIES, data=st.data())
def test_a_job_resumed_after_any_crash_ends_as_if_nothing_had_happened(
    votes: str, policy: str, data: st.DataObject
) -> None:
    """Any subset of a wave may have been stored; none of it is drawn again."""
    script = Script(list(votes))
    whole = settle(script, policy=policy)
    steps = (0, *walk(parse_policy(policy), votes).steps)
    begin, end = data.draw(st.sampled_from(list(itertools.pairwise(steps))))
    kept = data.draw(st.sets(st.integers(begin, end - 1)))
    prior = {index: sample(index, votes[index]) for index in {*range(begin), *kept}}
    again = Script(list(votes))
    assert settle(again, policy=policy, prior=prior) == whole
    assert set(again.drawn) == set(script.drawn) - prior.keys()


def test_stored_samples_may_come_back_as_they_were_counted() -> None:
    """An outcome's own samples are as good as the engine's."""
    whole = settle(list("ABCABCA"))
    prior = {drawn.index: drawn for drawn in whole.samples}
    assert settle([], prior=prior) == whole


def test_stored_samples_beyond_the_last_wave_are_launched_but_do_not_count() -> None:
    """A policy that now asks for less leaves them aside."""
    prior = {index: sample(index, "A") for index in range(5)}
    outcome = settle([], prior=prior)
    assert (outcome.k, outcome.k_launched) == (3, 5)


def test_every_finished_sample_is_told() -> None:
    """With counts, round and present agreement; stored ones first."""
    told: list[Progress] = []
    script = Script(list("ABACA"), patience={0: 9, 3: 9})
    settle(script, prior={1: sample(1, "B")}, on_sample=told.append)
    assert [(at.index, at.resumed, at.round, at.done, at.wanted) for at in told] == [
        (1, True, 1, 1, 3),
        (2, False, 1, 2, 3),
        (0, False, 1, 3, 3),
        (4, False, 2, 4, 5),
        (3, False, 2, 5, 5),
    ]
    assert [at.leader for at in told] == ["B", "B", "A", "A", "A"]
    assert [at.agreement for at in told] == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
    assert told[-1].valid == 5


def test_a_failing_sample_ends_the_job_with_its_own_error() -> None:
    """The others of the wave are cancelled and have ended by then."""
    failure = BrokenEngine("out of luck")
    script = Script(["A", failure, "A"], patience={0: 50, 1: 2, 2: 50})
    with pytest.raises(BrokenEngine) as caught:
        settle(script)
    assert caught.value is failure
    assert script.cancelled == {0, 2}
    assert not script.running


def test_of_two_failures_the_first_is_raised() -> None:
    """The second is looked at and dropped."""
    script = Script(["A", BrokenEngine("late"), BrokenEngine("early")], patience={1: 9, 2: 2})
    with pytest.raises(BrokenEngine, match="early"):
        settle(script)
    together = Script(["A", BrokenEngine("lower"), BrokenEngine("higher")])
    with pytest.raises(BrokenEngine, match="lower"):
        settle(together)


def test_an_error_of_the_listener_stops_the_wave_too() -> None:
    """Nothing is left running."""
    script = Script(list("AAA"), patience={1: 50, 2: 50})

    def listen(_progress: Progress) -> None:
        raise BrokenEngine("screen is gone")

    with pytest.raises(BrokenEngine):
        settle(script, on_sample=listen)
    assert script.cancelled == {1, 2}
    assert not script.running


@pytest.mark.parametrize("impatient", [False, True])
def test_cancelling_the_loop_cancels_and_awaits_every_draw(impatient: bool) -> None:
    """Even when it is cancelled again while it waits for them."""
    script = Script(list("AAA"), patience=dict.fromkeys(range(3), 1_000), full_at=3)

    async def main() -> None:
        policy = parse_policy("dynamic")
        job = asyncio.ensure_future(
            draw_until_settled(draw=script, policy=policy, agreement=CHOICE)
        )
        await script.full.wait()
        job.cancel()
        if impatient:
            await asyncio.sleep(0)
            job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert not script.running
        assert script.cancelled == {0, 1, 2}
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_sample_with_another_index_is_refused() -> None:
    """Drawn or stored."""

    async def draw(index: int) -> RawSample:
        return sample(index + 1, "A")

    with pytest.raises(SampleMisplaced):
        asyncio.run(draw_until_settled(draw=draw, policy=parse_policy("dynamic"), agreement=CHOICE))
    with pytest.raises(SampleMisplaced):
        settle(list("AAA"), prior={0: sample(2, "A")})


def test_an_outcome_is_plain_data() -> None:
    """It can be written down field by field."""
    written = asdict(settle(list("AAA")))
    assert written["classes"] == (("A", 3, 0),)
    assert written["samples"][0]["text"] == "A"
