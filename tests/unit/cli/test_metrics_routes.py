"""What the exporter answers over HTTP, and to whom it does not."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.http_routes import Answer, Request
from cli.http_server import HttpServer
from cli.metrics_routes import routes
from ledger import Ledger, bookmarks, leases
from monitoring import following as following_module
from monitoring.broker_watch import BrokerFacts
from monitoring.exporter import Counted, Exporter
from monitoring.follower import LEASE, Follower
from monitoring.following import Following, Role
from tests.integration.ledger.support import enter
from tests.stack import wait_for


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Ask = Callable[..., Reply]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with one job."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", migrate=True) as opened:
        enter(opened, model="spine")
        yield opened


@pytest.fixture
def following(ledger: Ledger) -> Iterator[Following]:
    """The process that leads."""
    one = Following(Follower(ledger, holder="here", models=["spine"]), every_s=0.01)
    one.start()
    wait_for(lambda: one.standing.role is Role.LEADER)
    yield one
    one.stop()


@pytest.fixture
def ask(ledger: Ledger, following: Following) -> Iterator[Ask]:
    """Ask a server over loopback, which has a route of others as well."""
    exporter = Exporter(
        ledger,
        counted=lambda: Counted(totals=following.totals, lag=following.lag),
        broker_facts=BrokerFacts,
        version="1.2.3",
    )

    def hook(path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        return 202, f"{path} {headers['x-from']} {body.decode()}"

    def broken(_request: Request) -> Answer:
        raise RuntimeError("this is a fault of the program")

    table = {
        **routes(exporter, following, hooks={"/alerts": hook}),
        ("GET", "/broken"): broken,
    }
    server = HttpServer("127.0.0.1", 0, table, name="test", max_body_bytes=100)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()

    def ask_it(method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers=named)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()

    yield ask_it
    server.stop()
    serving.join()


def test_a_scrape_gets_the_metrics(ask: Ask) -> None:
    """Also one that adds a query, as some scrapers do."""
    reply = ask("GET", "/metrics?from=prometheus")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'swarmos_queue_length{model="spine"} 1.0\n' in reply.body


def test_a_scrape_may_be_zipped(ask: Ask) -> None:
    """For those who ask for it, in the format that they ask for."""
    reply = ask("GET", "/metrics", Accept_Encoding="gzip", Accept="application/openmetrics-text")
    assert reply.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(reply.body).endswith(b"# EOF\n")


def test_a_standby_answers_with_a_sentence(ask: Ask, following: Following, ledger: Ledger) -> None:
    """And 503, so that nobody takes its old totals for new ones; it is well all the same."""
    with ledger.write() as tx:
        leases.release(tx, LEASE, "here")
        assert leases.take(tx, LEASE, "another", 60.0)
    # As when it is time to renew it.
    following._follower._lease_until = 0.0
    wait_for(lambda: following.standing.role is Role.STANDBY)
    reply = ask("GET", "/metrics")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
    assert reply.body.startswith(b"Another process exports the metrics")
    health = ask("GET", "/healthz")
    assert (health.status, json.loads(health.body)["role"]) == (200, "standby")


def test_while_the_ledger_is_away_nothing_old_is_shown(
    ask: Ask, following: Following, tmp_path: Path
) -> None:
    """Not even in the second before that is noticed; the answer says where it was."""
    file = tmp_path / "ledger.db"
    file.rename(tmp_path / "away.db")
    reply = ask("GET", "/metrics")
    assert reply.status == 503
    assert str(file).encode() in reply.body
    wait_for(lambda: following.standing.role is Role.CUT_OFF)
    assert ask("GET", "/healthz").status == 503
    (tmp_path / "away.db").rename(file)
    wait_for(lambda: ask("GET", "/metrics").status == 200)


def test_health_tells_when_beat_and_the_reconciler_were_last_at_work(
    ask: Ask, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their own notes, and nothing where there is none; that makes no difference to its own."""
    monkeypatch.setattr(following_module, "NOTED_EVERY_S", 0.0)

    def ages() -> tuple[float | None, float | None]:
        reply = ask("GET", "/healthz")
        assert reply.status == 200
        told = json.loads(reply.body)
        return told["beat_age_s"], told["reconciler_age_s"]

    assert ages() == (None, None)
    with ledger.write() as tx:
        bookmarks.note(tx, "beat")
    wait_for(lambda: ages()[0] is not None)
    beat, reconciler = ages()
    assert 0 <= (beat or 0) < 5
    assert reconciler is None
    wait_for(lambda: (ages()[0] or 0) > (beat or 0))


def test_others_routes_get_path_body_and_headers(ask: Ask) -> None:
    """Whatever the standing of this process is."""
    reply = ask("POST", "/alerts", b"hello", X_From="alertmanager")
    assert (reply.status, reply.body) == (202, b"/alerts alertmanager hello\n")
    assert ask("POST", "/alerts", b"x" * 101, X_From="me").status == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/alerts", 405),
        ("POST", "/metrics", 405),
        ("GET", "/broken", 500),
    ],
)
def test_what_is_not_there_is_refused(ask: Ask, method: str, path: str, status: int) -> None:
    """With a sentence; a fault of ours ends one connection."""
    reply = ask(method, path, b"" if method == "POST" else None)
    assert reply.status == status
    assert reply.body.endswith(b"\n")
    assert ask("GET", "/healthz").status == 200
