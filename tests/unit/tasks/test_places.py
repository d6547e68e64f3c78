"""The weighted semaphore that keeps an engine full and nobody waiting for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasks.places import LATER_WAVE, NEW_JOB, Places


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end."""
    return asyncio.run(work)


def test_places_are_taken_and_given_back() -> None:
    """Free counts both ways."""

    async def work() -> tuple[int, int]:
        places = Places(total=8, kept=0)
        await places.take(3)
        during = places.free
        places.give(3)
        return during, places.free

    assert (5, 8) == run(work())


def test_a_later_wave_goes_before_a_new_job() -> None:
    """A job that has begun is finished first."""

    async def work() -> list[str]:
        places = Places(total=2, kept=0)
        await places.take(2)
        order: list[str] = []

        async def wait(name: str, kind: int) -> None:
            await places.take(1, kind=kind)
            order.append(name)

        waiting = [
            asyncio.create_task(wait("new", NEW_JOB)),
            asyncio.create_task(wait("later", LATER_WAVE)),
        ]
        await asyncio.sleep(0)
        places.give(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        places.give(1)
        await asyncio.gather(*waiting)
        return order

    assert ["later", "new"] == run(work())


def test_whoever_was_served_is_not_overtaken_before_it_wakes_up() -> None:
    """One that comes in the same turn of the loop comes after it."""

    async def work() -> list[str]:
        places = Places(total=2, kept=0)
        await places.take(2)
        order: list[str] = []

        async def wait(name: str) -> None:
            await places.take(1)
            order.append(name)

        first = asyncio.create_task(wait("first"))
        await asyncio.sleep(0)
        second = asyncio.create_task(wait("second"))
        places.give(2)
        await asyncio.gather(first, second)
        return order

    assert ["first", "second"] == run(work())


def test_the_first_in_line_is_not_overtaken_by_a_smaller_one() -> None:
    """Otherwise a job with a wide first wave would starve."""

    async def work() -> list[int]:
        places = Places(total=4, kept=0)
        await places.take(4)
        order: list[int] = []

        async def wait(count: int) -> None:
            await places.take(count)
            order.append(count)

        waiting = [asyncio.create_task(wait(3)), asyncio.create_task(wait(1))]
        await asyncio.sleep(0)
        places.give(1)
        await asyncio.sleep(0)
        early = list(order)
        places.give(3)
        await asyncio.gather(*waiting)
        return [*early, *order]

    assert [3, 1] == run(work())


def test_interactive_work_finds_the_kept_places() -> None:
    """Two places are not given to a batch, however long it is."""

    async def work() -> bool:
        places = Places(total=20, kept=2)
        await places.take(18, priority=6)
        batch = asyncio.create_task(places.take(1, priority=6))
        await asyncio.sleep(0)
        await asyncio.wait_for(places.take(1, priority=0), timeout=1)
        blocked = not batch.done()
        batch.cancel()
        return blocked

    assert run(work())


def test_one_who_stops_waiting_leaves_no_hole() -> None:
    """Cancelling a waiter serves the one behind it."""

    async def work() -> int:
        places = Places(total=2, kept=0)
        await places.take(2)
        first = asyncio.create_task(places.take(2))
        second = asyncio.create_task(places.take(1))
        await asyncio.sleep(0)
        first.cancel()
        places.give(1)
        await asyncio.wait_for(second, timeout=1)
        return places.free

    assert 0 == run(work())


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=40))
def test_no_place_is_ever_lost(requests: list[tuple[int, bool]]) -> None:
    """Whoever takes, waits or gives up: in the end every place is free again."""

    async def work() -> int:
        places = Places(total=5, kept=0)

        async def use(count: int) -> None:
            await places.take(count)
            try:
                await asyncio.sleep(0)
            finally:
                places.give(count)

        users = [asyncio.create_task(use(count)) for count, _ in requests]
        await asyncio.sleep(0)
        for user, (_, stops) in zip(users, requests, strict=True):
            if stops:
                user.cancel()
        await asyncio.gather(*users, return_exceptions=True)
        return places.free

    assert 5 == run(work())
