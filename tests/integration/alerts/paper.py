"""A channel that writes down what it is told, and an outbox that is heard and delivered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ledger import Ledger, ManualClock, alert_channels
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.channels import Channel, ChannelAway, Sent
from monitoring.alerts.delivery import Deliverer
from monitoring.alerts.message import Kind, Message
from monitoring.alerts.notifier import Notifier, Source
from tests.unit.monitoring.test_alert_notifier import alert as make


class Killed(BaseException):
    """A process that ends here and now."""


@dataclass
class Paper:
    """A channel that writes down what it is told; the twin of those with a network."""

    name: str = "paper"
    minimum: Severity = Severity.INFO
    told: list[Message] = field(default_factory=list)
    fault: BaseException | None = None
    killed_after: int | None = None
    """After how many messages the process ends, before anybody could note that it went out."""
    rest_s: float = 0.0

    def send(self, message: Message) -> Sent:
        """Take it, unless there is a fault."""
        if self.fault is not None:
            raise self.fault
        self.told.append(message)
        if len(self.told) == self.killed_after:
            raise Killed
        return Sent(rest_s=self.rest_s)

    @property
    def items(self) -> list[tuple[Kind, str]]:
        """All that was told, by kind and what it is about."""
        return [(one.kind, one.alert.rule) for told in self.told for one in told.items]


AWAY = ChannelAway("It is away.", suggested_action="Wait.")


def alert(clock: ManualClock, rule: str, *, firing: bool = True, **columns: object) -> Alert:
    """An alert of now."""
    told = {"since": clock.now, "ended": None if firing else clock.now, **columns}
    return make(rule, firing=firing, **told)


def hear(ledger: Ledger, channels: Sequence[Channel], *heard: Alert) -> int:
    """What somebody says of alerts."""
    return Notifier(ledger, channels, source=Source.PROMETHEUS).hear(heard)


def deliver(ledger: Ledger, clock: ManualClock, *channels: Channel) -> int:
    """One run, as beat has it."""
    return Deliverer(ledger, channels, pause=clock.advance).run()


def outcomes(ledger: Ledger) -> dict[tuple[str, str], int]:
    """The totals of all channels, by kind and outcome."""
    with ledger.read() as tx:
        found = Counter[tuple[str, str]]()
        for (_, kind, outcome), total in alert_channels.totals(tx).items():
            found[kind, outcome] += total
    return dict(found)
