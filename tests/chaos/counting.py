"""Processes that count a ledger's moves for as long as they live, a few at a time.

`python -m tests.chaos.counting URL` begins one for each line of its input, which says its number
when it counts; the next one begins when that one has ended. Forked, because that takes no time.
"""

from __future__ import annotations

import os
import sys
import time

from ledger import Ledger
from monitoring.follower import Follower


def main(url: str) -> None:
    """Begin one after the other."""
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            count(url)
        os.waitpid(child, 0)


def count(url: str) -> None:
    """Count until somebody ends it."""
    with Ledger.open(url) as ledger:
        follower = Follower(ledger, holder=f"process {os.getpid()}", batch=20)
        sys.stdout.write(f"{os.getpid()}\n")
        sys.stdout.flush()
        while True:
            if not follower.advance():
                time.sleep(0.002)


if __name__ == "__main__":
    main(sys.argv[1])
