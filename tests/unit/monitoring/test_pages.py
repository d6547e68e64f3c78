"""Where a page of moves may end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger import Move, State
from monitoring import pages
from tests.unit.monitoring.test_counting import move

steps = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 2), st.none() | st.integers(1, 12)), max_size=8
)


def made(told: list[tuple[int, int, int | None]]) -> list[Move]:
    """Moves in the order of their numbers: each so far from the last, and after which number."""
    seq, at, found = 0, 0.0, []
    for far, later, since in told:
        seq, at = seq + far, at + later
        found.append(move(None, State.QUEUED, seq=seq, at=at, since_seq=since))
    return found


@given(steps, st.integers(1, 9))
def test_a_page_ends_where_everything_before_it_is_in_it(
    told: list[tuple[int, int, int | None]], most: int
) -> None:
    """No move is in it without the one that it came after, nor a transaction in part."""
    page = made(told)
    end = pages.whole(page, most)
    assert 0 <= end <= min(most, len(page))
    counted, left = page[:end], page[end:]
    if counted:
        assert max(one.since_seq or 0 for one in counted) <= counted[-1].seq
        assert not left or left[0].at != counted[-1].at


@given(steps, st.integers(1, 9))
def test_it_is_the_longest_such_page(told: list[tuple[int, int, int | None]], most: int) -> None:
    """Nothing waits without a reason."""
    page = made(told)
    for end in range(pages.whole(page, most) + 1, min(most, len(page)) + 1):
        ahead = max(one.since_seq or 0 for one in page[:end]) > page[end - 1].seq
        halved = end < len(page) and page[end].at == page[end - 1].at
        assert ahead or halved
