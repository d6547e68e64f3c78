"""Discord: a webhook that takes embeds.

Sources: Discord's documentation of webhooks (execute webhook), of embed limits, of allowed mentions
and of rate limits, whose figures are taken from each answer and never known beforehand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from monitoring.alerts.alert import Severity
from monitoring.alerts.channels import lines
from monitoring.alerts.channels.channel import Sent
from monitoring.alerts.channels.posting import TIMEOUT_S, place, post, require_taken, seconds
from monitoring.alerts.channels.secret import Secret
from monitoring.alerts.channels.text import cut, plain
from monitoring.alerts.message import Message

MAX_TITLE = 256
MAX_DESCRIPTION = 4096

_COLOURS = {
    Severity.PAGE: 0xD32F2F,
    Severity.TICKET: 0x7B1FA2,
    Severity.WARNING: 0xF57C00,
    Severity.INFO: 0x1976D2,
    Severity.NONE: 0x757575,
}
_GOOD = 0x388E3C
# Whatever may begin or end formatting, a mention, a link or a time.
_MARKUP = re.compile(r"([\\`*_~|<>\[\]():@#])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Discord:
    """A webhook of Discord; its whole URL is the secret."""

    name: str
    url: Secret
    minimum: Severity = Severity.INFO
    timeout_s: float = TIMEOUT_S

    def send(self, message: Message) -> Sent:
        """Tell people.

        Raises:
            ChannelError: they were not told, or nobody can say whether they were.
        """
        url = self.url.read()
        what = f"Discord, channel {self.name} at {place(url)},"
        # Without `wait` a message that could not be stored would look as if it had been.
        joined = "&" if "?" in url else "?"
        answer = post(
            f"{url}{joined}wait=true", rendered(message), what=what, timeout_s=self.timeout_s
        )
        retry_after = answer.told.get("retry_after")
        require_taken(answer, what=what, secret=url, retry_after=retry_after)
        if answer.headers.get("x-ratelimit-remaining") == "0":
            return Sent(rest_s=seconds(answer.headers.get("x-ratelimit-reset-after")))
        return Sent()


def escaped(text: str) -> str:
    """Return a text that Discord shows as it is."""
    return _MARKUP.sub(r"\\\1", text)


def linked(name: str, where: str) -> str:
    """Return a name that leads to an address."""
    return f"[{escaped(name)}](<{where}>)"


def rendered(message: Message) -> dict[str, Any]:
    """Return a message as the webhook takes it."""
    return {
        "embeds": [
            {
                "title": cut(plain(message.title), MAX_TITLE, escaped),
                "description": lines.written(message, MAX_DESCRIPTION, escaped, linked),
                "color": _GOOD if message.resolved else _COLOURS[message.severity],
            }
        ],
        "allowed_mentions": {"parse": []},
    }
