"""What is on its way, what overtakes what, what became of it, and clocks that are set back."""

from __future__ import annotations

from ledger import Ledger, ManualClock, alert_channels, alert_fates, alert_outbox, alerts
from ledger.alert_channels import ChannelRow
from tests.integration.ledger.test_alerts import KINDS, put, waiting

HOT = alerts.fingerprint("GpuHot")


def test_what_is_on_its_way_is_not_dropped_for_something_newer(ledger: Ledger) -> None:
    """Until it comes back: then the newer one takes its place, on its channel."""
    put(ledger, "firing", "event")
    put(ledger, "firing", channel="telegram")
    ids = [row.id for row in waiting(ledger)]
    with ledger.write() as tx:
        alert_outbox.take_in_hand(tx, ids, delivery="d")
        assert ids == alert_outbox.in_hand(tx)
        assert 1 == alert_outbox.supersede(tx, [HOT], kinds=KINDS)
    assert [] == waiting(ledger, "telegram")
    put(ledger, "resolved")
    with ledger.write() as tx:
        alert_outbox.give_back(tx, alert_outbox.in_hand(tx), kinds=KINDS)
        assert [] == alert_outbox.in_hand(tx)
    assert ["event", "resolved"] == [row.kind for row in waiting(ledger)]
    with ledger.read() as tx:
        assert {
            ("discord", "firing", "suppressed"): 1,
            ("telegram", "firing", "suppressed"): 1,
        } == alert_channels.totals(tx)


def test_what_comes_back_and_was_not_overtaken_waits(ledger: Ledger) -> None:
    """Something newer about another alert, or elsewhere, is nothing to it."""
    put(ledger, "firing")
    (row,) = waiting(ledger)
    with ledger.write() as tx:
        alert_outbox.take_in_hand(tx, [row.id], delivery="d")
    put(ledger, "resolved", name="Other")
    put(ledger, "resolved", channel="telegram")
    with ledger.write() as tx:
        alert_outbox.give_back(tx, [row.id], kinds=KINDS)
    assert ["firing", "resolved"] == [row.kind for row in waiting(ledger)]


def test_the_fate_of_each_message_is_known(ledger: Ledger) -> None:
    """By what it is about and by channel, the oldest first."""
    put(ledger, "firing", "resolved")
    put(ledger, "firing", channel="telegram")
    first, late = waiting(ledger)[0].id, waiting(ledger, "telegram")[0].id
    with ledger.write() as tx:
        alert_outbox.finish(tx, [first], delivery="d")
        alert_outbox.drop(tx, [late], outcome="failed", error="late")
        assert {
            HOT: {
                "discord": [("firing", "sent"), ("resolved", "waiting")],
                "telegram": [("firing", "dropped")],
            }
        } == alert_fates.of(tx, [HOT, alerts.fingerprint("Other")])


def test_it_is_known_whether_something_was_told_lately(ledger: Ledger) -> None:
    """And not in a time to come, where a clock was set back."""
    put(ledger, "event")
    with ledger.read() as tx:
        assert alert_fates.is_told(tx, HOT, after=tx.now - 60)
        assert not alert_fates.is_told(tx, HOT, after=tx.now)
        assert not alert_fates.is_told(tx, alerts.fingerprint("Other"), after=0)


def test_what_channels_wait_for_follows_a_clock_that_was_set_back(ledger: Ledger) -> None:
    """All of them; what never was stays so."""
    with ledger.write() as tx:
        alert_channels.note(tx, ChannelRow(channel="a", next_at=5000.0, delivered_at=4000.0))
        alert_channels.note(tx, ChannelRow(channel="b", next_at=0.0, failures=3))
        alert_channels.set_back(tx, 3600.0)
        found = alert_channels.list(tx)
    assert (1400.0, 400.0) == (found["a"].next_at, found["a"].delivered_at)
    assert (-3600.0, None, 3) == (found["b"].next_at, found["b"].delivered_at, found["b"].failures)


def test_a_judge_knows_when_it_last_kept_something(ledger: Ledger, clock: ManualClock) -> None:
    """Or that it never did."""
    with ledger.write() as tx:
        assert alerts.noted_at(tx, "x") is None
        alerts.note_state(tx, "x", None)
        assert alerts.noted_at(tx, "x") == tx.now
