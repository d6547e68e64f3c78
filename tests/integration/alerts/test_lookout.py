"""The judge of a cluster without Prometheus, over a real ledger, with the shipped times."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ledger import Ledger, ManualClock, alerts, jobs, leases, workers
from monitoring.alerts.delivery import Deliverer
from monitoring.alerts.lookout import STATE, Lookout
from monitoring.alerts.notifier import Notifier, Source
from monitoring.alerts.rules import BY_NAME
from monitoring.broker_watch import BrokerFacts
from monitoring.follower import LEASE, Follower
from monitoring.heartbeat import Heartbeat
from tests.fake_channels import FakeDiscord, FakeServer, FakeTelegram
from tests.integration.alerts.test_channels import channel_to
from tests.integration.ledger.support import begin, new_job, run

HEARTBEAT_S, CHECK_S, DELIVERY_S, STALE_S = 30, 10, 5, 60.0
LIMIT_S = 90


class Home:
    """A cluster of one worker and its people, on a clock that is moved."""

    def __init__(
        self,
        ledger: Ledger,
        clock: ManualClock,
        *fakes: FakeServer,
        rules: Sequence[str] = ("WorkerStale", "QueueBacklog"),
        stale_s: float = STALE_S,
    ) -> None:
        self.rules, self.limits = rules, {"WorkerStale": stale_s}
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
            limits=self.limits,
            rules=[BY_NAME[name] for name in self.rules],
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

    def until(
        self, *words: str, at_most_s: float = LIMIT_S, who: FakeServer | None = None
    ) -> float:
        """How long it takes until everybody, or `who`, was told something with these words."""
        since = self.clock.now
        people = self.fakes if who is None else (who,)
        while not all(any(_has(text, words) for text in fake.texts) for fake in people):
            self.second()
            assert self.clock.now - since <= at_most_s, [fake.texts for fake in people]
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


def test_a_first_failure_is_seen_also_when_an_exporter_counts(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord
) -> None:
    """What that one shows at 0 is no row of the ledger."""
    home = Home(ledger, clock, discord, rules=("JobTimeout",))
    exporter = Follower(ledger, holder="exporter", models=["fake-a"])
    exporter.advance()
    with ledger.write() as tx:
        assert leases.take(tx, LEASE, "exporter", 60.0)
    for _ in range(2 * CHECK_S):
        home.second()
    job = run(ledger, begin(ledger), model="fake-a", queue="model.fake-a")
    with ledger.write() as tx:
        error = {"code": "TIMEOUT", "message": "It took too long."}
        assert jobs.fail(tx, job_id=job.id, fence=job.fence, error=error)
    assert 3 == exporter.advance()
    home.until("Firing: JobTimeout", "fake-a", at_most_s=CHECK_S + DELIVERY_S)


@pytest.mark.parametrize("fault", ["status_401", "status_404", "slam", "rate_limited"])
def test_people_elsewhere_know_of_a_channel_that_takes_nothing(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord, telegram: FakeTelegram, fault: str
) -> None:
    """A token that was revoked, a server that hangs up; and of the end of it, on both."""
    home = Home(ledger, clock, discord, telegram, rules=["WorkerStale", "AlertDeliveryFailing"])
    discord.retry_after_s = 240
    home.beat()
    home.second()
    home.alive = False
    home.until("Firing: WorkerStale")
    home.alive = True
    discord.fault = fault
    failing = "Firing: AlertDeliveryFailing", "channel: team"
    home.until("Resolved: WorkerStale", who=telegram)
    assert 120 <= home.until(*failing, who=telegram, at_most_s=200)
    for _ in range(30):
        home.second()
    assert 3 == len(telegram.taken)
    discord.fault = None
    home.until("Resolved: WorkerStale", at_most_s=240)
    assert home.until("Resolved: AlertDeliveryFailing") <= CHECK_S + DELIVERY_S


def test_a_channel_that_is_slow_for_a_moment_is_no_alert(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord, telegram: FakeTelegram
) -> None:
    """Nor one that has nothing to tell for an hour before."""
    home = Home(ledger, clock, discord, telegram, rules=["WorkerStale", "AlertDeliveryFailing"])
    home.beat()
    for _ in range(301):
        home.second()
    home.alive, discord.fault = False, "status_500"
    home.until("Firing: WorkerStale", who=telegram)
    for _ in range(45):
        home.second()
    discord.fault = None
    home.until("Firing: WorkerStale")
    for _ in range(180):
        home.second()
    assert [1, 1] == [len(fake.taken) for fake in home.fakes]


def test_a_worker_that_has_failed_is_not_silent(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord
) -> None:
    """It has said so, and people were told as it did."""
    home = Home(ledger, clock, discord)
    home.beat()
    home.alive = False
    with ledger.write() as tx:
        workers.end(tx, worker="w1", session="s", state="failed", facts={})
    for _ in range(120):
        home.second()
    assert [] == discord.texts


def test_a_worker_is_silent_when_the_settings_say_so(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord
) -> None:
    """The limit is among the metrics, so that Prometheus has the same."""
    home = Home(ledger, clock, discord, stale_s=150.0)
    home.beat()
    home.alive = False
    assert 150 < home.until("Firing: WorkerStale", at_most_s=180)


def test_a_clock_that_was_set_back_mutes_nobody(
    ledger: Ledger, clock: ManualClock, discord: FakeDiscord
) -> None:
    """Neither who judges nor who tells."""
    home = Home(ledger, clock, discord)
    home.beat()
    for _ in range(45):
        home.second()
    clock.now -= 3600
    home.begun -= 3600
    for _ in range(45):
        home.second()
    home.alive = False
    home.until("Firing: WorkerStale", at_most_s=STALE_S + HEARTBEAT_S + CHECK_S + DELIVERY_S)
    clock.now -= 3600
    home.begun -= 3600
    home.alive = True
    home.until("Resolved: WorkerStale", at_most_s=HEARTBEAT_S + CHECK_S + DELIVERY_S)
