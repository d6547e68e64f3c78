"""The broker's address is shown without what is secret in it."""

from __future__ import annotations

import pytest
import redis

from tasks.ledger_id import away, shown
from tasks.settings import read


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:hunter2@host:6379/0", "redis://host:6379/0"),
        ("rediss://bee:hunter2@host/1?ssl_cert_reqs=none", "rediss://host/1?ssl_cert_reqs=none"),
        ("redis://bee:hun/ter2?@host/0", "redis://host/0"),
        ("redis://host/0?password=hunter2&db=1", "redis://host/0?db=1"),
        ("redis+socket:///home/me@lab/redis.sock", "redis+socket:///home/me@lab/redis.sock"),
        ("redis+socket://:hunter2@/x/y.sock", "redis+socket:///x/y.sock"),
        (
            "redis+socket:///x.sock?virtual_host=1&password=hunter2",
            "redis+socket:///x.sock?virtual_host=1",
        ),
        ("bee:hunter2@host", "host"),
    ],
)
def test_an_address_is_shown_without_user_and_password(url: str, expected: str) -> None:
    """The rest of it stays as it is."""
    assert expected == shown(url)


def test_settings_show_no_addresses() -> None:
    """Their text may end in a log."""
    told = read(
        {
            "XDG_CONFIG_HOME": "/nowhere",
            "HONEYFLOW_REDIS_URL": "redis://:hunter2@h/0",
            "HONEYFLOW_LEDGER_URL": "postgresql+psycopg://bee:hunter2@h/db",
        }
    )
    assert "hunter2" not in repr(told)


def test_what_redis_says_is_told_with_one_full_stop() -> None:
    """Its own errors end with one, others do not."""
    told = read({"XDG_CONFIG_HOME": "/nowhere", "HONEYFLOW_REDIS_URL": "redis://h/0"})
    for error in (redis.ConnectionError("Connection refused."), OSError("Connection refused")):
        assert (
            "Redis at redis://h/0 does not answer: Connection refused." == away(told, error).message
        )
