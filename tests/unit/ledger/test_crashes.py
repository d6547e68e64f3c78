"""The crash rule, by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.crashes import judge

IN_FLIGHT = st.integers(0, 200)


@given(in_flight=IN_FLIGHT)
def test_without_a_crash_nothing_changes(in_flight: int) -> None:
    """A lost lease is no crash."""
    verdict = judge(in_flight, crashed=False)

    assert (False, False) == (verdict.counts, verdict.shared)


@given(in_flight=IN_FLIGHT)
def test_a_crash_counts_only_against_whom_it_hits_alone(in_flight: int) -> None:
    """Of several nobody knows whose it is."""
    verdict = judge(in_flight, crashed=True)

    assert (in_flight == 1, in_flight > 1) == (verdict.counts, verdict.shared)
