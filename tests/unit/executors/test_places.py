"""Places are given by priority, then by arrival, and never more than there are."""

from __future__ import annotations

import asyncio

import pytest

from executors.errors import ExecutorError, RequestAborted
from executors.places import Places


def never() -> asyncio.Future[ExecutorError]:
    return asyncio.get_running_loop().create_future()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_waiting_requests_are_served_by_priority_and_arrival() -> None:
    """Lower first; equals in the order in which they came."""

    async def main() -> list[str]:
        places, order, leave = Places(1), [], asyncio.Event()

        async def visit(name: str, priority: int) -> None:
            async with places.one(priority=priority, fate=never()):
                order.append(name)
                await leave.wait()

        visits = []
        for name, priority in [("first", 9), ("late", 9), ("normal", 3), ("urgent", 0), ("n2", 3)]:
            visits.append(asyncio.ensure_future(visit(name, priority)))
            await settle()
        leave.set()
        await asyncio.gather(*visits)
        assert places.peak == 1
        return order

    assert asyncio.run(main()) == ["first", "urgent", "normal", "n2", "late"]


def test_who_is_cancelled_while_waiting_takes_no_place() -> None:
    """A place that was given in the same moment is passed on."""

    async def main() -> None:
        places = Places(1)
        holding = asyncio.Event()

        async def hold() -> None:
            async with places.one(priority=0, fate=never()):
                await holding.wait()

        async def pass_through() -> str:
            async with places.one(priority=0, fate=never()):
                return "served"

        holder = asyncio.ensure_future(hold())
        await settle()
        leaving = asyncio.ensure_future(pass_through())
        staying = asyncio.ensure_future(pass_through())
        await settle()
        holding.set()
        leaving.cancel()
        assert await staying == "served"
        await holder
        assert await pass_through() == "served"

    asyncio.run(main())


def test_a_fate_that_is_decided_ends_the_waiting() -> None:
    """A request that is aborted does not wait for its turn to hear of it."""

    async def main() -> None:
        places, fate = Places(1), never()
        async with places.one(priority=0, fate=never()):

            async def wait() -> None:
                async with places.one(priority=0, fate=fate):
                    pass

            waiting = asyncio.ensure_future(wait())
            await settle()
            fate.set_result(RequestAborted("over", suggested_action="none"))
            with pytest.raises(RequestAborted):
                await waiting
        async with places.one(priority=0, fate=never()):
            pass

    asyncio.run(main())
