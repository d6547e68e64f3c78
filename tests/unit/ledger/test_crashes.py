"""The crash rule, by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.crashes import judge

IN_FLIGHT = st.lists(st.booleans(), max_size=70)


@given(suspects=IN_FLIGHT)
def test_without_a_crash_nothing_changes(suspects: list[bool]) -> None:
    """A lost lease is no crash."""
    verdicts = judge(suspects, crashed=False)

    assert [verdict.suspect for verdict in verdicts] == suspects
    assert not any(verdict.counts for verdict in verdicts)


@given(suspects=IN_FLIGHT)
def test_a_crash_counts_against_one_job_at_most(suspects: list[bool]) -> None:
    """The one suspect, or the one job that was there at all."""
    verdicts = judge(suspects, crashed=True)
    counted = [index for index, verdict in enumerate(verdicts) if verdict.counts]

    if sum(suspects) == 1:
        assert counted == [suspects.index(True)]
    elif len(suspects) == 1:
        assert counted == [0]
    else:
        assert counted == []


@given(suspects=IN_FLIGHT)
def test_all_are_suspects_only_where_nobody_was(suspects: list[bool]) -> None:
    """Beside a suspect the others are innocent."""
    verdicts = judge(suspects, crashed=True)
    expected = suspects if any(suspects) else [True] * len(suspects)

    assert [verdict.suspect for verdict in verdicts] == expected
