"""Discord, Telegram and webhooks as they are and as they fail, over real HTTP."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring.alerts.channels import (
    Channel,
    ChannelAway,
    ChannelBusy,
    ChannelError,
    ChannelRefused,
    Discord,
    MessageRefused,
    Secret,
    SecretMissing,
    Telegram,
    Webhook,
)
from monitoring.alerts.message import Kind
from tests.fake_channels import FAULTS, FakeDiscord, FakeServer, FakeTelegram, FakeWebhook
from tests.unit.monitoring.test_alert_messages import message

MESSAGE = message(Kind.FIRING)
KINDS = {
    "rate_limited": ChannelBusy,
    "status_400": MessageRefused,
    "status_401": ChannelRefused,
    "status_404": ChannelRefused,
    "redirect": ChannelRefused,
}


def channel_to(fake: FakeServer, *, timeout_s: float = 10.0) -> Channel:
    """The channel that leads to a fake."""
    if isinstance(fake, FakeTelegram):
        return Telegram(
            name="ops",
            token=Secret("the token", text=fake.secret),
            chat=Secret("the chat", text=fake.chat),
            base_url=fake.base_url,
            timeout_s=timeout_s,
        )
    url = Secret("the URL", text=fake.url)
    if isinstance(fake, FakeDiscord):
        return Discord(name="team", url=url, timeout_s=timeout_s)
    return Webhook(name="mine", url=url, timeout_s=timeout_s)


@pytest.fixture(params=[FakeDiscord, FakeTelegram, FakeWebhook])
def fake(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    """Each kind of server."""
    with request.param() as serving:
        yield serving


def test_a_message_arrives(fake: FakeServer) -> None:
    """With what the server wants to know."""
    channel_to(fake).send(MESSAGE)
    assert "GpuHot is told" in fake.texts[0]
    assert ["honeyflow"] == [headers["User-Agent"] for headers in fake.headers]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_an_error_that_tells_no_secret(
    fake: FakeServer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in its text, nor in a traceback, nor in any log of any library; and in time."""
    caplog.set_level(logging.DEBUG)
    fake.fault = fault
    channel = channel_to(fake, timeout_s=1.0)
    begun = time.monotonic()
    with pytest.raises(ChannelError) as caught:
        channel.send(MESSAGE)
    # Ten times what was allowed, for slow machines; without a limit these would last a minute.
    assert time.monotonic() - begun < 10
    assert KINDS.get(fault, ChannelAway) is type(caught.value)
    error = caught.value
    said = [str(error), repr(error), repr(error.details), repr(channel), error.suggested_action]
    said += traceback.format_exception(error)
    said += [str(record.__dict__) for record in caplog.records]
    assert not [text for text in said if fake.secret in text]
    assert error.__context__ is None
    assert len(fake.requests) == 1


def test_how_long_to_wait_is_read_from_the_answer(fake: FakeServer) -> None:
    """In each server's own way; nonsense means a few seconds."""
    fake.fault = "rate_limited"
    for told, expected in ((0.65, 0.65), (37, 37.0), (1e9, 86_400.0), (-3, 0.0), ("x", 5.0)):
        fake.retry_after_s = told  # type: ignore[assignment] - nonsense, too
        with pytest.raises(ChannelBusy) as caught:
            channel_to(fake).send(MESSAGE)
        assert expected == caught.value.retry_after_s


def test_discord_is_left_alone_when_nothing_remains(discord: FakeDiscord) -> None:
    """Its figures are read from each answer."""
    discord.answer_headers = {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset_After": "1.25"}
    assert 1.25 == channel_to(discord).send(MESSAGE).rest_s
    discord.answer_headers = {"X_RateLimit_Remaining": "4", "X_RateLimit_Reset_After": "1.25"}
    assert 0 == channel_to(discord).send(MESSAGE).rest_s
    assert all(path.endswith("?wait=true") for path in discord.requests)


def test_a_chat_gets_one_message_a_second(telegram: FakeTelegram) -> None:
    """As Telegram asks."""
    assert 1 == channel_to(telegram).send(MESSAGE).rest_s


def test_a_chat_that_is_not_there_is_not_the_messages_fault(telegram: FakeTelegram) -> None:
    """Telegram answers with the same status."""
    channel = Telegram(
        name="ops",
        token=Secret("the token", text=telegram.secret),
        chat=Secret("the chat", text="-1"),
        base_url=telegram.base_url + "/",
    )
    with pytest.raises(ChannelRefused, match="chat not found"):
        channel.send(MESSAGE)


def test_a_server_that_is_not_there_is_away() -> None:
    """So is a name that leads nowhere."""
    for url in ("http://127.0.0.1:1/hook", "http://nowhere.invalid/hook"):
        with pytest.raises(ChannelAway):
            Webhook(name="mine", url=Secret("the URL", text=url)).send(MESSAGE)


@pytest.mark.parametrize(
    "url", ["ftp://a/b", "http:///hook", "not a URL", "http://a:x/", "http://[::"]
)
def test_what_is_no_address_is_refused_and_not_shown(url: str) -> None:
    """It may be a secret all the same."""
    with pytest.raises(ChannelRefused) as caught:
        Webhook(name="mine", url=Secret("the URL", text=url)).send(MESSAGE)
    assert url not in str(caught.value)


def test_a_webhook_has_a_token_and_numbers_its_items() -> None:
    """The same number whenever it is sent again; what is left out is counted."""
    with FakeWebhook() as fake:
        token = Secret("the token", text="word")
        url = Secret("the URL", text=fake.url)
        channel = Webhook(name="mine", url=url, token=token)
        channel.send(message(*[Kind.FIRING] * 201))
        channel.send(MESSAGE)
    assert ["Bearer word"] * 2 == [headers["Authorization"] for headers in fake.headers]
    many, one = fake.taken
    assert (200, 1) == (len(many["items"]), many["more"])
    assert (1, "firing", "GpuHot", True, 90.0) == tuple(
        one["items"][0][name] for name in ("id", "kind", "rule", "firing", "value")
    )


def test_a_secrets_file_is_read_anew(tmp_path: Path) -> None:
    """So that it can be replaced; its end of line is no part of it."""
    file = tmp_path / "secret"
    secret = Secret("the token", file=file)
    for text in ("one", "two"):
        file.write_text(f"{text}\n")
        assert text == secret.read()
    assert "two" not in repr(secret)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\n", b"a b", b"a\nb", b"\xff\xfe", b"\x1b[31m", b"x" * 5000],
    ids=["missing", "empty", "blank", "two words", "two lines", "no text", "control", "long"],
)
def test_a_file_without_a_secret_is_named_and_not_shown(
    tmp_path: Path, content: bytes | None
) -> None:
    """It may hold another one."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SecretMissing, match=str(file)) as caught:
        Secret("the token", file=file).read()
    assert not isinstance(caught.value.__context__, UnicodeDecodeError)
