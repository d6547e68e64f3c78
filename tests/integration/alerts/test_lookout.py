"""The judge of a cluster without Prometheus, over a real ledger, with the shipped times."""

from __future__ import annotations

from ledger import Ledger, ManualClock, alerts, jobs, workers
from monitoring.alerts.delivery import Deliverer
from monitoring.alerts.lookout import STATE, Lookout
from monitoring.alerts.notifier import Notifier, Source
from monitoring.broker_watch import BrokerFacts
from monitoring.follower import Follower
from monitoring.heartbeat import Heartbeat
from tasks.alert_wiring import rules
from tests.fake_channels import FakeDiscord, FakeServer, FakeTelegram
from tests.integration.alerts.test_channels import channel_to
from tests.integration.ledger.support import new_job

HEARTBEAT_S, CHECK_S, DELIVERY_S, STALE_S = 30, 10, 5, 60
LIMIT_S = 90


class Home:
    """A cluster of one worker and its people, on a clock that is moved."""

    def __init__(self, ledger: Ledger, clock: ManualClock, *fakes: FakeServer) -> None:
        self.ledger, self.clock, self.fakes = ledger, clock, fakes
        self.channels = [channel_to(fake) for fake in fakes]
        self.begun = clock.now
        self.alive = True
        self.lookout = self.judge()

    def judge(self) -> Lookout:
        """A judge without a past."""
        return Lookout(
            self.ledger,
            Notifier(self.ledger, self.channels, source=Source.BUILTIN),
            holder="judge",
            broker_facts=lambda: BrokerFacts(up=1, aof_enabled=1),
            models=["fake-a"],
            rules=[rule for rule in rules(STALE_S) if rule.name in {"WorkerStale", "QueueBacklog"}],
        )

    def beat(self) -> None:
        """The worker says that it is there."""
        with self.ledger.write() as tx:
            facts = Heartbeat(model="fake-a", backend="cpu").to_facts()
            workers.beat(tx, worker="w1", session="s", state="idle", facts=facts)

    def second(self) -> None:
        """What happens within one."""
        self.clock.advance(1)
        passed = round(self.clock.now - self.begun)
        if self.alive and passed % HEARTBEAT_S == 0:
            self.beat()
        if passed % CHECK_S == 0:
            self.lookout.look()
        if passed % DELIVERY_S == 0:
            Deliverer(self.ledger, self.channels, pause=lambda _: None).run()

    def until(self, *words: str) -> float:
        """How long it takes until everybody has been told something with these words."""
        since = self.clock.now
        while not all(any(_has(text, words) for text in fake.texts) for fake in self.fakes):
            self.second()
            assert self.clock.now - since <= LIMIT_S, [fake.texts for fake in self.fakes]
        return self.clock.now - since


def _has(text: str, words: tuple[str, ...]) -> bool:
    return all(word in text for word in words)


def test_people_know_of_a_killed_worker_within_ninety_seconds(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord, telegram: FakeTelegram
) -> None:
    """And of its return; a judge that is replaced meanwhile changes nothing."""
    home = Home(ledger, clock, discord, telegram)
    home.beat()
    for _ in range(301):
        home.second()
    assert [[], []] == [fake.taken for fake in home.fakes]

    home.alive = False
    home.until("Firing: WorkerStale", "w1 has been silent")
    home.lookout = home.judge()
    for _ in range(120):
        home.second()
    assert [1, 1] == [len(fake.taken) for fake in home.fakes]

    home.alive = True
    home.beat()
    assert home.until("Resolved: WorkerStale", "after ") <= CHECK_S + DELIVERY_S


def test_a_backlog_is_seen_in_what_was_counted(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord
) -> None:
    """By the judge itself, or by an exporter that leads, which it never keeps waiting."""
    home = Home(ledger, clock, discord)
    home.beat()
    with ledger.write() as tx:
        jobs.submit(tx, [new_job(model="fake-a", queue="model.fake-a") for _ in range(101)])
    for _ in range(60):
        home.second()
    # The judge has counted just now, and has let go of it.
    exporter = Follower(ledger, holder="exporter", models=["fake-a"])
    exporter.advance()
    assert exporter.leads
    home.until("Firing: QueueBacklog", "fake-a")
    with ledger.read() as tx:
        (row,) = alerts.list(tx, firing=True)
        assert ("QueueBacklog", "builtin") == (row.rule, row.source)
        assert alerts.state(tx, STATE) is not None
