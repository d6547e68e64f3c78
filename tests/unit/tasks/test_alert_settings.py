"""Who judges and who is told: one table, a few variables, clear errors, and no secret in any."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring.alerts.alert import Severity
from monitoring.alerts.channels import Discord, Telegram, Webhook
from monitoring.alerts.channels.telegram import BASE_URL
from monitoring.alerts.notifier import REPEAT_AFTER_S, Source
from tasks import settings
from tasks.alert_settings import AlertSettings, configured
from tasks.alert_wiring import limits
from tasks.errors import SettingsInvalid

URL = "https://discord.com/api/webhooks/1/very-secret"


def of(tmp_path: Path, text: str = "", **environment: str) -> AlertSettings:
    """What a file and an environment say."""
    file = tmp_path / "h.toml"
    file.write_text(text)
    return configured(settings.read({"HONEYFLOW_CONFIG": str(file), **environment}))


def test_nobody_is_told_unless_somebody_is_named(tmp_path: Path) -> None:
    """Rules are judged by beat: most have no Prometheus."""
    assert AlertSettings() == of(tmp_path)
    assert (Source.BUILTIN, (), REPEAT_AFTER_S) == (
        AlertSettings().source,
        AlertSettings().channels,
        AlertSettings().repeat_after_s,
    )


def test_channels_are_tables(tmp_path: Path) -> None:
    """Each with its secrets in files, which are not read yet."""
    found = of(
        tmp_path,
        """
        [alerts]
        source = "prometheus"
        repeat_after_s = 60
        token_file = "/nowhere/token"
        [alerts.channels.team]
        type = "discord"
        url_file = "/nowhere/url"
        minimum = "page"
        [alerts.channels.ops]
        type = "telegram"
        token_file = "/nowhere/token"
        chat_id = "-1"
        base_url = "http://localhost:8081"
        [alerts.channels.mine]
        type = "webhook"
        url = "https://example.com/hook"
        token_file = "/nowhere/token"
        """,
    )
    assert (Source.PROMETHEUS, 60.0) == (found.source, found.repeat_after_s)
    assert found.token is not None
    team, ops, mine = found.channels
    assert isinstance(team, Discord)
    assert isinstance(ops, Telegram)
    assert isinstance(mine, Webhook)
    assert ("team", Severity.PAGE) == (team.name, team.minimum)
    assert ("ops", Severity.INFO, "http://localhost:8081", "-1") == (
        ops.name,
        ops.minimum,
        ops.base_url,
        ops.chat.read(),
    )
    assert "https://example.com/hook" == mine.url.read()


def test_the_environment_names_discord_and_telegram(tmp_path: Path) -> None:
    """As it is, or by a file; neither is shown anywhere."""
    file = tmp_path / "token"
    file.write_text("1:very-secret\n")
    variables = {
        "DISCORD_WEBHOOK_URL": URL,
        "TELEGRAM_BOT_TOKEN_FILE": str(file),
        "TELEGRAM_CHAT_ID": "-5",
        "HONEYFLOW_ALERTS_SOURCE": "prometheus",
    }
    found = of(tmp_path, "[alerts]\nsource = 'builtin'\n", **variables)
    discord, telegram = found.channels
    assert isinstance(discord, Discord)
    assert isinstance(telegram, Telegram)
    assert (URL, "1:very-secret", "-5", BASE_URL) == (
        discord.url.read(),
        telegram.token.read(),
        telegram.chat.read(),
        telegram.base_url,
    )
    assert Source.PROMETHEUS == found.source
    assert "secret" not in repr(found)
    whole = settings.read({"HONEYFLOW_CONFIG": str(tmp_path / "h.toml"), **variables})
    assert "very-secret" not in repr(whole)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source = 'both'", "alerts.source must be one of builtin, prometheus"),
        ("sauce = 'builtin'", "alerts.sauce must be left out"),
        ("repeat_after_s = 0", "repeat_after_s must be a number of seconds"),
        ("token_file = 5", "token_file must be a text"),
        ("channels = 5", "must be tables"),
        ("channels.a = 5", "must be tables"),
        ("channels.A.type = 'discord'", "named with a-z"),
        ("channels.a.type = 'pager'", "one of discord, telegram, webhook"),
        ("channels.a.minimum = 'page'", "channels.a.type must be given"),
        ("channels.a = {type = 'discord'}", "url_file must be given"),
        ("channels.a = {type = 'discord', url = 'https://a'}", "url must be left out"),
        ("channels.a = {type = 'discord', url_file = 'f', minimum = 'loud'}", "minimum must be"),
        ("channels.a = {type = 'telegram', token_file = 'f'}", "chat_id_file must be given"),
        ("channels.a = {type = 'webhook', url = 'ftp://word@a'}", "http:// or https:// address"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    """With its key; an address is not shown, for it may be a secret."""
    with pytest.raises(SettingsInvalid, match=words) as caught:
        of(tmp_path, f"[alerts]\n{text}\n")
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"TELEGRAM_BOT_TOKEN": "1:very-secret"},
        {"TELEGRAM_CHAT_ID": "-1"},
        {"DISCORD_WEBHOOK_URL": URL, "DISCORD_WEBHOOK_URL_FILE": "/nowhere"},
        {
            "TELEGRAM_BOT_TOKEN": "1:very-secret",
            "TELEGRAM_CHAT_ID": "-1",
            "TELEGRAM_API_URL": "nowhere",
        },
        {"HONEYFLOW_ALERTS_SOURCE": "both"},
    ],
    ids=["no chat", "no token", "twice", "no address", "no source"],
)
def test_an_unclear_environment_is_refused(tmp_path: Path, variables: dict[str, str]) -> None:
    """Without its secrets."""
    with pytest.raises(SettingsInvalid) as caught:
        of(tmp_path, **variables)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"WorkerStale": 60}),
        ("[timing]\nstale_s = 7", {"WorkerStale": 7}),
        ("[canary]\nevery_s = 1", {"WorkerStale": 60, "CanaryStale": 300}),
        ("[canary]\nevery_s = 120", {"WorkerStale": 60, "CanaryStale": 300}),
        ("[canary]\nevery_s = 150", {"WorkerStale": 60, "CanaryStale": 360}),
        ("[canary]\nevery_s = 3600", {"WorkerStale": 60, "CanaryStale": 7260}),
    ],
    ids=["none", "silence", "often", "still enough", "too seldom for that", "seldom"],
)
def test_limits_follow_the_settings(tmp_path: Path, text: str, expected: dict[str, float]) -> None:
    """Whoever judges; nothing is said of canaries where there are none."""
    file = tmp_path / "h.toml"
    file.write_text(text)
    assert expected == limits(settings.read({"HONEYFLOW_CONFIG": str(file)}))
