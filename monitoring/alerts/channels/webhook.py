"""A webhook of one's own: every message as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monitoring.alerts import stored
from monitoring.alerts.alert import Severity
from monitoring.alerts.channels.channel import Sent
from monitoring.alerts.channels.posting import TIMEOUT_S, place, post, require_taken
from monitoring.alerts.channels.secret import Secret
from monitoring.alerts.message import Message

VERSION = 1
MOST_ITEMS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A server that takes JSON, with a bearer token if there is one."""

    name: str
    url: Secret
    token: Secret | None = None
    minimum: Severity = Severity.INFO
    timeout_s: float = TIMEOUT_S

    def send(self, message: Message) -> Sent:
        """Tell it.

        Raises:
            ChannelError: it was not told, or nobody can say whether it was.
        """
        url = self.url.read()
        what = f"the webhook of channel {self.name} at {place(url)}"
        token = None if self.token is None else self.token.read()
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = post(url, rendered(message), what=what, headers=headers, timeout_s=self.timeout_s)
        require_taken(answer, what=what, secret=token or url)
        return Sent()


def rendered(message: Message) -> dict[str, Any]:
    """Return a message as JSON; an item's `id` is the same whenever it is sent again."""
    items = message.by_urgency
    return {
        "version": VERSION,
        "id": message.id,
        "title": message.title,
        "severity": str(message.severity),
        "items": [
            {"id": item.id, "kind": str(item.kind), **stored.to_json(item.alert)}
            for item in items[:MOST_ITEMS]
        ],
        "more": max(0, len(items) - MOST_ITEMS),
    }
