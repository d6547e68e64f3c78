"""What a purge did is told in sentences."""

from __future__ import annotations

import pytest

from ledger import Purged
from tasks.purge import Purge

JOB, RECEIPT, CID = "the-job", "sha256:ab", "QmReport"


@pytest.mark.parametrize(
    ("purged", "receipt", "told"),
    [
        (
            Purged(job_id=JOB, erased=6),
            RECEIPT,
            "The texts of job the-job are erased (6 of them). Its receipt sha256:ab stays.",
        ),
        (Purged(job_id=JOB, erased=1), None, "The texts of job the-job are erased (1 of them)."),
        (
            Purged(job_id=JOB, erased=1, shared=2, published=True),
            RECEIPT,
            "The texts of job the-job are erased (1 of them). Its receipt sha256:ab stays. "
            "2 more stay, because other jobs have the same. "
            "Its report was published as QmReport: nobody can call that back.",
        ),
        (
            Purged(job_id=JOB, erased=1, perhaps=True),
            RECEIPT,
            "The texts of job the-job are erased (1 of them). Its receipt sha256:ab stays. "
            "Its report may have been published as QmReport: "
            "an upload of it was under way or had been tried.",
        ),
        (
            Purged(job_id=JOB, before=1767216600.9),
            RECEIPT,
            "The texts of job the-job were erased at 2025-12-31 21:30:00 UTC already. "
            "Its receipt sha256:ab stays.",
        ),
    ],
)
def test_a_purge_says_what_is_gone_and_what_is_not(
    purged: Purged, receipt: str | None, told: str
) -> None:
    """Figures, the receipt, and what is beyond reach."""
    assert told == Purge(purged=purged, receipt=receipt, cid=CID).told()


def test_a_purge_says_who_else_has_the_answer() -> None:
    """The next step of a chain has it in a request of its own, which no purge of this job finds."""
    told = Purge(purged=Purged(job_id=JOB, erased=4), receipt=None, cid=None, handed_on=True).told()

    assert told.endswith(
        "What it set off (the next step of a chain, a chord, a callback) was given its answer and "
        "keeps it: purge those jobs too."
    )
