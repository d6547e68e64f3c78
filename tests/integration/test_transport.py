"""What Redis is told of messages in hand, on a hub that turns as a worker's does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from celery import Celery
from kombu.asynchronous import Hub, set_event_loop
from redis.exceptions import OutOfMemoryError

from routing import list_keys
from tasks import unacked
from tasks.celery import HoneyflowCelery
from tasks.unacked import NOTE_S
from tests.chaos.harness import MODEL, YES, Cluster

QUEUE = f"model.{MODEL}"
KEY = list_keys(QUEUE)[1]


class Consuming:
    """Somebody who takes a queue's messages, and acks none by themselves; `seen` looks at each."""

    def __init__(
        self, app: HoneyflowCelery, *, most: int = 0, seen: Callable[[Any], object] = id
    ) -> None:
        self._hub = Hub()
        set_event_loop(self._hub)
        self._connection: Any = app.connection_for_read()
        self._connection.connect()
        self.taken: list[Any] = []

        def take(message: Any) -> None:
            seen(message)
            self.taken.append(message)

        consumer = self._connection.Consumer([app.amqp.queues[QUEUE]], on_message=take)
        consumer.qos(prefetch_count=most)
        self._connection.transport.register_with_event_loop(self._connection.connection, self._hub)
        consumer.consume()
        self._turns = self._hub.create_loop()

    @property
    def ids(self) -> list[str]:
        """The ids of the jobs whose messages it has taken."""
        return [message.headers["id"] for message in self.taken]

    def turn(self, seconds: float) -> None:
        """Let the hub turn for so long."""
        self.until(lambda: False, seconds)

    def until(self, check: Callable[[], object], seconds: float = 10.0) -> None:
        """Let the hub turn until this holds, or for so long."""
        until = time.monotonic() + seconds
        while not check() and (left := until - time.monotonic()) > 0:
            # A timer of its own, so that a hub with nothing to do wakes up.
            waking = self._hub.call_later(min(left, 0.05), int)
            next(self._turns)
            waking.cancel()

    def lose(self) -> None:
        """Take the connection for lost, as Celery's consumer does."""
        self._connection.close()

    def close(self) -> None:
        """Close it."""
        self._connection.release()
        self._hub.close()
        set_event_loop(None)


@pytest.fixture
def consuming(place: Cluster) -> Iterator[Callable[..., Consuming]]:
    """Makes consumers; whatever is owed after a test was not put back."""
    made: list[Consuming] = []

    def begin(**options: Any) -> Consuming:
        made.append(Consuming(place.client.app, **options))
        return made[-1]

    yield begin
    for one in made:
        one.close()
    unacked._settled.clear()
    owed = dict(unacked._owed)
    unacked._owed.clear()
    assert {} == owed


def noted(place: Cluster) -> list[str]:
    """The ids of the messages that Redis knows to be in hand, in both of the places for that."""
    redis = place.redis()
    kept: Any = redis.hgetall("unacked")
    assert set(kept) == set(redis.zrange("unacked_index", 0, -1))
    return sorted(json.loads(one)[0]["headers"]["id"] for one in kept.values())


def listed(place: Cluster) -> list[str]:
    """The ids of the messages in the queue's list, the one to be taken next first."""
    elements: Sequence[bytes] = place.redis().lrange(KEY, 0, -1)  # type: ignore[assignment]
    return [json.loads(one)["headers"]["id"] for one in reversed(elements)]


def writes(place: Cluster, command: str) -> int:
    """How often Redis was given a command since its count began."""
    told: Any = place.redis().info("commandstats")
    return int(told.get(f"cmdstat_{command}", {}).get("calls", 0))


def fill(place: Cluster) -> None:
    """Let Redis refuse whatever needs memory."""
    redis: Any = place.redis()
    redis.config_set("maxmemory", redis.info("memory")["used_memory"] - 500_000)


def test_a_message_that_is_claimed_at_once_is_never_noted(
    place: Cluster, consuming: Callable[..., Consuming]
) -> None:
    """Redis writes nothing for it but the pop."""
    ids = place.submit(5)
    place.redis().config_resetstat()
    worker = consuming(seen=lambda message: message.ack())

    worker.until(lambda: len(worker.taken) == 5)
    worker.turn(3 * NOTE_S)

    assert ids == worker.ids
    assert [0] * 4 == [writes(place, name) for name in ("hset", "zadd", "hdel", "zrem")]
    assert [] == noted(place)


def test_a_message_that_stays_in_hand_is_noted_and_forgotten(
    place: Cluster, consuming: Callable[..., Consuming]
) -> None:
    """Not before its time; what several moments need is told in one go."""
    ids = sorted(place.submit(3))
    place.redis().config_resetstat()
    came: list[float] = []
    before: list[list[str]] = []

    def seen(message: Any) -> None:
        came.append(time.monotonic())
        before.append(noted(place))

    worker = consuming(seen=seen)
    worker.until(lambda: noted(place))
    took = time.monotonic() - came[0]

    assert [[]] * 3 == before
    assert ids == noted(place)
    assert took >= NOTE_S
    assert 1 == writes(place, "hset")
    for message in worker.taken:
        message.ack()
    worker.until(lambda: not noted(place))
    assert [] == noted(place)
    assert 1 == writes(place, "hdel")


def test_an_ordinary_task_is_noted_before_it_runs(
    place: Cluster, consuming: Callable[..., Consuming]
) -> None:
    """Nobody could send it again."""
    sent = Celery.send_task(place.client.app, "other.task", queue=QUEUE)
    told: list[list[str]] = []

    worker = consuming(seen=lambda _: told.append(noted(place)))
    worker.until(lambda: worker.taken)

    assert [[sent.id]] == told
    worker.taken[0].ack()
    assert [] == noted(place)


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_in_hand_when_redis_died_comes_back(
    place: Cluster, consuming: Callable[..., Consuming], *, kept: bool
) -> None:
    """Once, as soon as it answers, whether it was told of it or not; what was done does not."""
    first = consuming()
    done, *ids = place.submit(4)
    first.until(lambda: len(first.taken) == 4)
    if kept:
        first.until(lambda: len(noted(place)) == 4)
    first.taken[0].ack()
    first.until(lambda: done not in noted(place), seconds=1.0)
    assert (sorted(ids) if kept else []) == noted(place)

    place.broker.kill()
    first.lose()
    place.broker.start()
    after = place.submit()
    second = consuming()
    second.until(lambda: len(second.taken) >= 4)
    second.turn(1.5)

    assert sorted([*ids, *after]) == sorted(second.ids)
    assert {} == unacked._owed
    for message in second.taken:
        message.ack()
    second.until(lambda: not noted(place))
    assert ([], []) == (noted(place), listed(place))


@pytest.mark.parametrize("kept", [True, False])
def test_a_message_that_is_put_back_is_there_for_others(
    place: Cluster, consuming: Callable[..., Consuming], *, kept: bool
) -> None:
    """At once, whether Redis was told of it or not, and nothing stays noted."""
    (job_id,) = place.submit()
    worker = consuming(most=1)
    worker.until(lambda: worker.taken)
    if kept:
        worker.until(lambda: noted(place))
    assert ([job_id] if kept else []) == noted(place)

    worker.taken[0].reject(requeue=True)

    assert ([job_id], []) == (listed(place), noted(place))
    worker.until(lambda: len(worker.taken) == 2)
    assert [job_id, job_id] == worker.ids
    worker.taken[1].ack()


def test_a_message_that_is_put_back_is_the_next_one(
    place: Cluster, consuming: Callable[..., Consuming]
) -> None:
    """It has waited longer than those behind it."""
    ids = place.submit(3)
    worker = consuming(most=1)
    worker.until(lambda: worker.taken)

    worker.taken[0].reject(requeue=True)

    assert ids == listed(place)


@pytest.mark.parametrize("end", ["acked", "put back", "lost"])
def test_a_full_redis_that_refuses_the_note_loses_nothing(
    place: Cluster,
    consuming: Callable[..., Consuming],
    caplog: pytest.LogCaptureFixture,
    end: str,
) -> None:
    """What is in hand can be worked on and let go of; what nobody has is sent again."""
    place.script(YES)
    (job_id,) = place.submit()
    worker = consuming(most=1)
    worker.until(lambda: worker.taken)
    fill(place)
    worker.until(lambda: "does not note" in caplog.text)
    assert "Redis does not note what is unacked" in caplog.text
    assert [] == noted(place)

    if end == "acked":
        worker.taken[0].ack()
    elif end == "put back":
        # Redis refuses that too; Celery's consumer begins again over it.
        with pytest.raises(OutOfMemoryError):
            worker.taken[0].reject(requeue=True)
    worker.lose()
    place.redis().config_set("maxmemory", 0)

    place.start_worker()
    place.wait_all([job_id], timeout=20)
    assert ("succeeded", 1) == (place.state(job_id), place.job(job_id).fence)
    unacked._owed.clear()


@pytest.mark.parametrize("ordinary", [True, False])
def test_what_redis_noted_before_it_was_full_comes_back(
    place: Cluster, consuming: Callable[..., Consuming], *, ordinary: bool
) -> None:
    """It cannot be put back until there is room, and stays noted till then."""
    if ordinary:
        Celery.send_task(place.client.app, "other.task", queue=QUEUE)
    else:
        place.submit()
    first = consuming(most=1)
    first.until(lambda: noted(place))
    (task_id,) = noted(place)
    second = consuming()
    fill(place)

    with pytest.raises(OutOfMemoryError):
        first.taken[0].reject(requeue=True)
    first.lose()
    second.turn(1.2)
    assert ([], [task_id]) == (second.ids, noted(place))
    place.redis().config_set("maxmemory", 0)
    second.until(lambda: second.taken)

    assert [task_id] == second.ids
    second.taken[0].ack()
    second.until(lambda: not noted(place))
    assert ([], []) == (noted(place), listed(place))
