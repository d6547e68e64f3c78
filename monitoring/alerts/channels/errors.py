"""What can go wrong when people are to be told.

MonitoringError
└── ChannelError          people were not told, or nobody can say whether they were
    ├── ChannelAway           it does not answer, or is unwell; try again
    │   └── ChannelBusy           it asks to wait, and says for how long
    ├── ChannelRefused        it does not take messages with this address or secret
    ├── MessageRefused        it does not take this message, and may well take another
    └── SecretMissing         the file with its secret cannot be read

None of them holds an address or a secret: with some channels the address is the secret.
"""

from __future__ import annotations

from monitoring.errors import MonitoringError


class ChannelError(MonitoringError):
    """People could not be told on a channel."""

    code = "ALERT_CHANNEL_ERROR"
    http_status = 502


class ChannelAway(ChannelError):
    """The channel does not answer, or is unwell."""

    code = "ALERT_CHANNEL_AWAY"
    retriable = True


class ChannelBusy(ChannelAway):
    """The channel asks to wait, for `retry_after_s` seconds."""

    code = "ALERT_CHANNEL_BUSY"
    http_status = 429

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(
            message,
            suggested_action="Nothing needs doing: it is tried again then.",
            details={"retry_after_s": retry_after_s},
        )
        self.retry_after_s = retry_after_s


class ChannelRefused(ChannelError):
    """The channel does not take messages with this address or secret."""

    code = "ALERT_CHANNEL_REFUSED"


class MessageRefused(ChannelError):
    """The channel does not take this message."""

    code = "ALERT_MESSAGE_REFUSED"


class SecretMissing(ChannelError):
    """The file with a channel's secret cannot be read, or holds none."""

    code = "ALERT_SECRET_MISSING"
