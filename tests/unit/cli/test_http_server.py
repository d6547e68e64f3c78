"""The small HTTP server: whatever it is sent, it answers or closes; nobody keeps it from others."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli import http_handler, http_server
from cli.http_routes import Answer, Request, text_answer
from cli.http_server import HttpServer
from tests.stack import wait_for

STATUS_LINE = re.compile(rb"HTTP/1\.1 \d{3} [^\r\n]+\r\n")
GOOD = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Gate:
    """A route that answers when it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()

    def answer(self, _request: Request) -> Answer:
        """Wait until then."""
        self.entered.release()
        assert self.opened.wait(30)
        return text_answer(200, "at last")


@contextmanager
def serving(gate: Gate) -> Iterator[HttpServer]:
    """A server that says hello, echoes, and waits at a gate."""
    table = {
        ("GET", "/hello"): lambda _request: text_answer(200, "hello"),
        ("GET", "/gate"): gate.answer,
        ("POST", "/echo"): lambda request: text_answer(200, request.body.decode("latin-1")),
    }
    server = HttpServer("127.0.0.1", 0, table, name="test", max_body_bytes=100)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        gate.opened.set()
        server.stop()
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    """One for all that does not harm it."""
    with serving(Gate()) as running:
        yield running


def connected(server: HttpServer) -> socket.socket:
    """A connection to it."""
    return socket.create_connection(("127.0.0.1", server.server_port), timeout=20)


def told(server: HttpServer, sent: bytes) -> bytes:
    """All that comes back to these bytes and an end."""
    with connected(server) as connection:
        connection.sendall(sent)
        # It may have closed already, with all that it had to say.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def statuses(answer: bytes) -> list[int]:
    """The status of each answer."""
    return [int(line) for line in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"GET http://[bad/hello HTTP/1.1\r\n\r\n", [400]),
        (b"GET http://some.host/hello HTTP/1.1\r\n\r\n", [200]),
        (b"GET //[hello HTTP/1.1\r\n\r\n", [404]),
        (b"GET /hello\r\n\r\n", [200]),
        (b"GET /hello HTTP/0.9\r\n\r\n", [200]),
        (b"some words HTTP/0.9\r\n\r\n", [501]),
        (b"nonsense\r\n\r\n", [400]),
        (b"GET /hello HTTP/2.0\r\n\r\n", [505]),
        (b"GET /hello HTTP/x\r\n\r\n", [400]),
        (b"PUT /hello HTTP/1.1\r\n\r\n", [501]),
        (b"POST /hello HTTP/1.1\r\nContent-Length: 0\r\n\r\n", [405]),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", [414]),
        (b"GET /hello HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", [431]),
        (b"GET /hello HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", [431]),
        (b"GET /hello HTTP/1.1\r\nbroken\r\nContent-Length: 9\r\n\r\n" + GOOD, [400]),
        (b"GET /hello HTTP/1.1\r\nContent-Length : 9\r\n\r\n" + GOOD, [400]),
        (b"GET /hello HTTP/1.1\r\n Content-Length: 9\r\n\r\n" + GOOD, [400]),
        (b"POST /echo HTTP/1.1\r\nContent-Type: multipart/x\r\nContent-Length: 0\r\n\r\n", [200]),
        (b"\xff\xfe\x00\r\n\r\n", [400]),
        (b"", []),
        (b"\r\n\r\n", []),
    ],
    ids=range(21),
)
def test_what_cannot_be_answered_is_refused_with_its_status(
    server: HttpServer, caplog: pytest.LogCaptureFixture, sent: bytes, expected: list[int]
) -> None:
    """And a sentence; nothing of it is an error of ours."""
    answer = told(server, sent)
    assert statuses(answer) == expected
    if expected:
        assert answer.endswith(b"\n") and b"\r\n\r\n" in answer
    assert [] == [one for one in caplog.records if one.levelno >= logging.WARNING]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_the_body_of_a_get_is_not_the_next_request(server: HttpServer, method: bytes) -> None:
    """It is read; where its length is not known or too great, the connection ends."""
    smuggled = b"POST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
    first = method + b" /hello HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(smuggled)
    assert [200, 200] == statuses(told(server, first + smuggled + LAST))
    for odd, status in (
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 411),
        (b"Content-Length: 2\r\nContent-Length: 0\r\n\r\n", 411),
        (b"Content-Length: x\r\n\r\n", 400),
        (b"Content-Length: 101\r\n\r\n" + b"x" * 101, 413),
    ):
        answer = told(server, method + b" /hello HTTP/1.1\r\n" + odd + GOOD)
        assert [status] == statuses(answer)
        assert b"Connection: close" in answer


@pytest.mark.parametrize("path", [b"/hello", b"/nothing", b"/echo"])
def test_head_is_answered_as_get_without_the_body(server: HttpServer, path: bytes) -> None:
    """The same status and headers, also of a refusal."""
    asked = path + b" HTTP/1.1\r\nConnection: close\r\n\r\n"
    head, _, body = told(server, b"GET " + asked).partition(b"\r\n\r\n")
    assert body

    def without_date(headers: bytes) -> list[bytes]:
        return [line for line in headers.split(b"\r\n") if not line.startswith(b"Date:")]

    short, end, nothing = told(server, b"HEAD " + asked).partition(b"\r\n\r\n")
    assert (without_date(head), b"\r\n\r\n", b"") == (without_date(short), end, nothing)


tokens = st.sampled_from(
    [
        *(
            b"GET ",
            b"HEAD ",
            b"POST ",
            b"PUT ",
            b"/hello",
            b"/echo",
            b"http://[",
            b"//",
            b"?",
            b" ",
        ),
        *(b" HTTP/1.1", b" HTTP/1.0", b" HTTP/0.9", b" HTTP/9", b"\r\n", b"\r\n\r\n", b"\n", b"\r"),
        *(b"Content-Length: 3", b"Content-Length: ", b"Transfer-Encoding: chunked", b"0", b"-1"),
        *(b"Expect: 100-continue", b"Connection: keep-alive", b"Host: x", b": ", b"\x00", b"\xb2"),
        *(b"Accept: ;q=x", b"From x", b"abc", GOOD),
    ]
)
anything = st.binary(max_size=300) | st.lists(tokens | st.binary(max_size=4), max_size=14).map(
    b"".join
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(anything)
def test_whatever_comes_is_answered_with_a_status_line_or_closed(
    server: HttpServer, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    """Nothing of it is logged as an error, and the next one is served."""
    caplog.clear()
    answer = told(server, sent)
    assert not answer or STATUS_LINE.match(answer), answer
    assert [] == [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [200] == statuses(told(server, LAST))


def test_idle_and_slow_clients_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many: who was waited for longest gives its place to who comes."""
    monkeypatch.setattr(http_handler, "REQUEST_S", 600.0)
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 8)
    with ExitStack() as stack, serving(Gate()) as server:
        idle = [stack.enter_context(connected(server)) for _ in range(20)]
        for connection in idle[10:]:
            connection.sendall(b"GET /hello HTTP/1.1\r\nX: ")
        for _ in range(30):
            assert [200] == statuses(told(server, LAST))
        # The first ones were cut off, the last ones are still listened to.
        assert b"" == idle[0].recv(10)
        idle[-1].sendall(b"y\r\n\r\n")
        assert [200] == statuses(idle[-1].recv(1000))


def test_one_that_is_being_answered_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all places are so taken another one is turned away with 503, until one is free."""
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 2)
    gate = Gate()
    with ExitStack() as stack, serving(gate) as server:
        asking = [stack.enter_context(connected(server)) for _ in range(2)]
        for connection in asking:
            connection.sendall(b"GET /gate HTTP/1.1\r\nConnection: close\r\n\r\n")
        for _ in asking:
            assert gate.entered.acquire(timeout=20)
        assert [503] == statuses(told(server, LAST))
        gate.opened.set()
        for connection in asking:
            answer = b"".join(iter(lambda one=connection: one.recv(4096), b""))  # type: ignore[misc]
            assert [200] == statuses(answer)
            assert answer.endswith(b"at last\n")
        wait_for(lambda: [200] == statuses(told(server, LAST)))


def test_one_that_does_not_read_its_answer_is_left_alone_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others are answered meanwhile."""
    monkeypatch.setattr(http_handler, "ANSWER_S", 0.2)
    big = text_answer(200, "x" * 20_000_000)
    server = HttpServer("127.0.0.1", 0, {("GET", "/big"): lambda _: big}, name="test")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with connected(server) as deaf:
            deaf.sendall(b"GET /big HTTP/1.1\r\n\r\n")
            began = time.monotonic()
            assert [404] == statuses(told(server, LAST))
            wait_for(lambda: not server._open)
            assert time.monotonic() - began < 20
    finally:
        server.stop()
        thread.join()
