"""Samples: kept as they come, the first one stays."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from ledger import Claim, Ledger, ManualClock, jobs, samples
from tests.integration.ledger.support import begin, enter, run, sample


def test_a_sample_comes_back_as_it_was(ledger: Ledger, clock: ManualClock) -> None:
    """Every field, also a seed of 64 bits and text that no SQL text column could hold."""
    job = run(ledger, begin(ledger))
    drawn = sample(
        job,
        3,
        seed=2**64 - 1,
        text="a\0b \ud800 é",
        finish_reason="stop",
        prompt_tokens=11,
        completion_tokens=5,
        valid=False,
        invalid_reason="not JSON: \0",
        answer_class="grade=\ud800",
        logprob=-1.25,
        model_digest="sha256:aa",
        engine_digest="sha256:bb",
        prompt_digest="sha256:cc",
        duration_ms=42,
    )
    with ledger.write() as tx:
        assert samples.add(tx, drawn)
        (kept,) = samples.of(tx, job.id)

    assert kept == replace(drawn, text_digest=kept.text_digest, created_at=clock.now)
    with ledger.read() as tx:
        assert [kept] == samples.of(tx, job.id)


def test_an_empty_answer_is_a_sample_too(ledger: Ledger) -> None:
    """Read back in the same transaction and later; one whose bytes were damaged is left out."""
    job = run(ledger, begin(ledger))
    with ledger.write() as tx:
        samples.add_many(tx, [sample(job, 0, text=""), sample(job, 1, text="mild")])
        assert [kept.text for kept in samples.of(tx, job.id)] == ["", "mild"]
    with ledger.write() as tx:
        assert [kept.text for kept in samples.of(tx, job.id)] == ["", "mild"]
        damage = sa.text("UPDATE bodies SET data = :other WHERE size = 4")
        tx.execute(damage, {"other": b"grim"})
        assert [kept.text for kept in samples.of(tx, job.id)] == [""]


def test_the_first_sample_of_an_index_stays(ledger: Ledger) -> None:
    """In a later transaction and in the same one."""
    job = run(ledger, begin(ledger))
    with ledger.write() as tx:
        assert samples.add_many(
            tx, [sample(job, 1), sample(job, 0), sample(job, 1, text="other")]
        ) == [True, True, False]
        assert not samples.add(tx, sample(job, 0, text="other"))
        assert samples.add_many(tx, []) == []

    with ledger.write() as tx:
        assert not samples.add(tx, sample(job, 1, text="other"))
        assert [kept.text for kept in samples.of(tx, job.id)] == ["mild", "mild"]


def test_a_sample_of_another_model_gives_way(ledger: Ledger) -> None:
    """A job is run again after the model has changed: its samples are then the new model's."""
    first = begin(ledger)
    job = run(ledger, first)
    with ledger.write() as tx:
        samples.add_many(tx, [sample(job, n, text="old", model_digest="sha256:aa") for n in (0, 1)])
        jobs.hand_back(tx, job_id=job.id, fence=job.fence, reason="drain")
        again = jobs.claim(tx, session=first, job_id=job.id, number=2)
        assert isinstance(again, Claim)
        new = sample(again.job, 0, text="new", model_digest="sha256:bb")
        assert samples.add(tx, new)
        assert not samples.add(tx, replace(new, text="newer"))

    with ledger.read() as tx:
        assert ["new", "old"] == [kept.text for kept in samples.of(tx, job.id)]


def test_only_the_holder_of_the_fence_adds_samples(ledger: Ledger) -> None:
    """Not before the claim, not with an older fence, not for a job that nobody knows."""
    waiting, job = enter(ledger), run(ledger, begin(ledger))
    other = run(ledger, begin(ledger, "worker-2"))
    strange = replace(sample(job), job_id="unknown")
    with ledger.write() as tx:
        assert samples.add_many(
            tx, [sample(waiting), sample(job, fence=2), sample(other), strange]
        ) == [False, False, True, False]
        jobs.hand_back(tx, job_id=other.id, fence=1, reason="drain")
        assert not samples.add(tx, sample(other, 1))


def test_samples_of_many_jobs_share_their_texts(ledger: Ledger) -> None:
    """Equal answers are stored once."""
    session = begin(ledger)
    held = [run(ledger, session) for _ in range(4)]
    with ledger.write() as tx:
        added = samples.add_many(tx, [sample(job, index) for job in held for index in range(3)])

    assert added == [True] * 12
    with ledger.read() as tx:
        digests = {kept.text_digest for job in held for kept in samples.of(tx, job.id)}
        assert len(digests) == 1
