"""Where a page of moves may end, so that what was counted up to there was so at some moment.

On PostgreSQL numbers are those of transactions in the order in which they began: a job's move may
stand before the one that it came after. Counted without that one there is a job too few in one
state and one too many in another. And what one transaction wrote was never there in part.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger import Move


def whole(page: Sequence[Move], most: int) -> int:
    """How many of these moves, the oldest ones and at most so many, can be counted together.

    Of the move after `most` it must be known whether it belongs to the one before it.
    """
    ahead = end = 0
    for place, move in enumerate(page[:most], start=1):
        ahead = max(ahead, move.since_seq or 0)
        goes_on = place < len(page) and page[place].at == move.at
        if ahead <= move.seq and not goes_on:
            end = place
    return end
