"""What the reconciler makes of a broker that has lost messages, round by round."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import pytest

from ledger import bookmarks
from monitoring.follower import Follower
from monitoring.metrics import PREFIX
from routing import list_keys
from tasks import reconcile
from tasks.keeper import Keeper
from tasks.reconcile import LOOK_AGAIN, MISMATCHES, Reconciler
from tests.chaos.harness import MODEL, Cluster

QUEUE = f"model.{MODEL}"
SEEN_TWICE = MISMATCHES + 1
"""After how many rounds what is short of messages is sent again."""

Begin = Callable[..., Reconciler]


@pytest.fixture
def begin(place: Cluster) -> Begin:
    """Makes a reconciler under a session that lasts; other times can be given."""

    def made(worker: str = "reconciling", **times: float) -> Reconciler:
        timing = dataclasses.replace(
            place.client.settings.timing, **{"lease_s": 60.0, "resend_after_s": 0.0, **times}
        )
        keeper = Keeper(
            ledger=place.client.ledger,
            worker=worker,
            node="testnode",
            timing=timing,
            on_lost=lambda: None,
            facts=lambda: ("idle", {}),
        )
        keeper.open()
        return Reconciler(client=place.client, keeper=keeper, timing=timing)

    return made


def rounds(reconciler: Reconciler, number: int) -> None:
    """So many rounds, one after the other."""
    for _ in range(number):
        assert reconciler.round()


def listed(place: Cluster) -> int:
    """How many messages the queue has."""
    redis = place.redis()
    return sum(int(redis.llen(key)) for key in list_keys(QUEUE))  # type: ignore[arg-type]


def copies(place: Cluster, ids: list[str]) -> set[int]:
    """The numbers of these jobs' newest copies."""
    return {place.job(one).sent_number for one in ids}


def test_all_that_was_lost_is_sent_again_however_much_it_is(
    place: Cluster, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than ten batches of one queue, in the rounds that one job takes, each job once."""
    monkeypatch.setattr(reconcile, "BATCH", 20)
    ids = place.submit(250)
    reconciler = begin()
    place.redis().flushall()

    rounds(reconciler, SEEN_TWICE)

    assert {2} == copies(place, ids)
    assert 250 == listed(place)
    rounds(reconciler, 2 * LOOK_AGAIN)
    assert {2} == copies(place, ids)
    assert 250 == listed(place)


def test_of_a_long_list_what_is_missing_is_found(
    place: Cluster, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read piece by piece, and nobody is taken for lost who stands in any of them."""
    monkeypatch.setattr(reconcile, "BATCH", 20)
    ids = place.submit(90)
    redis, (key,) = place.redis(), {list_keys(QUEUE)[1]}
    lost = [redis.lindex(key, place_in) for place_in in (0, 19, 20, 55, 89)]
    for message in lost:
        redis.lrem(key, 1, message)  # type: ignore[arg-type]

    rounds(begin(), SEEN_TWICE)

    numbers = sorted(place.job(one).sent_number for one in ids)
    assert [1] * 85 + [2] * 5 == numbers
    assert 90 == listed(place)


def test_a_lost_copy_is_missed_though_older_ones_still_wait(place: Cluster, begin: Begin) -> None:
    """As many messages as jobs: only those that would be claimed count."""
    ids = place.submit(10)
    time.sleep(0.1)
    reconciler = begin(max_wait_s=0.05)
    rounds(reconciler, 1)
    assert ({2}, 20) == (copies(place, ids), listed(place))
    assert 1 == place.redis().delete(list_keys(QUEUE)[0])

    rounds(reconciler, LOOK_AGAIN + 1)

    assert ({3}, 20) == (copies(place, ids), listed(place))
    rounds(reconciler, 2 * LOOK_AGAIN)
    assert {3} == copies(place, ids)


def test_a_message_in_hand_is_trusted_for_a_time(
    place: Cluster, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker has ended, so it may be in somebody's hands; after `IN_HAND_S` it is not."""
    ids = place.submit(3)
    reconciler = begin()
    with place.client.app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        taken = [channel.basic_get(QUEUE) for _ in ids]
        # Whoever has them is gone, and nobody wrote that down.
        channel.qos.restore_at_shutdown = False
        assert ids == [message.headers["id"] for message in taken]
        assert (3, 0) == (place.redis().hlen("unacked"), listed(place))

        rounds(reconciler, 2 * LOOK_AGAIN)
        assert ({1}, 0) == (copies(place, ids), listed(place))

        monkeypatch.setattr(reconcile, "IN_HAND_S", 0.0)
        rounds(reconciler, LOOK_AGAIN + 1)
        assert ({2}, 3) == (copies(place, ids), listed(place))
        rounds(reconciler, 2 * LOOK_AGAIN)
        assert {2} == copies(place, ids)


def test_an_older_copy_in_hand_excuses_nobody(place: Cluster, begin: Begin) -> None:
    """The one in hand would be refused as stale; the newest was lost."""
    (job_id,) = place.submit()
    time.sleep(0.1)
    with place.client.app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        assert channel.basic_get(QUEUE) is not None
        channel.qos.restore_at_shutdown = False
        reconciler = begin(max_wait_s=0.05)
        rounds(reconciler, 1)
        assert 2 == place.job(job_id).sent_number
        assert 1 == place.redis().delete(list_keys(QUEUE)[0])

        rounds(reconciler, LOOK_AGAIN + 1)

    assert (3, 1) == (place.job(job_id).sent_number, listed(place))


def test_what_is_sent_again_is_counted(place: Cluster, begin: Begin) -> None:
    """An event tells how many they were, and the totals have them."""
    place.submit(7)
    reconciler = begin()
    place.redis().flushall()

    rounds(reconciler, SEEN_TWICE)

    follower = Follower(place.client.ledger, holder="f")
    while follower.advance():
        pass
    assert 7 == follower.totals[f"{PREFIX}reconciler_actions_total", ("republished",)].value


def test_it_is_noted_that_rounds_are_run(
    place: Cluster, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once in a while, which is enough for whoever watches; not by one that may not."""
    reconciler, other = begin(), begin(worker="another")
    rounds(reconciler, 1)
    first = noted(place)
    rounds(reconciler, 2)
    assert not other.round()
    assert first == noted(place)
    monkeypatch.setattr(reconcile, "NOTE_S", 0.0)
    rounds(reconciler, 1)
    assert first < noted(place)


def noted(place: Cluster) -> float:
    """When a round was noted last."""
    with place.client.ledger.read() as tx:
        bookmark = bookmarks.get(tx, reconcile.BOOKMARK)
    assert bookmark is not None
    return bookmark.at
