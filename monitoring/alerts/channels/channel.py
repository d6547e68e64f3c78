"""What a channel is to the notifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from monitoring.alerts.alert import Severity
from monitoring.alerts.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that a channel has taken; the next has to wait for `rest_s` seconds."""

    rest_s: float = 0.0


class Channel(Protocol):
    """Somewhere people are told; its twin in tests needs no network."""

    @property
    def name(self) -> str:
        """What it is called in the configuration."""

    @property
    def minimum(self) -> Severity:
        """The least that is told here."""

    def send(self, message: Message) -> Sent:
        """Tell people, within ten seconds.

        Raises:
            ChannelError: they were not told, or nobody can say whether they were.
        """
