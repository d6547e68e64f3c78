"""Alerts that fire, what is to be told of them, and how the channels fare."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ledger import Ledger, ManualClock, alert_channels, alert_outbox, alerts
from ledger.alert_channels import ChannelRow
from ledger.alert_outbox import MessageRow, NewMessage
from ledger.alerts import AlertRow

KINDS = ("firing", "resolved", "repeat")


def row(name: str = "GpuHot", **columns: Any) -> AlertRow:
    """An alert that fires."""
    given: dict[str, Any] = {
        "fingerprint": alerts.fingerprint(name),
        "rule": name,
        "source": "builtin",
        "severity": "page",
        "alert": {"rule": name, "labels": {"gpu": "0"}},
        "since": 5.0,
        "ended_at": None,
        "heard_at": 6.0,
        "told_at": None,
    }
    return AlertRow(**(given | columns))


def put(ledger: Ledger, *kinds: str, channel: str = "discord", name: str = "GpuHot") -> None:
    """Messages of these kinds, in this order."""
    with ledger.write() as tx:
        alert_outbox.add(
            tx,
            [
                NewMessage(
                    channel=channel,
                    kind=kind,
                    fingerprint=alerts.fingerprint(name),
                    alert={"rule": name},
                )
                for kind in kinds
            ],
        )


def waiting(ledger: Ledger, channel: str = "discord") -> list[MessageRow]:
    """What a channel has to tell."""
    with ledger.read() as tx:
        return alert_outbox.waiting(tx, channel)


def test_an_alert_is_kept_as_it_was_written_last(ledger: Ledger) -> None:
    """Those that fire apart; the oldest first."""
    younger, older = row("B", since=7.0), row("A", told_at=6.5)
    with ledger.write() as tx:
        alerts.write(tx, [younger, older])
        alerts.write(tx, [])
        assert [older, younger] == alerts.list(tx)
        ended = row("B", since=7.0, ended_at=9.0, alert={"rule": "B", "value": None})
        alerts.write(tx, [ended])
    with ledger.read() as tx:
        assert [older, ended] == alerts.list(tx)
        assert [older] == alerts.list(tx, firing=True)


def test_what_has_ended_is_forgotten_once_people_know(ledger: Ledger) -> None:
    """Not before: the good news is still to be told."""
    rows = [
        row("fires"),
        row("ended", ended_at=10.0),
        row("unsaid", ended_at=10.0, told_at=6.0),
        row("recent", ended_at=99.0),
    ]
    with ledger.write() as tx:
        alerts.write(tx, rows)
        assert 1 == alerts.forget(tx, ended_before=50.0)
        assert {"fires", "unsaid", "recent"} == {one.rule for one in alerts.list(tx)}


def test_a_judge_finds_what_it_kept(ledger: Ledger) -> None:
    """Whatever else took its turn meanwhile."""
    with ledger.write() as tx:
        alerts.take_turn(tx)
        assert alerts.state(tx, "builtin") is None
        alerts.note_state(tx, "builtin", {"seen": [1.5, None, "x"]})
        alerts.take_turn(tx)
    with ledger.write() as tx:
        assert {"seen": [1.5, None, "x"]} == alerts.state(tx, "builtin")
        alerts.note_state(tx, "builtin", {})
    with ledger.read() as tx:
        assert {} == alerts.state(tx, "builtin")


def test_those_who_change_alerts_take_turns(ledger: Ledger) -> None:
    """Each sees what the one before it wrote."""

    def tell_unless_told(_: int) -> bool:
        with ledger.write() as tx:
            alerts.take_turn(tx)
            if alerts.list(tx):
                return False
            alerts.write(tx, [row()])
            return True

    with ThreadPoolExecutor(6) as threads:
        assert 1 == sum(threads.map(tell_unless_told, range(12)))


def test_a_key_of_any_length_and_any_signs_has_a_fingerprint() -> None:
    """Another key has another one."""
    keys = ["", "a", "a" * 100_000, "\ud800", 'GpuHot{gpu="0"}', 'GpuHot{gpu="1"}']
    assert len(keys) == len({alerts.fingerprint(key) for key in keys})


def test_messages_wait_in_order_until_a_channel_has_taken_them(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Those that went out as one count as one delivery."""
    put(ledger, "firing", "event", "event")
    put(ledger, "firing", channel="telegram")
    first, *rest = waiting(ledger)
    assert ["firing", "event", "event"] == [one.kind for one in (first, *rest)]
    assert ({"rule": "GpuHot"}, "waiting", 0, None) == (
        first.alert,
        first.state,
        first.tries,
        first.error,
    )
    with ledger.write() as tx:
        assert {"discord": 3, "telegram": 1} == alert_outbox.lengths(tx)
        assert 1 == alert_outbox.finish(tx, [first.id], delivery="one")
    clock.advance(5)
    with ledger.write() as tx:
        assert 2 == alert_outbox.finish(tx, [one.id for one in rest], delivery="two")
        assert 0 == alert_outbox.finish(tx, [first.id], delivery="three")
        assert {"telegram": 1} == alert_outbox.lengths(tx)
        now = tx.now
        assert [now - 5, now] == alert_outbox.deliveries(tx, "discord", after=now - 60)
        assert [now] == alert_outbox.deliveries(tx, "discord", after=now - 5)
        assert [] == alert_outbox.deliveries(tx, "telegram", after=0)
        assert {
            ("discord", "firing", "ok"): 1,
            ("discord", "event", "ok"): 2,
        } == alert_channels.totals(tx)
    assert [] == waiting(ledger)


def test_what_something_newer_makes_needless_is_dropped(ledger: Ledger) -> None:
    """Of the same alert and these kinds only, on every channel; what was sent stays sent."""
    put(ledger, "firing", "event")
    put(ledger, "firing", channel="telegram")
    put(ledger, "firing", name="Other")
    with ledger.write() as tx:
        sent = alert_outbox.waiting(tx, "telegram")[0]
        alert_outbox.finish(tx, [sent.id], delivery="one")
        prints = [alerts.fingerprint("GpuHot"), *(str(number) for number in range(1200))]
        assert 1 == alert_outbox.supersede(tx, prints, kinds=KINDS)
        assert 0 == alert_outbox.supersede(tx, [], kinds=KINDS)
        dropped = [one for one in alert_outbox.latest(tx) if one.state == "dropped"]
        assert 1 == alert_channels.totals(tx)["discord", "firing", "suppressed"]
    assert [("discord", "firing")] == [(one.channel, one.kind) for one in dropped]
    assert dropped[0].error is not None
    assert ["event", "firing"] == [one.kind for one in waiting(ledger)]


def test_failures_are_counted_and_said(ledger: Ledger, clock: ManualClock) -> None:
    """What waits too long can be found, and given up; the totals outlive the rows."""
    put(ledger, "firing")
    clock.advance(100)
    put(ledger, "firing")
    ids = [one.id for one in waiting(ledger)]
    with ledger.write() as tx:
        alert_outbox.fail(tx, ids, error="away\0")
        alert_outbox.fail(tx, ids[:1], error="still away")
        assert ids[:1] == alert_outbox.late(tx, created_before=tx.now - 100)
        assert 1 == alert_outbox.drop(tx, ids[:1], outcome="failed", error="too late")
    (left,) = waiting(ledger)
    assert (1, "away\ufffd") == (left.tries, left.error)
    clock.advance(1)
    with ledger.write() as tx:
        assert 1 == alert_outbox.forget(tx, ended_before=tx.now - 1)
        assert [left.id] == [one.id for one in alert_outbox.latest(tx)]
        assert {"retried": 3, "failed": 1} == {
            outcome: total for (_, _, outcome), total in alert_channels.totals(tx).items()
        }


def test_the_newest_messages_are_listed_first(ledger: Ledger) -> None:
    """As many as asked for, of all channels; no number is used twice."""
    put(ledger, "firing", "resolved")
    with ledger.write() as tx:
        newest = alert_outbox.latest(tx, 1)
        alert_outbox.finish(tx, [newest[0].id], delivery="one")
        alert_outbox.forget(tx, ended_before=tx.now)
    put(ledger, "event", channel="telegram")
    with ledger.read() as tx:
        found = alert_outbox.latest(tx)
    assert [("telegram", "event"), ("discord", "firing")] == [
        (one.channel, one.kind) for one in found
    ]
    assert found[0].id > newest[0].id


def test_how_a_channel_fares_is_kept(ledger: Ledger) -> None:
    """By its name."""
    away = ChannelRow(channel="discord", next_at=9.0, failures=2, error="away", delivered_at=3.0)
    well = ChannelRow(channel="telegram")
    with ledger.write() as tx:
        assert {} == alert_channels.list(tx)
        alert_channels.note(tx, well)
        alert_channels.note(tx, ChannelRow(channel="discord"))
        alert_channels.note(tx, away)
    with ledger.read() as tx:
        assert {"discord": away, "telegram": well} == alert_channels.list(tx)
