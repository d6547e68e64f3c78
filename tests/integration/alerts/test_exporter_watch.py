"""Where Prometheus judges: nobody takes Alertmanager's posts, and people hear of it."""

from __future__ import annotations

import pytest

from ledger import Ledger, ManualClock, alerts, leases
from monitoring.alerts.exporter_watch import AWAY_S, MOST_S, ExporterWatch
from monitoring.alerts.message import Kind
from monitoring.alerts.notifier import REPEAT_AFTER_S, Notifier, Source
from monitoring.follower import LEASE, LEASE_S, Follower
from tests.integration.alerts.paper import Paper, deliver

ROUND_S = 5
FIRES = (Kind.FIRING, "ExporterAway")
ENDS = (Kind.RESOLVED, "ExporterAway")


class Home:
    """A maintenance worker's rounds, beside exporters that count or do not."""

    def __init__(self, ledger: Ledger, clock: ManualClock, paper: Paper) -> None:
        self.ledger, self.clock, self.paper = ledger, clock, paper
        self.exporters = [Follower(ledger, holder=name) for name in ("a", "b")]
        self.counting: Follower | None = None
        self.watch = self.watching()

    def watching(self) -> ExporterWatch:
        """A watch without a past."""
        return ExporterWatch(
            self.ledger, Notifier(self.ledger, [self.paper], source=Source.PROMETHEUS)
        )

    def rounds(self, seconds: float) -> list[tuple[Kind, str]]:
        """What is told meanwhile."""
        before = len(self.paper.items)
        for _ in range(int(seconds / ROUND_S)):
            self.clock.advance(ROUND_S)
            if self.counting is not None:
                with self.ledger.write() as tx:
                    # As `advance` does when half of its time has passed.
                    assert leases.take(tx, LEASE, "a", LEASE_S)
            self.watch.look()
            deliver(self.ledger, self.clock, self.paper)
        return self.paper.items[before:]


@pytest.fixture
def home(ledger: Ledger, clock: ManualClock, paper: Paper) -> Home:
    """One whose exporter counts."""
    made = Home(ledger, clock, paper)
    made.counting = made.exporters[0]
    return made


def test_people_hear_of_an_exporter_that_hangs_and_of_its_return(home: Home) -> None:
    """Once, as long as it lasts."""
    assert [] == home.rounds(300)
    home.counting = None
    assert [] == home.rounds(LEASE_S + AWAY_S - ROUND_S)
    assert [FIRES] == home.rounds(3 * ROUND_S)
    assert [] == home.rounds(600)
    home.counting = home.exporters[0]
    assert [ENDS] == home.rounds(ROUND_S)
    assert [] == home.rounds(300)
    (told,) = home.paper.told[-1].items
    assert told.alert.runbook.endswith("#exporteraway")


def test_it_is_said_again_as_everything_that_lasts(home: Home) -> None:
    home.counting = None
    home.rounds(120)
    home.clock.advance(REPEAT_AFTER_S)
    assert [(Kind.REPEAT, "ExporterAway")] == home.rounds(2 * ROUND_S)


def test_one_that_was_never_there_is_missed_as_well(home: Home) -> None:
    """Where Prometheus judges there has to be one; a moment is left for it to start."""
    home.counting = None
    assert [] == home.rounds(AWAY_S)
    assert [FIRES] == home.rounds(ROUND_S)


def test_one_that_stands_by_takes_over_before_anybody_is_told(home: Home) -> None:
    home.rounds(60)
    home.counting = None
    assert [] == home.rounds(AWAY_S)
    standby = home.exporters[1]
    standby.advance()
    assert standby.leads
    assert [] == home.rounds(LEASE_S)


def test_a_watch_that_is_replaced_neither_ends_nor_repeats_it(home: Home) -> None:
    """The maintenance worker may be started again meanwhile."""
    home.counting = None
    assert [FIRES] == home.rounds(120)
    home.watch = home.watching()
    assert [] == home.rounds(300)
    home.watch = home.watching()
    home.counting = home.exporters[0]
    assert [ENDS] == home.rounds(ROUND_S)


def test_who_stood_still_itself_accuses_nobody(home: Home) -> None:
    """All processes of a machine may have been stopped, and go on at once."""
    home.rounds(60)
    home.counting = None
    home.clock.advance(3600)
    assert [] == home.rounds(ROUND_S + MOST_S)
    home.counting = home.exporters[0]
    assert [] == home.rounds(AWAY_S)


def test_a_lease_of_another_boot_is_nobodys(home: Home, clock: ManualClock) -> None:
    home.rounds(60)
    home.counting = None
    clock.boot = "boot-2"
    clock.lease_now = 5.0
    assert [FIRES] == home.rounds(AWAY_S + MOST_S + ROUND_S)


def test_it_is_remembered_as_any_alert(home: Home) -> None:
    home.counting = None
    home.rounds(120)
    with home.ledger.read() as tx:
        (row,) = alerts.list(tx, firing=True)
    assert ("ExporterAway", "page", "prometheus") == (row.rule, row.severity, row.source)
