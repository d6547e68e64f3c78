"""`honeyflow alerts test` and `list`, and what stands behind POST /alerts."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cli import alerts
from cli.alerts import ChannelMissing
from ledger import Ledger, alert_fates, alert_outbox
from ledger.alerts import list as rows_of
from monitoring.alerts.alert import Severity
from monitoring.alerts.delivery import Deliverer
from monitoring.alerts.notifier import Notifier, Source
from tests.commands import run_all
from tests.fake_channels import FakeDiscord, FakeTelegram
from tests.integration.alerts.paper import AWAY, Paper
from tests.integration.alerts.test_channels import channel_to
from tests.stack import BIN, write_config
from tests.unit.monitoring.test_alert_notifier import alert


def honeyflow(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command."""
    return subprocess.run(
        [str(BIN / "honeyflow"), "alerts", *words],
        env={**os.environ, "HONEYFLOW_CONFIG": str(home / "honeyflow.toml"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def told(tmp_path: Path, discord: FakeDiscord, telegram: FakeTelegram) -> dict[str, str]:
    """The environment of people at the fakes."""
    write_config(tmp_path)
    return {
        "DISCORD_WEBHOOK_URL": discord.url,
        "TELEGRAM_BOT_TOKEN": telegram.secret,
        "TELEGRAM_CHAT_ID": telegram.chat,
        "TELEGRAM_API_URL": telegram.base_url,
    }


def test_a_test_goes_to_every_channel(
    tmp_path: Path, told: dict[str, str], discord: FakeDiscord, telegram: FakeTelegram
) -> None:
    """And says what each answered; no secret is shown. Nothing but the network is needed."""
    telegram.fault = "status_401"
    done = honeyflow(tmp_path, "test", **told)
    assert ["This is a test"] == [text.split("\n")[1][:14] for text in discord.texts]
    assert "discord: taken\n" in done.stdout
    assert "telegram: Telegram, channel telegram at 127.0.0.1, answers with 401" in done.stdout
    assert 1 == done.returncode
    assert "Secret" not in done.stdout + done.stderr


def test_without_a_channel_it_says_how_to_make_one() -> None:
    """This process has none."""
    with pytest.raises(ChannelMissing) as caught:
        alerts.try_out()
    assert "ALERT_CHANNEL_MISSING" == caught.value.code
    assert "DISCORD_WEBHOOK_URL" in caught.value.suggested_action


@pytest.fixture
def on_paper(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger."""
    with Ledger.open(f"sqlite:///{tmp_path}/words.db", migrate=True) as opened:
        yield opened


def test_the_list_says_whether_people_know(on_paper: Ledger) -> None:
    """Told, or still to be told, or nobody is there to tell."""
    away, well = Paper(name="away", fault=AWAY), Paper(name="well", minimum=Severity.PAGE)
    waits = alert("Waits", severity=Severity.WARNING)
    told = alert("Told")
    quiet = alert("Quiet", severity=Severity.NONE)
    tell = partial(Notifier, on_paper, source=Source.BUILTIN)
    tell([away, well]).hear([waits, told, quiet])
    Deliverer(on_paper, [away, well]).run()
    tell([]).hear([alert("Nobody")])
    late = alert("Late")
    tell([away]).hear([late])
    with on_paper.write() as tx:
        stale = [row.id for row in alert_outbox.waiting(tx, "away") if row.alert["rule"] == "Late"]
        alert_outbox.drop(tx, stale, outcome="failed", error="too old")
    assert {
        "Waits": "waits",
        "Told": "told",
        "Quiet": "kept quiet",
        "Nobody": "no channel",
        "Late": "given up",
    } == reached(on_paper)
    # That it was told before it ended is not that it was told since.
    tell([well]).hear([replace(told, firing=False, ended=told.since + 1)])
    Deliverer(on_paper, [well]).run()
    tell([away]).hear([alert("Told")])
    assert "waits" == reached(on_paper)["Told"]


def reached(ledger: Ledger) -> dict[str, str]:
    """The word for each alert that fires."""
    with ledger.read() as tx:
        rows = rows_of(tx, firing=True)
        fates = alert_fates.of(tx, [row.fingerprint for row in rows])
    return {row.rule: alerts.reach(row, fates.get(row.fingerprint, {})) for row in rows}


def test_the_list_shows_what_fires_and_what_was_told(
    tmp_path: Path,
    told: dict[str, str],
    discord: FakeDiscord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the fate of every message; whatever a label holds, it is one line of text."""
    (tmp_path / "data").mkdir()
    with Ledger.open(f"sqlite:///{tmp_path}/data/ledger.db", migrate=True) as ledger:
        notifier = Notifier(ledger, [channel_to(discord)], source=Source.BUILTIN)
        notifier.hear([alert("GpuHot", labels={"worker": "w1\x1b[31m\n"}), alert("DiskLow")])
        notifier.hear([alert("DiskLow", firing=False)])
        Deliverer(ledger, [channel_to(discord)]).run()
    for name, text in told.items():
        monkeypatch.setenv(name, text)
    shown, as_json, missing = run_all(
        tmp_path, *(f"honeyflow alerts {words}" for words in ("list", "list --json", "test nobody"))
    )
    assert "judged by builtin; 1 firing" in shown
    assert "GpuHot is told" in shown
    assert " told " in shown
    assert "\x1b" not in shown
    fates = [line.split() for line in shown.splitlines() if "team" in line]
    assert {("resolved", "sent"), ("firing", "sent"), ("firing", "dropped")} == {
        (words[5], words[6]) for words in fates
    }
    whole = json.loads(as_json)
    assert [("GpuHot", "told")] == [(one["rule"], one["told"]) for one in whole["firing"]]
    assert ["discord", "telegram"] == [one["name"] for one in whole["channels"]]
    assert 3 == len(whole["messages"])
    assert "no channel 'nobody'" in missing
    assert "discord, telegram" in missing
