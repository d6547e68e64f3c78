"""When canaries are missed: also if none was ever answered, and not where none are sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger import Ledger, ManualClock, workers
from ledger.alert_outbox import latest
from monitoring.alerts.lookout import Lookout
from monitoring.alerts.notifier import Notifier, Source
from monitoring.alerts.rules import BY_NAME
from monitoring.broker_watch import BrokerFacts
from monitoring.heartbeat import Heartbeat
from tasks import alert_wiring, canaries, wiring
from tasks.settings import Canary
from tests.integration.alerts.paper import Paper

EVERY_S = 60.0
CHECK_S = 20


class Yard:
    """Workers of two models, and canaries that nobody answers."""

    def __init__(self, ledger: Ledger, clock: ManualClock, *, every_s: float = EVERY_S) -> None:
        self.ledger, self.clock, self.every_s = ledger, clock, every_s
        self.states: dict[str, str] = {"a": "idle", "b": "idle"}
        settings = replace(wiring.settings(), canary=Canary(every_s=every_s))
        self.lookout = Lookout(
            ledger,
            Notifier(ledger, [Paper()], source=Source.BUILTIN),
            holder="judge",
            broker_facts=lambda: BrokerFacts(up=1),
            models=["a", "b"],
            canaries=True,
            limits=alert_wiring.limits(settings),
            rules=[BY_NAME["CanaryStale"]],
        )

    def pass_s(self, seconds: float) -> None:
        """Let time pass, with heartbeats, looks and canaries."""
        for _ in range(int(seconds / CHECK_S)):
            with self.ledger.write() as tx:
                for model, state in self.states.items():
                    facts = Heartbeat(model=model).to_facts()
                    workers.beat(tx, worker=model, session="s", state=state, facts=facts)
                if self.clock.now % self.every_s < CHECK_S:
                    canaries.note(tx, canaries.served(workers.list(tx)), every_s=self.every_s)
            self.lookout.look()
            self.clock.advance(CHECK_S)

    @property
    def told(self) -> list[tuple[str, str]]:
        """What people hear, in order."""
        with self.ledger.read() as tx:
            found = reversed(latest(tx))
            return [(row.kind, row.alert["labels"]["model"]) for row in found]


def test_one_that_was_never_answered_is_missed(ledger: Ledger, clock: ManualClock) -> None:
    """Five minutes after the first was sent."""
    yard = Yard(ledger, clock)
    yard.pass_s(300)
    assert [] == yard.told
    yard.pass_s(120)
    assert [("firing", "a"), ("firing", "b")] == sorted(yard.told)


@pytest.mark.parametrize("state", ["stopped", "draining"])
def test_none_is_missed_where_the_workers_were_told_to_leave(
    ledger: Ledger, clock: ManualClock, state: str
) -> None:
    """For as long as they are away; the age begins anew when they are back."""
    yard = Yard(ledger, clock)
    yard.pass_s(200)
    yard.states["a"] = state
    yard.pass_s(400)
    assert [("firing", "b")] == yard.told
    yard.pass_s(1200)
    yard.states["a"] = "loading"
    yard.pass_s(300)
    assert [("firing", "b")] == yard.told
    yard.pass_s(120)
    assert [("firing", "b"), ("firing", "a")] == yard.told


def test_it_begins_anew_where_none_were_sent_for_long(ledger: Ledger, clock: ManualClock) -> None:
    """As while beat was away, which is a fault of its own until the next is sent."""
    yard = Yard(ledger, clock)
    yard.pass_s(120)
    clock.advance(86_400)
    yard.pass_s(300)
    assert [("firing", "a"), ("firing", "b"), ("resolved", "a"), ("resolved", "b")] == yard.told


def test_canaries_that_are_sent_seldom_may_take_their_time(
    ledger: Ledger, clock: ManualClock
) -> None:
    """The limit follows the setting: two of them, and a minute."""
    yard = Yard(ledger, clock, every_s=600)
    clock.now -= clock.now % 600
    yard.pass_s(1240)
    assert [] == yard.told
    yard.pass_s(60)
    assert 2 == len(yard.told)
