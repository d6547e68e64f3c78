"""Channels: where people are told, each in its own language and within its own limits."""

from __future__ import annotations

from monitoring.alerts.channels.channel import Channel, Sent
from monitoring.alerts.channels.discord import Discord
from monitoring.alerts.channels.errors import (
    ChannelAway,
    ChannelBusy,
    ChannelError,
    ChannelRefused,
    MessageRefused,
    SecretMissing,
)
from monitoring.alerts.channels.secret import Secret
from monitoring.alerts.channels.telegram import Telegram
from monitoring.alerts.channels.webhook import Webhook

__all__ = [
    "Channel",
    "ChannelAway",
    "ChannelBusy",
    "ChannelError",
    "ChannelRefused",
    "Discord",
    "MessageRefused",
    "Secret",
    "SecretMissing",
    "Sent",
    "Telegram",
    "Webhook",
]
