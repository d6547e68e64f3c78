"""Whoever hears and whoever delivers at once, and clocks that are set back meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from ledger import Ledger, ManualClock, alert_outbox
from monitoring.alerts.channels import ChannelBusy, Sent
from monitoring.alerts.delivery import LEASE_S, Deliverer
from monitoring.alerts.message import Kind, Message
from tests.fake_channels import FakeDiscord, FakeServer, FakeTelegram
from tests.integration.alerts.paper import AWAY, Killed, Paper, alert, deliver, hear, outcomes
from tests.integration.alerts.test_channels import channel_to

HOUR_S = 3600.0


@dataclass
class Meanwhile(Paper):
    """A channel during whose answers something happens, once."""

    happens: Callable[[], object] | None = None

    def send(self, message: Message) -> Sent:
        """Take it, or not, after that has happened."""
        happens, self.happens = self.happens, None
        if happens is not None:
            happens()
        return super().send(message)


def states(ledger: Ledger) -> Mapping[int, tuple[str, str]]:
    """The kind and the fate of every message."""
    with ledger.read() as tx:
        return {row.id: (row.kind, row.state) for row in alert_outbox.latest(tx)}


def test_what_is_over_while_it_is_told_was_told(ledger: Ledger, clock: ManualClock) -> None:
    """It counts as sent, and its end is told as well."""
    channel = Meanwhile()
    hear(ledger, [channel], alert(clock, "A"))
    channel.happens = lambda: hear(ledger, [channel], alert(clock, "A", firing=False))
    assert 2 == deliver(ledger, clock, channel)
    assert [(Kind.FIRING, "A"), (Kind.RESOLVED, "A")] == channel.items
    assert {("firing", "ok"): 1, ("resolved", "ok"): 1} == outcomes(ledger)


def test_what_is_over_while_it_cannot_be_told_is_one_message(
    ledger: Ledger, clock: ManualClock
) -> None:
    """That it is over; what was on its way is dropped when it comes back."""
    channel = Meanwhile(fault=AWAY)
    hear(ledger, [channel], alert(clock, "A"), alert(clock, "B"))
    channel.happens = lambda: hear(ledger, [channel], alert(clock, "A", firing=False))
    deliver(ledger, clock, channel)
    channel.fault = None
    clock.advance(5)
    deliver(ledger, clock, channel)
    assert [(Kind.FIRING, "B"), (Kind.RESOLVED, "A")] == channel.items
    assert {
        ("firing", "retried"): 1,
        ("firing", "suppressed"): 1,
        ("firing", "ok"): 1,
        ("resolved", "ok"): 1,
    } == outcomes(ledger)


def test_what_a_dead_process_had_on_its_way_is_sent_or_overtaken(
    ledger: Ledger, clock: ManualClock, paper: Paper
) -> None:
    """Killed in the middle of a message, whether it had arrived or not."""
    hear(ledger, [paper], alert(clock, "A"))
    hear(ledger, [paper], alert(clock, "B"))
    paper.fault = Killed()
    with pytest.raises(Killed):
        deliver(ledger, clock, paper)
    hear(ledger, [paper], alert(clock, "A", firing=False))
    assert ("firing", "waiting") == states(ledger)[1]
    paper.fault = None
    clock.advance(LEASE_S)
    assert 2 == deliver(ledger, clock, paper)
    assert [(Kind.FIRING, "B"), (Kind.RESOLVED, "A")] == paper.items


def test_two_that_deliver_at_once_tell_everything_once(ledger: Ledger, clock: ManualClock) -> None:
    """Two maintenance workers, many runs, and somebody who hears meanwhile."""
    channel = Paper()
    ready = threading.Barrier(3)

    def keep_delivering() -> None:
        one = Deliverer(ledger, [channel], pause=lambda _: None)
        ready.wait()
        for _ in range(15):
            one.run()

    threads = [threading.Thread(target=keep_delivering) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait()
    for number in range(12):
        hear(ledger, [channel], alert(clock, "A", labels={"n": str(number)}))
        clock.advance(5)
    for thread in threads:
        thread.join()
    clock.advance(60)
    deliver(ledger, clock, channel)
    told = [item.id for message in channel.told for item in message.items]
    assert sorted(told) == list(range(1, 13))
    assert {("firing", "ok"): 12} == outcomes(ledger)


def test_one_that_slept_through_its_lease_sends_nothing_more(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Another has gone on meanwhile."""
    channel = Meanwhile()
    other = Deliverer(ledger, [channel], pause=clock.advance)
    for rule in "ABC":
        hear(ledger, [channel], alert(clock, rule))

    def sleep() -> None:
        clock.advance(LEASE_S)
        other.run()

    channel.happens = sleep
    deliver(ledger, clock, channel)
    assert sorted(rule for _, rule in channel.items) == ["A", "A", "B", "C"]
    assert {("firing", "ok"): 3} == outcomes(ledger)


def test_a_clock_that_was_set_back_keeps_no_channel_waiting(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Neither one that rests after a failure, nor one that has told much."""
    away, busy, talker = Paper(name="away", fault=AWAY), Paper(name="busy"), Paper(name="talker")
    channels = [away, busy, talker]
    busy.fault = ChannelBusy("It is busy.", retry_after_s=300)
    for number in range(5):
        hear(ledger, channels, alert(clock, f"R{number}"))
        deliver(ledger, clock, *channels)
        clock.advance(1)
    assert 5 == len(talker.told)
    away.fault = busy.fault = None

    clock.now -= HOUR_S
    hear(ledger, channels, alert(clock, "After"))
    deliver(ledger, clock, *channels)
    assert (Kind.FIRING, "After") == talker.items[-1]
    clock.advance(60)
    deliver(ledger, clock, *channels)
    assert (Kind.FIRING, "After") == away.items[-1]
    # What it asked for is kept, and no more.
    assert [] == busy.told
    clock.advance(240)
    deliver(ledger, clock, *channels)
    assert (Kind.FIRING, "After") == busy.items[-1]


def test_what_comes_and_goes_and_comes_within_one_interval_is_told_once(
    ledger: Ledger, clock: ManualClock, paper: Paper
) -> None:
    """As it stands; and so again, each time."""
    for _ in range(3):
        for firing in (True, False, True):
            hear(ledger, [paper], alert(clock, "A", firing=firing))
            clock.advance(1)
        deliver(ledger, clock, paper)
    assert [(Kind.FIRING, "A")] * 3 == paper.items
    hear(ledger, [paper], alert(clock, "A", firing=False))
    deliver(ledger, clock, paper)
    assert (Kind.RESOLVED, "A") == paper.items[-1]


def test_a_channel_that_asks_to_wait_for_an_hour_is_asked_once(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord, telegram: FakeTelegram
) -> None:
    """What comes meanwhile waits for it, whoever else is told, and restarts change nothing."""
    fakes: list[FakeServer] = [discord, telegram]
    channels = [channel_to(fake) for fake in fakes]
    discord.fault, discord.retry_after_s = "rate_limited", HOUR_S
    for number in range(12):
        hear(ledger, channels, alert(clock, "A", labels={"n": str(number)}))
        deliver(ledger, clock, *channels)
        clock.advance(HOUR_S / 12)
    assert 1 == len(discord.requests)
    assert 12 == len(telegram.taken)
    discord.fault = None
    clock.advance(5)
    deliver(ledger, clock, *channels)
    assert ["Firing: A (12)"] == [text.split("\n")[0] for text in discord.texts]
