"""Telegram: the Bot API's sendMessage, in HTML.

Sources: Telegram's documentation of the Bot API (sendMessage, formatting options, response
parameters) and its FAQ for bots on limits: one message a second to a chat, twenty a minute to a
group.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monitoring.alerts.alert import Severity
from monitoring.alerts.channels import lines
from monitoring.alerts.channels.channel import Sent
from monitoring.alerts.channels.errors import ChannelAway
from monitoring.alerts.channels.posting import TIMEOUT_S, place, post, require_taken
from monitoring.alerts.channels.secret import Secret
from monitoring.alerts.channels.text import cut, plain, units
from monitoring.alerts.message import Message

BASE_URL = "https://api.telegram.org"
MAX_TEXT = 4096
MAX_TITLE = 256
REST_S = 1.0

# A chat that is not found is told with the same status.
_MESSAGE = re.compile(r"entities|too long|is empty", re.IGNORECASE)
_JOINER = "\u2060"
"""Unseen and without width; after an @ it keeps a name from being called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telegram:
    """A chat that a bot may write to; its token is part of every address, and the secret."""

    name: str
    token: Secret
    chat: Secret
    minimum: Severity = Severity.INFO
    base_url: str = BASE_URL
    timeout_s: float = TIMEOUT_S

    def send(self, message: Message) -> Sent:
        """Tell people.

        Raises:
            ChannelError: they were not told, or nobody can say whether they were.
        """
        token = self.token.read()
        what = f"Telegram, channel {self.name} at {place(self.base_url)},"
        url = f"{self.base_url.rstrip('/')}/bot{token}/sendMessage"
        payload = {"chat_id": self.chat.read(), **rendered(message)}
        answer = post(url, payload, what=what, timeout_s=self.timeout_s)
        told = answer.told
        parameters = told.get("parameters")
        wait = parameters.get("retry_after") if isinstance(parameters, Mapping) else None
        require_taken(
            answer,
            what=what,
            secret=token,
            retry_after=wait,
            blames_message=_MESSAGE.search(str(told.get("description"))) is not None,
        )
        if told.get("ok") is not True:
            raise ChannelAway(
                f"{what} does not say that it has taken the message.",
                suggested_action="Check that its address is that of a Bot API.",
            )
        return Sent(rest_s=REST_S)


def escaped(text: str) -> str:
    """Return a text that Telegram shows as it is, and that calls nobody."""
    return html.escape(text, quote=False).replace("@", f"@{_JOINER}")


def linked(name: str, where: str) -> str:
    """Return a name that leads to an address."""
    return f'<a href="{html.escape(where)}">{escaped(name)}</a>'


def rendered(message: Message) -> dict[str, Any]:
    """Return a message as sendMessage takes it, without the chat."""
    title = f"<b>{cut(plain(message.title), MAX_TITLE, escaped)}</b>\n"
    return {
        "text": title + lines.written(message, MAX_TEXT - units(title), escaped, linked),
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
        "disable_notification": message.severity in {Severity.INFO, Severity.NONE},
    }
