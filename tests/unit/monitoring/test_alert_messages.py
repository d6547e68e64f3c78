"""Messages as people read them: grouped, escaped, cut to fit, and nothing left out silently."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.alert_outbox import MessageRow
from monitoring.alerts import stored
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.channels import discord, telegram, webhook
from monitoring.alerts.channels.text import cut, fitted, is_link, plain, units
from monitoring.alerts.grouping import DIGEST_EVERY_S, PER_MINUTE, next_message
from monitoring.alerts.message import Item, Kind, Message, duration
from tests.fake_channels import FakeDiscord, FakeTelegram
from tests.unit.monitoring.test_alert_notifier import NOW, alert

HOSTILE = (
    "@everyone",
    "<@&123> <#5> <t:1:R>",
    "**bold** _it_ ~~gone~~ `code` ||spoiler||",
    "[click](https://evil.example/)",
    "<b>&amp;</b> & <script>alert(1)</script> </b>",
    "# head > quote - item",
    "back\\slash \\* \\\\",
)


def message(*kinds: Kind, **columns: Any) -> Message:
    """A message with an item of each kind."""
    items = [
        Item(id=number, kind=kind, alert=alert(firing=kind is not Kind.RESOLVED, **columns))
        for number, kind in enumerate(kinds, start=1)
    ]
    return Message(id="m", items=items)


def read_on_discord(told: Message) -> str:
    """What people read; the real one's limits are checked."""
    payload = discord.rendered(told)
    assert FakeDiscord.problem(None, payload) is None  # type: ignore[arg-type]
    return FakeDiscord.text_of(None, payload)  # type: ignore[arg-type]


def read_on_telegram(told: Message) -> str:
    """The same."""
    payload = {"chat_id": FakeTelegram.chat, **telegram.rendered(told)}
    assert FakeTelegram.problem(FakeTelegram, payload) is None  # type: ignore[arg-type]
    return FakeTelegram.text_of(None, payload)  # type: ignore[arg-type]


READERS = [
    pytest.param(read_on_discord, id="discord"),
    pytest.param(read_on_telegram, id="telegram"),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("text", HOSTILE, ids=[f"text {n}" for n in range(len(HOSTILE))])
def test_whatever_is_in_a_label_is_read_as_it_is(read: Any, text: str) -> None:
    """Nobody is called, nothing is formatted, no link is made."""
    told = message(Kind.FIRING, labels={"worker": text}, summary=text, description=text)
    assert 3 == read(told).count(text)
    assert text in read(message(Kind.FIRING, Kind.FIRING, summary=text))


@pytest.mark.parametrize("text", HOSTILE, ids=[f"text {n}" for n in range(len(HOSTILE))])
def test_no_markup_gets_through_to_discord(text: str) -> None:
    """Every sign that could begin any is escaped."""
    payload = discord.rendered(message(Kind.FIRING, labels={"worker": text}, summary=text))
    bare = re.sub(r"\\[^0-9A-Za-z\s]", "", payload["embeds"][0]["description"])
    assert not set("*_~`|<>[]()@#") & set(bare)


def test_nobody_is_called_on_telegram() -> None:
    """No @ is followed by a name."""
    text = telegram.rendered(message(Kind.FIRING, summary="@all @everyone"))["text"]
    assert re.search(r"@\w", text) is None


def test_what_cannot_be_seen_is_shown_and_lines_are_one() -> None:
    """Marks that turn text around, terminal codes and line breaks."""
    assert "a\ufffdb c \ufffd[31mred\ufffd" == plain("a\u202eb\n\n c \x1b[31mred\0")


@pytest.mark.parametrize("read", READERS)
def test_one_alert_is_told_whole(read: Any) -> None:
    """What, how bad, since when, and where to look."""
    columns = {
        "labels": {"worker": "w1", "gpu": "0"},
        "description": "It is 90 C.",
        "runbook": "docs/runbooks.md#gpuhot",
        "dashboard": "https://grafana.example/d/gpu?var-worker=w1",
    }
    text = read(message(Kind.FIRING, **columns))
    for words in (
        "Firing: GpuHot\nGpuHot is told\nIt is 90 C.",
        "page, since 2023-11-14 22:13:10 UTC",
        "gpu: 0\nworker: w1",
        "runbook: docs/runbooks.md#gpuhot",
        "dashboard",
    ):
        assert words in text
    assert "page, after 10 s" in read(message(Kind.RESOLVED))


def test_links_of_the_web_can_be_followed() -> None:
    """Only those that are nothing else."""
    link = "https://grafana.example/d/gpu?var-worker=w1"
    told = message(Kind.FIRING, dashboard=link)
    assert f"[dashboard](<{link}>)" in discord.rendered(told)["embeds"][0]["description"]
    assert f'<a href="{link}">dashboard</a>' in telegram.rendered(told)["text"]
    for text in ("javascript:alert(1)", "https://a b", 'https://a/"x', "https://a/)", "docs/a"):
        assert not is_link(text)


@pytest.mark.parametrize("read", READERS)
def test_labels_that_do_not_fit_are_counted_and_links_come_through(read: Any) -> None:
    """However many and long they are, and whatever else there is to say."""
    link = "https://grafana.example/" + "d" * 500
    columns = {
        "summary": "&" * 1000,
        "description": "&" * 5000,
        "labels": {f"label{number:03}": "<b>" * 500 for number in range(64)},
        "runbook": link,
        "dashboard": f"{link}?var-worker=w1",
    }
    for columns["description"] in ("", "&" * 5000):
        text = read(message(Kind.FIRING, **columns))
        (left_out,) = re.findall(r"and (\d+) more labels$", text)
        assert 64 == text.count("label0") + int(left_out)
        assert re.search(r"^\[?runbook\b.*\n\[?dashboard\b", text, re.MULTILINE)
    many = {"runbook": f"{link}?" + "&" * 900, "dashboard": f"{link}?" + "&" * 300}
    assert len(read(message(Kind.FIRING, **{**columns, **many}))) <= 4096 + 256


@pytest.mark.parametrize("read", READERS)
def test_a_thousand_alerts_are_all_accounted_for(read: Any) -> None:
    """Those that do not fit are counted."""
    columns = {"summary": "w" * 300 + " is silent"}
    text = read(message(*[Kind.FIRING] * 1000, **columns))
    (left_out,) = re.findall(r"and (\d+) more$", text)
    assert 1000 == text.count("• ") + int(left_out)
    assert text.startswith("Firing: GpuHot (1000)\n")


@pytest.mark.parametrize("read", READERS)
def test_a_digest_says_how_many_there_are_of_each(read: Any) -> None:
    """What is most urgent comes first, good news last."""
    mild = Item(id=1, kind=Kind.EVENT, alert=alert("WorkerStarted", severity=Severity.INFO))
    over = Item(id=2, kind=Kind.RESOLVED, alert=alert("DiskLow", firing=False))
    bad = Item(id=3, kind=Kind.FIRING, alert=alert("GpuHot"))
    lines = read(Message(id="m", items=[mild, over, bad])).splitlines()
    assert [
        "3 messages: 1 firing, 1 resolved, 1 event",
        "WorkerStarted 1, DiskLow 1, GpuHot 1",
        "• GpuHot is told",
        "• WorkerStarted is told",
        "• resolved: DiskLow is told (after 10 s)",
    ] == lines


@settings(max_examples=20)
@given(st.text(), st.text(), st.dictionaries(st.text(), st.text(max_size=900), max_size=40))
def test_any_text_fits_and_is_well_formed(
    summary: str, description: str, labels: dict[str, str]
) -> None:
    """However long, and whatever signs it has."""
    columns = {"summary": summary * 50, "description": description * 90, "labels": labels}
    for told in (message(Kind.FIRING, **columns), message(Kind.FIRING, Kind.EVENT, **columns)):
        read_on_discord(told)
        read_on_telegram(told)
        assert 1 <= len(webhook.rendered(told)["items"])


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_cutting_leaves_a_mark_and_never_half_a_sign(text: str, limit: int) -> None:
    """In the units that are counted."""
    for escape in (discord.escaped, telegram.escaped):
        shown = cut(text, limit, escape)
        assert units(shown) <= limit
        assert shown == escape(text) or shown.endswith("…")


@given(st.lists(st.text(alphabet="ab\U0001f525", max_size=9), max_size=9), st.integers(0, 40))
def test_lines_fit_or_are_counted(lines: list[str], limit: int) -> None:
    """Whole lines only."""
    text, kept = fitted(lines, limit)
    assert text == "\n".join(lines[:kept])
    assert kept == len(lines) or units("\n".join(lines[: kept + 1])) > limit
    assert units(text) <= limit


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.4, "59 s"), (252, "4 min 12 s"), (11_100, "3 h 5 min"), (176_400, "2 d 1 h")],
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    """In two units at most."""
    assert said == duration(seconds)


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.text(), st.dictionaries(st.text(), st.text()), FINITE, st.sampled_from(Severity))
def test_an_alert_is_stored_and_comes_back(
    text: str, labels: dict[str, str], number: float, severity: Severity
) -> None:
    """But for signs that no store takes."""
    whole = Alert(
        rule=text,
        labels=labels,
        severity=severity,
        firing=False,
        since=number,
        ended=number,
        value=number,
        summary=text,
        description=text,
        runbook=text,
        dashboard=text,
    )
    once = stored.from_json(stored.to_json(whole))
    assert once == stored.from_json(stored.to_json(once))
    if "\0" not in text + "".join([*labels, *labels.values()]):
        assert once == whole
    assert stored.to_json(replace(whole, value=float("inf")))["value"] is None


def waiting(*rules: str, kind: str = "firing") -> list[MessageRow]:
    """Rows of the outbox, the oldest first."""
    return [
        MessageRow(
            id=number,
            channel="c",
            kind=kind,
            fingerprint=str(number),
            alert=stored.to_json(alert(rule)),
            state="waiting",
            tries=0,
            error=None,
            created_at=NOW,
            ended_at=None,
            delivery=None,
        )
        for number, rule in enumerate(rules, start=1)
    ]


def ids(told: Message | None) -> list[int] | None:
    """Which rows a message tells."""
    return None if told is None else [item.id for item in told.items]


def test_what_is_of_one_rule_goes_out_together() -> None:
    """The oldest first; good news apart."""
    assert ids(next_message(waiting("A", "B", "A"), [], NOW)) == [1, 3]
    mixed = [*waiting("A"), *(replace(row, id=9) for row in waiting("A", kind="resolved"))]
    assert ids(next_message(mixed, [], NOW)) == [1]
    assert next_message([], [], NOW) is None


def test_more_than_five_a_minute_become_one() -> None:
    """What was sent within the minute counts."""
    rules = "ABCDEF"
    assert ids(next_message(waiting(*rules), [], NOW)) == [1, 2, 3, 4, 5, 6]
    assert ids(next_message(waiting(*rules[:5]), [], NOW)) == [1]
    assert ids(next_message(waiting("A", "B"), [NOW - 30] * 4, NOW)) == [1, 2]
    assert ids(next_message(waiting("A", "B"), [NOW - 60] * 4, NOW)) == [1]


def test_digests_keep_their_distance() -> None:
    """A storm is told four times a minute at most."""
    busy = [NOW - 30] * (PER_MINUTE - 1)
    assert next_message(waiting("A"), [*busy, NOW - DIGEST_EVERY_S + 1], NOW) is None
    assert ids(next_message(waiting("A"), [*busy, NOW - DIGEST_EVERY_S], NOW)) == [1]
