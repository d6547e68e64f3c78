"""Who follows the ledger says whether what it counted may be shown."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import Ledger
from monitoring import follower as follower_module
from monitoring import following as module
from monitoring.follower import Follower
from monitoring.following import Following, Role
from tests.integration.ledger.support import enter
from tests.stack import wait_for

Start = Callable[[str], Following]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with one job."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", migrate=True) as opened:
        enter(opened, model="spine")
        yield opened


@pytest.fixture
def start(ledger: Ledger) -> Iterator[Start]:
    """Start followers that end with the test."""
    started: list[Following] = []

    def begin(holder: str) -> Following:
        one = Following(Follower(ledger, holder=holder, models=["spine"]), every_s=0.01)
        started.append(one)
        one.start()
        return one

    yield begin
    for one in started:
        one.stop()


def until(one: Following, role: Role) -> str:
    """Wait until it has that role; gives its reason."""
    wait_for(lambda: one.standing.role is role)
    return one.standing.reason


def test_a_leader_counts_and_gives_no_reason(start: Start, ledger: Ledger) -> None:
    """What comes later is counted without being asked."""
    one = start("a")
    assert until(one, Role.LEADER) == ""
    submitted = ("swarmos_jobs_submitted_total", ("spine", "normal", "client"))
    wait_for(lambda: one.totals[submitted].value == 1)
    enter(ledger, model="spine")
    wait_for(lambda: one.totals[submitted].value == 2)
    assert one.lag == 0


def test_a_standby_takes_over_when_the_leader_stops(start: Start) -> None:
    """At once, for the lease is given back."""
    first = start("a")
    until(first, Role.LEADER)
    second = start("b")
    assert "stands by" in until(second, Role.STANDBY)
    first.stop()
    until(second, Role.LEADER)


def test_one_that_still_counts_what_was_before_shows_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counters that rise by a million in a minute would look like a rate."""
    monkeypatch.setattr(module, "BEHIND", -1)
    one = start("a")
    wait_for(lambda: "still to be counted" in one.standing.reason)
    assert Role.CATCHING_UP is one.standing.role


def test_a_ledger_that_is_away_is_the_reason(start: Start, ledger: Ledger, tmp_path: Path) -> None:
    """Until it is back."""
    one = start("a")
    until(one, Role.LEADER)
    file = tmp_path / "ledger.db"
    file.rename(tmp_path / "away.db")
    assert str(file) in until(one, Role.CUT_OFF)
    (tmp_path / "away.db").rename(file)
    until(one, Role.LEADER)


def test_totals_that_grow_old_are_not_shown(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the store hangs."""
    one = start("a")
    until(one, Role.LEADER)
    monkeypatch.setattr(module, "STALE_S", -1.0)
    assert "has not been followed" in one.standing.reason
    assert one.standing.role is Role.CUT_OFF


def test_one_that_hung_does_not_say_that_another_exports(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is over and nobody has taken it; when it goes on, it leads again."""
    monkeypatch.setattr(follower_module, "LEASE_S", 0.3)
    one = start("a")
    until(one, Role.LEADER)
    go_on = threading.Event()
    advance = one._follower.advance

    def hang() -> int:
        assert go_on.wait(30)
        return advance()

    monkeypatch.setattr(one._follower, "advance", hang)
    reason = until(one, Role.CUT_OFF)
    assert "Another" not in reason
    assert "has hung" in reason
    go_on.set()
    until(one, Role.LEADER)


def test_one_that_has_not_begun_says_so(ledger: Ledger) -> None:
    """Nobody else exports, as far as it knows; nor when it is about to end."""
    one = Following(Follower(ledger, holder="a"))
    assert (Role.CATCHING_UP, "The ledger has not been looked at yet.") == (
        one.standing.role,
        one.standing.reason,
    )
    one.start()
    until(one, Role.LEADER)
    one.stop()
    assert (Role.CUT_OFF, "This process is about to end.") == (
        one.standing.role,
        one.standing.reason,
    )
