"""The outbox delivered: storms, what each channel wants to hear, events, hostile words."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from ledger import Ledger, ManualClock, bookmarks, events
from monitoring.alerts.alert import Severity
from monitoring.alerts.channels import ChannelAway, ChannelBusy, ChannelError, MessageRefused
from monitoring.alerts.delivery import GIVE_UP_AFTER_S
from monitoring.alerts.happenings import TELLINGS
from monitoring.alerts.message import Kind
from monitoring.alerts.reporter import BOOKMARK, report
from monitoring.alerts.rules import RULES
from tests.fake_channels import FakeDiscord, FakeServer, FakeTelegram
from tests.integration.alerts.paper import Paper, alert, deliver, hear, outcomes
from tests.integration.alerts.test_channels import channel_to


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
        # WorkerStale, a rule, tells that.
        events.add(tx, kind="worker_stale", subject="w1", details={"seconds": 61})
    assert 6 == report(ledger, [paper])
    assert 0 == report(ledger, [paper])
    deliver(ledger, clock, paper)
    assert [
        (Kind.EVENT, "WorkerStarted"),
        (Kind.EVENT, "WorkerStarted"),
        (Kind.EVENT, "JobDead"),
    ] == paper.items
    assert 2 == len(paper.told)
    assert "secret" not in str(paper.told)


def test_a_fault_of_a_gpu_is_told_once_and_as_what_it_is(
    ledger: Ledger, clock: ManualClock, paper: Paper
) -> None:
    """A program's own fault asks for nothing; the card's does, again if it lasts for an hour."""
    calm = Paper(name="calm", minimum=Severity.WARNING)

    def fault(xid: object, gpu: str = "0") -> None:
        with ledger.write() as tx:
            events.add(tx, kind="xid", subject="w1", details={"gpu": gpu, "xid": xid, "times": 1})
        report(ledger, [paper, calm])
        deliver(ledger, clock, paper, calm)
        clock.advance(60)

    for xid in (31, 31, 79, 79, 999, [1]):
        fault(xid)
    fault(79, gpu="1")
    told = [item.alert for message in paper.told for item in message.items]
    assert [("31", "info"), ("79", "warning"), ("999", "warning"), (None, "warning")] == [
        (alert.labels.get("xid"), alert.severity) for alert in told[:4]
    ]
    assert {"gpu": "1", "xid": "79", "worker": "w1"} == told[4].labels
    assert 5 == len(told)
    assert 4 == len(calm.items)
    assert told[0].runbook.endswith("#gpufault")
    clock.advance(3600)
    fault(79)
    assert 6 == len(paper.items)


def test_no_rule_tells_of_the_same_fault() -> None:
    """What comes as an event is no rule as well."""
    assert set() == {telling.name for telling in TELLINGS.values()} & {rule.name for rule in RULES}


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


def test_every_error_of_a_channel_is_of_one_root() -> None:
    """Which the deliverer catches."""
    assert {ChannelAway, ChannelBusy, MessageRefused} <= set(_below(ChannelError))


def _below(cls: type[ChannelError]) -> Iterator[type[ChannelError]]:
    for one in cls.__subclasses__():
        yield one
        yield from _below(one)
