"""Who judges the rules and who is told: `[alerts]` of honeyflow.toml, and the environment.

    [alerts]
    source = "builtin"                     # or "prometheus"
    repeat_after_s = 14400
    token_file = "/run/secrets/alerts"     # what Alertmanager has to show

    [alerts.channels.ops]
    type = "telegram"                      # or "discord", "webhook"
    minimum = "warning"
    token_file = "/run/secrets/telegram"
    chat_id = "-1001234"

The variables of Discord and Telegram make channels of those names. Secrets are never in
honeyflow.toml, only the names of their files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from monitoring.alerts.alert import Severity
from monitoring.alerts.channels import Channel, Discord, Secret, Telegram, Webhook
from monitoring.alerts.channels.telegram import BASE_URL
from monitoring.alerts.notifier import REPEAT_AFTER_S, Source
from tasks.errors import SettingsInvalid
from tasks.settings import Settings

_KNOWN = ("channels", "repeat_after_s", "source", "token_file")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """Who judges, who is told, how often again, and what Alertmanager has to show."""

    source: Source = Source.BUILTIN
    channels: tuple[Channel, ...] = ()
    repeat_after_s: float = REPEAT_AFTER_S
    token: Secret | None = None


def configured(settings: Settings) -> AlertSettings:
    """Return what the settings say; no file of a secret is read yet.

    Raises:
        SettingsInvalid: a key is missing, unknown or wrong.
    """
    table = _Table(settings.alerts, "alerts", str(settings.config_file or "the settings"))
    told = settings.alert_variables
    table.require_known(_KNOWN)
    token_file = told.get("HONEYFLOW_ALERTS_TOKEN_FILE") or table.text("token_file")
    source = told.get("HONEYFLOW_ALERTS_SOURCE") or table.text("source") or Source.BUILTIN
    if source not in set(Source):
        raise table.wrong("source", f"one of {', '.join(Source)}", source)
    named = {
        name: _channel(name, inner) for name, inner in table.tables("channels").items()
    } | _from_environment(told)
    return AlertSettings(
        source=Source(source),
        channels=tuple(named.values()),
        repeat_after_s=table.seconds("repeat_after_s", REPEAT_AFTER_S),
        token=None
        if token_file is None
        else Secret("the token of Alertmanager", file=Path(token_file).expanduser()),
    )


class _Table:
    """A table of honeyflow.toml; every reader raises `SettingsInvalid`, which names the key."""

    def __init__(self, values: Mapping[str, Any], name: str, file: str) -> None:
        self._values, self._name, self._file = values, name, file

    def require_known(self, known: Sequence[str]) -> None:
        """Refuse other keys."""
        for key in self._values:
            if key not in known:
                raise self.wrong(key, f"left out; known keys are {', '.join(sorted(known))}", key)

    def text(self, key: str) -> str | None:
        """A text that is not empty."""
        value = self._values.get(key)
        if value is None or (isinstance(value, str) and value):
            return value
        raise self.wrong(key, "a text that is not empty", value)

    def needed(self, key: str) -> str:
        """A text that there has to be."""
        value = self.text(key)
        if value is None:
            raise self.wrong(key, "given", "nothing")
        return value

    def secret(self, key: str, what: str) -> Secret:
        """A secret in a file."""
        return Secret(what, file=Path(self.needed(f"{key}_file")).expanduser())

    def address(self, key: str) -> str:
        """An http:// or https:// address."""
        value = self.needed(key)
        if not _is_address(value):
            raise self.wrong(key, "an http:// or https:// address", "something else")
        return value

    def seconds(self, key: str, default: float) -> float:
        """A number of seconds above 0."""
        value = self._values.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
            return float(value)
        raise self.wrong(key, "a number of seconds above 0", value)

    def severity(self) -> Severity:
        """The least that is told."""
        value = self.text("minimum") or str(Severity.INFO)
        if value in set(Severity):
            return Severity(value)
        raise self.wrong("minimum", f"one of {', '.join(Severity)}", value)

    def has(self, key: str) -> bool:
        """Whether there is such a key."""
        return key in self._values

    def tables(self, key: str) -> dict[str, _Table]:
        """A table of tables."""
        outer = self._values.get(key, {})
        if not isinstance(outer, dict) or not all(isinstance(one, dict) for one in outer.values()):
            raise self.wrong(key, f"tables such as [{self._name}.{key}.ops]", outer)
        for name in outer:
            if not _NAME.fullmatch(name):
                raise self.wrong(key, "named with a-z, 0-9, - and _", name)
        place = f"{self._name}.{key}"
        return {name: _Table(one, f"{place}.{name}", self._file) for name, one in outer.items()}

    def wrong(self, key: str, wanted: str, value: object) -> SettingsInvalid:
        """The error for a key."""
        return SettingsInvalid(
            f"{self._file}: {self._name}.{key} must be {wanted}, not {value!r:.80}.",
            suggested_action=f"Correct {self._name}.{key} in {self._file}.",
            details={"place": self._file, "key": f"{self._name}.{key}"},
        )


def _channel(name: str, table: _Table) -> Channel:
    kind = table.needed("type")
    if kind not in _KINDS:
        raise table.wrong("type", f"one of {', '.join(_KINDS)}", kind)
    known, build = _KINDS[kind]
    table.require_known(("type", "minimum", *known))
    return build(name, table)


def _discord(name: str, table: _Table) -> Channel:
    url = table.secret("url", f"the URL of channel {name}")
    return Discord(name=name, url=url, minimum=table.severity())


def _telegram(name: str, table: _Table) -> Channel:
    chat = table.text("chat_id")
    told = f"the chat of channel {name}"
    return Telegram(
        name=name,
        token=table.secret("token", f"the token of channel {name}"),
        chat=table.secret("chat_id", told) if chat is None else Secret(told, text=chat),
        minimum=table.severity(),
        base_url=table.address("base_url") if table.has("base_url") else BASE_URL,
    )


def _webhook(name: str, table: _Table) -> Channel:
    told = f"the URL of channel {name}"
    by_file = table.has("url_file")
    token = (
        table.secret("token", f"the token of channel {name}") if table.has("token_file") else None
    )
    url = table.secret("url", told) if by_file else Secret(told, text=table.address("url"))
    return Webhook(name=name, url=url, token=token, minimum=table.severity())


_KINDS: Mapping[str, tuple[tuple[str, ...], Callable[[str, _Table], Channel]]] = {
    "discord": (("url_file",), _discord),
    "telegram": (("token_file", "chat_id", "chat_id_file", "base_url"), _telegram),
    "webhook": (("url", "url_file", "token_file"), _webhook),
}


def _from_environment(told: Mapping[str, str]) -> dict[str, Channel]:
    found: dict[str, Channel] = {}
    if (url := _secret(told, "DISCORD_WEBHOOK_URL")) is not None:
        found["discord"] = Discord(name="discord", url=url)
    token, chat = _secret(told, "TELEGRAM_BOT_TOKEN"), _secret(told, "TELEGRAM_CHAT_ID")
    if (token is None) is not (chat is None):
        raise _unclear("TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID must be set both, or neither.")
    if token is not None and chat is not None:
        base_url = told.get("TELEGRAM_API_URL", BASE_URL)
        if not _is_address(base_url):
            raise _unclear("TELEGRAM_API_URL is no http:// or https:// address.")
        found["telegram"] = Telegram(name="telegram", token=token, chat=chat, base_url=base_url)
    return found


def _secret(told: Mapping[str, str], variable: str) -> Secret | None:
    text, file = told.get(variable), told.get(f"{variable}_FILE")
    if text is not None and file is not None:
        raise _unclear(f"{variable} and {variable}_FILE are both set.")
    if file is not None:
        return Secret(variable, file=Path(file).expanduser())
    return None if text is None else Secret(variable, text=text)


def _unclear(sentence: str) -> SettingsInvalid:
    return SettingsInvalid(sentence, suggested_action="Correct the environment.")


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
