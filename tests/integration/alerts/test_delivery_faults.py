"""The outbox where delivering fails: channels that are away, and notifiers that are killed."""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace

import pytest

from ledger import Ledger, ManualClock, alert_outbox, leases
from monitoring.alerts.channels import ChannelBusy, MessageRefused
from monitoring.alerts.delivery import GIVE_UP_AFTER_S, KEEP_S, LEASE, LEASE_S
from monitoring.alerts.message import Kind
from tests.fake_channels import FakeDiscord
from tests.integration.alerts.paper import AWAY, Killed, Paper, alert, deliver, hear, outcomes
from tests.integration.alerts.test_channels import channel_to


def test_a_channel_that_was_away_is_told_what_is_still_true(
    ledger: Ledger, clock: ManualClock, paper: Paper
) -> None:
    """Ten minutes away, the notifier killed twice: in order, and one message twice at most."""
    begun = clock.now

    def tick() -> None:
        """Five seconds, in which another notifier goes on if one is killed."""
        clock.advance(5)
        try:
            deliver(ledger, clock, paper)
        except Killed:
            clock.advance(LEASE_S)

    hear(ledger, [paper], alert(clock, "Before"))
    tick()
    assert [(Kind.FIRING, "Before")] == paper.items
    paper.fault = AWAY
    hear(ledger, [paper], alert(clock, "Lasting"))
    tick()
    hear(ledger, [paper], alert(clock, "Short"))
    paper.fault = Killed()
    tick()
    paper.fault = AWAY
    hear(ledger, [paper], alert(clock, "Short", firing=False), alert(clock, "Flapping"))
    hear(ledger, [paper], alert(clock, "Before", firing=False))
    tick()
    hear(ledger, [paper], alert(clock, "Flapping", firing=False))
    hear(ledger, [paper], alert(clock, "Flapping"))
    while clock.now < begun + 600:
        tick()
    assert 1 == len(paper.told)

    paper.fault, paper.killed_after = None, 2
    until = clock.now + 180
    while clock.now < until:
        tick()

    assert [
        (Kind.FIRING, "Lasting"),
        (Kind.FIRING, "Lasting"),
        (Kind.RESOLVED, "Short"),
        (Kind.RESOLVED, "Before"),
        (Kind.FIRING, "Flapping"),
    ] == paper.items[1:]
    after = replace(paper.told[3].items[0].alert, value=0)
    assert after.ended is not None
    assert after.ended > after.since


def test_what_a_killed_notifier_has_not_noted_is_sent_again(
    ledger: Ledger, clock: ManualClock, paper: Paper
) -> None:
    """Under the same number, so that whoever counts can tell."""
    hear(ledger, [paper], alert(clock, "A"))
    paper.killed_after = 1
    with pytest.raises(Killed):
        deliver(ledger, clock, paper)
    assert 1 == deliver(ledger, clock, paper)
    assert 1 == len({item.id for told in paper.told for item in told.items})
    assert 0 == deliver(ledger, clock, paper)


def test_only_one_delivers_at_a_time(ledger: Ledger, clock: ManualClock, paper: Paper) -> None:
    """Whoever holds the lease; it lapses with whoever dies."""
    hear(ledger, [paper], alert(clock, "A"))
    with ledger.write() as tx:
        leases.take(tx, LEASE, "another", ttl_s=LEASE_S)
    assert 0 == deliver(ledger, clock, paper)
    clock.advance(LEASE_S)
    assert 1 == deliver(ledger, clock, paper)


def test_a_channel_that_is_away_keeps_nobody_waiting(
    ledger: Ledger, clock: ManualClock, paper: Paper
) -> None:
    """It is tried less and less often, up to once a minute, and told nothing twice."""
    other = Paper(name="other", fault=AWAY)
    hear(ledger, [paper, other], alert(clock, "A"))
    tries = []
    for _ in range(60):
        with ledger.read() as tx:
            before = alert_outbox.waiting(tx, "other")[0].tries
        deliver(ledger, clock, paper, other)
        with ledger.read() as tx:
            if alert_outbox.waiting(tx, "other")[0].tries > before:
                tries.append(clock.now)
        clock.advance(5)
    assert [5, 10, 20, 40, 60, 60] == [b - a for a, b in itertools.pairwise(tries)][:6]
    assert [(Kind.FIRING, "A")] == paper.items
    other.fault = None
    clock.advance(60)
    assert 1 == deliver(ledger, clock, paper, other)
    assert {("firing", "ok"): 2, ("firing", "retried"): len(tries)} == outcomes(ledger)


def test_a_channel_that_asks_to_wait_is_left_alone(
    ledger: Ledger, clock: ManualClock, paper: Paper
) -> None:
    """For as long as it says, also for what comes meanwhile."""
    paper.fault = ChannelBusy("It is busy.", retry_after_s=37)
    hear(ledger, [paper], alert(clock, "A"))
    deliver(ledger, clock, paper)
    paper.fault = None
    clock.advance(36)
    hear(ledger, [paper], alert(clock, "B"))
    assert 0 == deliver(ledger, clock, paper)
    clock.advance(1)
    assert 2 == deliver(ledger, clock, paper)
    assert ["A", "B"] == [rule for _, rule in paper.items]


def test_a_second_between_two_messages_is_waited_for(
    ledger: Ledger, clock: ManualClock, paper: Paper
) -> None:
    """More is left to the next run."""
    hear(ledger, [paper], alert(clock, "A"), alert(clock, "B"))
    paper.rest_s = 1.0
    begun = clock.now
    assert 2 == deliver(ledger, clock, paper)
    assert begun + 2 == clock.now
    hear(ledger, [paper], alert(clock, "C"), alert(clock, "D"))
    paper.rest_s = 7.0
    clock.advance(2)
    assert 1 == deliver(ledger, clock, paper)
    clock.advance(5)
    assert 0 == deliver(ledger, clock, paper)
    clock.advance(2)
    assert 1 == deliver(ledger, clock, paper)


def test_a_message_that_is_refused_does_not_stop_the_others(
    ledger: Ledger, clock: ManualClock, paper: Paper
) -> None:
    """After three tries it is dropped, and counted."""
    hear(ledger, [paper], alert(clock, "A"))
    paper.fault = MessageRefused("It cannot be read.", suggested_action="Look.")
    for _ in range(3):
        deliver(ledger, clock, paper)
        clock.advance(20)
    paper.fault = None
    hear(ledger, [paper], alert(clock, "B"))
    assert 1 == deliver(ledger, clock, paper)
    assert [(Kind.FIRING, "B")] == paper.items
    assert 1 == outcomes(ledger)["firing", "failed"]


def test_an_unforeseen_error_is_none_of_the_other_channels(
    ledger: Ledger, clock: ManualClock, paper: Paper, caplog: pytest.LogCaptureFixture
) -> None:
    """What it says is not shown: it may hold anything."""
    other = Paper(name="other", fault=ZeroDivisionError("a secret"))
    hear(ledger, [paper, other], alert(clock, "A"))
    assert 1 == deliver(ledger, clock, paper, other)
    assert "ZeroDivisionError" in caplog.text
    assert "a secret" not in caplog.text


def test_what_is_a_day_old_is_given_up_and_counted(
    ledger: Ledger, clock: ManualClock, paper: Paper, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log as well; and a week later the rows go."""
    paper.fault = AWAY
    hear(ledger, [paper], alert(clock, "A"))
    clock.advance(GIVE_UP_AFTER_S - 1)
    deliver(ledger, clock, paper)
    assert ("firing", "failed") not in outcomes(ledger)
    clock.advance(1)
    caplog.set_level(logging.ERROR)
    deliver(ledger, clock, paper)
    assert 1 == outcomes(ledger)["firing", "failed"]
    assert "given up" in caplog.text
    clock.advance(KEEP_S)
    deliver(ledger, clock, paper)
    with ledger.read() as tx:
        assert [] == alert_outbox.latest(tx)
    assert 1 == outcomes(ledger)["firing", "failed"]


def test_a_half_sent_answer_is_sent_again(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord
) -> None:
    """Nobody can say whether it was taken."""
    channel = channel_to(discord)
    hear(ledger, [channel], alert(clock, "A"))
    discord.fault = "half_a_body"
    assert 0 == deliver(ledger, clock, channel)
    discord.fault = None
    clock.advance(5)
    assert 1 == deliver(ledger, clock, channel)
