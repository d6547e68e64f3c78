"""Whatever moment a succession or an adoption ends at: done again, it loses and doubles nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from ledger import LogRow, LogState, batches, logs, receipts, trees
from tasks.audit import audit
from tests.integration.receipts.crashing import Processes
from tests.integration.receipts.lives import Home, job_ids
from tests.integration.receipts.test_crashes import chosen, processes, scratch

__all__ = ["processes", "scratch"]

JOBS = job_ids(7)
TURNS = ("commit", "replace")


@pytest.fixture
def ready(processes: Processes, sqlite_template: Path, scratch: Path) -> Home:
    """A worker that is gone: two receipts are sealed, two begun, one waits."""
    home = Home.make(scratch / "ready", sqlite_template)
    assert processes.do("work", home, JOBS[:2]).status == 0
    assert processes.do("leave_unsigned", home, JOBS[2:5]).status == 0
    return home


def require_whole(home: Home, wanted: Sequence[str], *, what: str) -> list[LogRow]:
    """Each receipt is under a checkpoint once, every log holds, and all is published."""
    with home.open() as ledger:
        with ledger.read() as tx:
            found = logs.list(tx)
            leaves = [
                leaf.job_id
                for log in found
                for leaf in trees.leaves(tx, log.number, 0, log.sealed_size)
                if leaf.job_id
            ]
            for log in found:
                assert receipts.waiting(tx, log.number) == 0, what
                assert batches.unpublished(tx, log.number) == [], what
        for log in found:
            audit(ledger, log, published=home.settings.receipts_dir)
    assert Counter(leaves) == Counter(wanted), what
    return found


@pytest.mark.parametrize("between", [False, True])
def test_a_succession_may_end_before_anything_it_does(
    processes: Processes, ready: Home, scratch: Path, between: bool
) -> None:
    """Also where its worker has run before it was done again."""
    done = processes.do("succeed", ready.copy(scratch / "whole"), [])
    assert done.status == 0
    assert len(done.places) > 50
    for at in chosen(done.places, every=48, turns=TURNS):
        what = f"ended before {done.places[at - 1]}, number {at}"
        home = ready.copy(scratch / str(at))
        assert processes.do("succeed", home, [], at=at).killed, what
        if between:
            # Where the old log was closed by then, it seals nothing.
            processes.do("work", home, JOBS[:6])
        assert processes.do("succeed", home, []).status == 0, what
        assert processes.do("work", home, JOBS, seed=1).status == 0, what
        found = require_whole(home, JOBS, what=what)
        assert [log.state for log in found][-1] == LogState.OPEN, what
        assert {log.state for log in found[:-1]} == {LogState.CLOSED}, what


def test_an_adoption_may_end_before_anything_it_does(
    processes: Processes, ready: Home, scratch: Path
) -> None:
    """Its closing log is gone on with, and none closes that."""
    done = processes.do("adopt", ready.copy(scratch / "whole"), [])
    assert done.status == 0
    assert len(done.places) > 100
    for at in chosen(done.places, every=48, turns=TURNS):
        what = f"ended before {done.places[at - 1]}, number {at}"
        home = ready.copy(scratch / str(at))
        # One that takes a step less has ended before.
        ended = processes.do("adopt", home, [], at=at)
        assert ended.killed or (ended.status == 0 and at > len(ended.places)), what
        assert processes.do("adopt", home, []).status == 0, what
        found = require_whole(home, JOBS[:5], what=what)
        assert [log.state for log in found] == [LogState.CLOSED] * 2, what
