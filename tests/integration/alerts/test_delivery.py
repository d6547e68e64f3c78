"""The outbox delivered: storms, channels that are away, and notifiers that are killed."""

from __future__ import annotations

import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from ledger import Ledger, ManualClock, alert_channels, alert_outbox, bookmarks, events, leases
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.channels import (
    Channel,
    ChannelAway,
    ChannelBusy,
    ChannelError,
    MessageRefused,
    Sent,
)
from monitoring.alerts.delivery import GIVE_UP_AFTER_S, KEEP_S, LEASE, LEASE_S, Deliverer
from monitoring.alerts.message import Kind, Message
from monitoring.alerts.notifier import Notifier, Source
from monitoring.alerts.reporter import BOOKMARK, report
from tests.fake_channels import FakeDiscord, FakeServer, FakeTelegram
from tests.integration.alerts.test_channels import channel_to
from tests.unit.monitoring.test_alert_notifier import alert as make


class Killed(BaseException):
    """A process that ends here and now."""


@dataclass
class Paper:
    """A channel that writes down what it is told; the twin of those with a network."""

    name: str = "paper"
    minimum: Severity = Severity.INFO
    told: list[Message] = field(default_factory=list)
    fault: BaseException | None = None
    killed_after: int | None = None
    """After how many messages the process ends, before anybody could note that it went out."""
    rest_s: float = 0.0

    def send(self, message: Message) -> Sent:
        """Take it, unless there is a fault."""
        if self.fault is not None:
            raise self.fault
        self.told.append(message)
        if len(self.told) == self.killed_after:
            raise Killed
        return Sent(rest_s=self.rest_s)

    @property
    def items(self) -> list[tuple[Kind, str]]:
        """All that was told, by kind and what it is about."""
        return [(one.kind, one.alert.rule) for told in self.told for one in told.items]


AWAY = ChannelAway("It is away.", suggested_action="Wait.")


@pytest.fixture
def paper() -> Paper:
    """A channel."""
    return Paper()


def alert(clock: ManualClock, rule: str, *, firing: bool = True, **columns: object) -> Alert:
    """An alert of now."""
    told = {"since": clock.now, "ended": None if firing else clock.now, **columns}
    return make(rule, firing=firing, **told)


def hear(ledger: Ledger, channels: Sequence[Channel], *heard: Alert) -> int:
    """What somebody says of alerts."""
    return Notifier(ledger, channels, source=Source.PROMETHEUS).hear(heard)


def deliver(ledger: Ledger, clock: ManualClock, *channels: Channel) -> int:
    """One run, as beat has it."""
    return Deliverer(ledger, channels, pause=clock.advance).run()


def outcomes(ledger: Ledger) -> dict[tuple[str, str], int]:
    """The totals of all channels, by kind and outcome."""
    with ledger.read() as tx:
        found = Counter[tuple[str, str]]()
        for (_, kind, outcome), total in alert_channels.totals(tx).items():
            found[kind, outcome] += total
    return dict(found)


def test_a_storm_of_a_thousand_alerts_is_ten_messages_at_most(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord, telegram: FakeTelegram
) -> None:
    """On each channel, over ten seconds and the minute after; every one is accounted for."""
    fakes: list[FakeServer] = [discord, telegram]
    channels = [channel_to(fake) for fake in fakes]
    numbers = iter(range(1000))
    for _ in range(10):
        batch = [
            alert(clock, f"Rule{number % 8}", labels={"worker": str(number)})
            for number in itertools.islice(numbers, 100)
        ]
        hear(ledger, channels, *batch)
        clock.advance(1)
        if clock.now % 5 < 1:
            deliver(ledger, clock, *channels)
    for _ in range(12):
        clock.advance(5)
        deliver(ledger, clock, *channels)

    for fake in fakes:
        assert len(fake.taken) <= 10
        assert 1000 == sum(counted(text) for text in fake.texts)
    assert {("firing", "ok"): 2000} == outcomes(ledger)


def counted(text: str) -> int:
    """How many alerts a message speaks of."""
    left_out = re.search(r"and (\d+) more$", text)
    listed = text.count("• ") or 1
    return listed + (int(left_out[1]) if left_out else 0)


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


def test_a_channel_is_told_what_it_wants_to_hear(ledger: Ledger, clock: ManualClock) -> None:
    """By severity; nobody at all is no error."""
    calm = Paper(name="calm", minimum=Severity.PAGE)
    keen = Paper(name="keen", minimum=Severity.INFO)
    heard = [alert(clock, str(one), severity=one) for one in Severity]
    assert 4 == hear(ledger, [calm, keen], *heard)
    deliver(ledger, clock, calm, keen)
    assert ["page"] == [rule for _, rule in calm.items]
    assert {"page", "ticket", "warning", "info"} == {rule for _, rule in keen.items}
    assert 1 == hear(ledger, [], alert(clock, "Other"))
    assert 0 == deliver(ledger, clock)


def test_events_are_told_once(ledger: Ledger, clock: ManualClock, paper: Paper) -> None:
    """Those that are news; each place is read once, and what a user typed is not told."""
    with ledger.write() as tx:
        for worker in ("w1", "w2"):
            events.add(tx, kind="worker_started", subject=worker, details={"model": "m"})
        events.add(tx, kind="model_loaded", subject="w1", details={"seconds": 3})
        events.add(tx, kind="job_dead", subject="j1", details={"reasons": ["a secret prompt"]})
        events.add(tx, kind="worker_failed", subject="w1", details={"check": "heartbeat"})
    assert 5 == report(ledger, [paper])
    assert 0 == report(ledger, [paper])
    deliver(ledger, clock, paper)
    assert [
        (Kind.EVENT, "WorkerStarted"),
        (Kind.EVENT, "WorkerStarted"),
        (Kind.EVENT, "JobDead"),
    ] == paper.items
    assert 2 == len(paper.told)
    assert "secret" not in str(paper.told)


def test_old_events_are_no_news(ledger: Ledger, clock: ManualClock, paper: Paper) -> None:
    """A ledger may hold years of them when it is first read; later on a day is kept."""
    kinds = ("worker_started", "worker_stopped")
    for kind in kinds:
        with ledger.write() as tx:
            events.add(tx, kind=kind, subject="w1", details={})
        clock.advance(901)
    with ledger.write() as tx:
        events.add(tx, kind="worker_returned", subject="w1", details={})
    assert 3 == report(ledger, [paper])
    deliver(ledger, clock, paper)
    for kind in kinds:
        with ledger.write() as tx:
            events.add(tx, kind=kind, subject="w2", details={})
        clock.advance(GIVE_UP_AFTER_S / 2 + 1)
    assert 2 == report(ledger, [paper])
    deliver(ledger, clock, paper)
    assert ["WorkerReturned", "WorkerStopped"] == [rule for _, rule in paper.items]
    with ledger.read() as tx:
        assert bookmarks.get(tx, BOOKMARK) is not None


def test_hostile_words_arrive_as_they_are(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord, telegram: FakeTelegram
) -> None:
    """From a label to people's screens, through the ledger."""
    words = '@everyone <b>&_*`|~[x](http://evil.example)<@&1> {"a":1}'
    fakes: list[FakeServer] = [discord, telegram]
    channels = [channel_to(fake) for fake in fakes]
    long = "x" * 5000
    hostile = alert(clock, "A", labels={"worker": words, "b": long}, summary=f"{words} {long}")
    hear(ledger, channels, hostile)
    deliver(ledger, clock, *channels)
    for fake in fakes:
        (text,) = fake.texts
        assert f"A\n{words} xxx" in text
        assert f"worker: {words}" in text
        assert "x…\n" in text


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


def test_every_error_of_a_channel_is_of_one_root() -> None:
    """Which the deliverer catches."""
    assert {ChannelAway, ChannelBusy, MessageRefused} <= set(_below(ChannelError))


def _below(cls: type[ChannelError]) -> Iterator[type[ChannelError]]:
    for one in cls.__subclasses__():
        yield one
        yield from _below(one)
