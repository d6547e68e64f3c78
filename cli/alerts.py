"""`honeyflow alerts test|list`: whether people can be told, what fires, and what they were told."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ledger import alert_channels, alert_fates, alert_outbox, alerts
from ledger.alert_outbox import MessageRow, MessageState
from ledger.alerts import AlertRow
from monitoring.alerts import stored
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.channels import Channel, ChannelError
from monitoring.alerts.message import Item, Kind, Message, duration, moment
from tasks import alert_wiring, wiring
from tasks.errors import HoneyflowError

_REACH = (
    (MessageState.SENT, "told"),
    (MessageState.WAITING, "waits"),
    (MessageState.DROPPED, "given up"),
)

app = typer.Typer(no_args_is_help=True, help="What fires, what people were told, and a test.")


class ChannelMissing(HoneyflowError):
    """There is no channel on which anybody could be told."""

    code = "ALERT_CHANNEL_MISSING"
    http_status = 404
    exit_code = 2
    suggested_action = (
        "Set DISCORD_WEBHOOK_URL, or TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID, or add"
        " [alerts.channels.NAME] to honeyflow.toml."
    )


@app.command(name="test")
def try_out(
    names: Annotated[list[str] | None, typer.Argument(help="Channels; all if none.")] = None,
) -> None:
    """Send a message to each channel and say what it answered; fails if one did not take it."""
    there = {channel.name: channel for channel in alert_wiring.settings().channels}
    if not there:
        raise ChannelMissing("No channel is configured.")
    for name in names or []:
        if name not in there:
            raise ChannelMissing(
                f"There is no channel {name!r}.",
                suggested_action=f"Those there are: {', '.join(there)}.",
            )
    message = Message(id=str(uuid.uuid4()), items=[Item(kind=Kind.TEST, alert=_test_alert())])
    failed = False
    for name in names or there:
        fault = _fault(there[name], message)
        typer.echo(f"{name}: {fault or 'taken'}")
        failed |= fault is not None
    if failed:
        raise typer.Exit(1)


@app.command(name="list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many messages.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what fires now, how the channels fare, and the last messages with their fate."""
    told = alert_wiring.settings()
    with wiring.client().ledger.read() as tx:
        firing, messages = alerts.list(tx, firing=True), alert_outbox.latest(tx, limit)
        fates = alert_fates.of(tx, [row.fingerprint for row in firing])
        standing, waiting = alert_channels.list(tx), alert_outbox.lengths(tx)
        now = tx.now
    heard = {row.fingerprint: reach(row, fates.get(row.fingerprint, {})) for row in firing}
    shown = [
        {
            "name": channel.name,
            "minimum": str(channel.minimum),
            "waiting": waiting.get(channel.name, 0),
            "error": standing[channel.name].error if channel.name in standing else None,
        }
        for channel in told.channels
    ]
    if as_json:
        whole: dict[str, Any] = {"source": str(told.source), "channels": shown}
        whole["firing"] = [
            {**row.alert, "told_at": row.told_at, "told": heard[row.fingerprint]} for row in firing
        ]
        whole["messages"] = [_message(row) for row in messages]
        typer.echo(json.dumps(whole, ensure_ascii=False))
        return
    # Where nobody watches, nothing is cut.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    console.print(f"judged by {told.source}; {len(firing)} firing")
    if firing:
        console.print(_firing_table(firing, heard, now))
    for channel in shown:
        fault = f"; {channel['error']}" if channel["error"] else ""
        console.print(f"{channel['name']}: {channel['waiting']} waiting{_plain(fault)}")
    if not shown:
        console.print("no channel is configured: nobody is told")
    if messages:
        console.print(_message_table(messages))


def _test_alert() -> Alert:
    return Alert(
        rule="Test",
        severity=Severity.INFO,
        firing=True,
        since=time.time(),
        value=1.0,
        summary="This is a test of honeyflow. If you can read it, alerts arrive here.",
        description="",
    )


def _fault(channel: Channel, message: Message) -> str | None:
    try:
        channel.send(message)
    except ChannelError as error:
        return f"{error.message} [{error.code}]"
    return None


def reach(row: AlertRow, fates: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """Whether people know that an alert fires, from what each channel was to tell of it.

    `told` if a channel has told them, `waits` if none has and one still may, `given up` if none
    could, `no channel` if none is to tell it, `kept quiet` if nobody shall know.
    """
    if row.told_at is None:
        return "kept quiet"
    found: set[str] = set()
    for told in fates.values():
        for kind, state in reversed(told):
            if kind == Kind.RESOLVED and state == MessageState.SENT:
                break
            if kind in (Kind.FIRING, Kind.REPEAT):
                found.add(state)
    for state, word in _REACH:
        if state in found:
            return word
    return "no channel"


def _firing_table(rows: list[AlertRow], heard: Mapping[str, str], now: float) -> Table:
    table = Table("alert", "severity", "for", "told", "summary", box=None)
    for row in rows:
        alert = stored.from_json(row.alert)
        lasting, told = duration(now - row.since), heard[row.fingerprint]
        table.add_row(_plain(alert.key), row.severity, lasting, told, _plain(alert.summary))
    return table


def _message_table(rows: list[MessageRow]) -> Table:
    table = Table("id", "when", "channel", "kind", "state", "failed", "alert", "why", box=None)
    for row in rows:
        alert = stored.from_json(row.alert)
        table.add_row(
            str(row.id),
            moment(row.created_at),
            row.channel,
            row.kind,
            row.state,
            str(row.tries or ""),
            _plain(alert.key),
            _plain(row.error or ""),
        )
    return table


def _message(row: MessageRow) -> dict[str, Any]:
    names = ("id", "channel", "kind", "state", "tries", "error", "created_at", "ended_at")
    return {name: getattr(row, name) for name in names} | {"alert": row.alert}


def _plain(text: str) -> str:
    return ascii(text)[1:-1]
