"""Stand-ins for Discord's webhooks and Telegram's Bot API that can be told to misbehave."""

from __future__ import annotations

import contextlib
import html
import json
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

FAULTS = (
    "rate_limited",
    "status_500",
    "status_400",
    "status_401",
    "status_404",
    "redirect",
    "hang",
    "trickle",
    "half_a_body",
    "slam",
    "endless",
    "echo",
)


class FakeServer:
    """Takes messages at `url`, which holds `secret`; `fault` is what it does wrong.

    `taken` is what it has accepted, `requests` all paths that were asked for.
    """

    secret = ""
    path = "/"

    def __init__(self, *, port: int = 0) -> None:
        self.taken: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.fault: str | None = None
        self.retry_after_s = 0.5
        self.answer_headers: dict[str, str] = {}
        self.over = threading.Event()
        fake = self

        class Handler(_Handler):
            server_of = fake

        self._server = _Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.url = self.base_url + self.path
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def texts(self) -> list[str]:
        """What people have read, the oldest first."""
        return [self.text_of(payload) for payload in self.taken]

    def text_of(self, payload: Mapping[str, Any]) -> str:
        """What people read of a payload."""
        raise NotImplementedError

    def problem(self, payload: Mapping[str, Any]) -> str | None:
        """Why the real one would refuse a payload."""
        raise NotImplementedError

    def answer(self) -> tuple[int, Any]:
        """What the real one says of a message it takes."""
        raise NotImplementedError

    def limited(self) -> Any:
        """What the real one says when it has had enough."""
        raise NotImplementedError


class FakeDiscord(FakeServer):
    """A webhook of Discord."""

    secret = "kR4s-Very_Secret_Discord_Token"
    path = f"/api/webhooks/1234567890/{secret}"

    def text_of(self, payload: Mapping[str, Any]) -> str:
        """As it is shown: what is escaped is shown as it is."""
        (embed,) = payload["embeds"]
        shown = f"{embed['title']}\n{embed['description']}"
        return re.sub(r"\\([^0-9A-Za-z\s])", r"\1", shown)

    def problem(self, payload: Mapping[str, Any]) -> str | None:
        """By the documented limits."""
        (embed,) = payload["embeds"]
        if payload["allowed_mentions"] != {"parse": []}:
            return "mentions"
        sizes = (units(embed["title"]) <= 256, units(embed["description"]) <= 4096)
        return None if all(sizes) and embed["description"] else "Invalid Form Body"

    def answer(self) -> tuple[int, Any]:
        """With `wait`, the message."""
        return 200, {"id": str(len(self.taken)), "type": 0}

    def limited(self) -> Any:
        """Seconds, with their fraction."""
        told = {"message": "You are being rate limited.", "global": False}
        return {**told, "retry_after": self.retry_after_s}


class FakeTelegram(FakeServer):
    """The Bot API, with one bot and one chat."""

    secret = "987654321:AAF-Very_Secret_Telegram_Token"
    chat = "-100777"
    path = f"/bot{secret}/sendMessage"

    def text_of(self, payload: Mapping[str, Any]) -> str:
        """As it is shown, without what has no width."""
        bare = re.sub(r'</?b>|<a href="[^"<>]*">|</a>', "", payload["text"])
        assert "<" not in bare
        return html.unescape(bare).replace("\u2060", "")

    def problem(self, payload: Mapping[str, Any]) -> str | None:
        """As the Bot API checks."""
        if payload["chat_id"] != self.chat:
            return "Bad Request: chat not found"
        if payload["parse_mode"] != "HTML" or units(payload["text"]) > 4096:
            return "Bad Request: message is too long"
        if re.search(r"<(?!/?b>|a href=\"[^\"<>]*\">|/a>)", payload["text"]):
            return "Bad Request: can't parse entities: Unsupported start tag"
        return None

    def answer(self) -> tuple[int, Any]:
        """With the message."""
        return 200, {"ok": True, "result": {"message_id": len(self.taken)}}

    def limited(self) -> Any:
        """Whole seconds, in a place of their own."""
        told = {"ok": False, "error_code": 429, "description": "Too Many Requests: retry later"}
        return {**told, "parameters": {"retry_after": self.retry_after_s}}


class FakeWebhook(FakeServer):
    """Somebody's own server."""

    secret = "Very_Secret_Path"
    path = f"/hooks/{secret}"

    def text_of(self, payload: Mapping[str, Any]) -> str:
        """Title and summaries."""
        return "\n".join([payload["title"], *(item["summary"] for item in payload["items"])])

    def problem(self, payload: Mapping[str, Any]) -> str | None:
        """It takes anything that has a version."""
        return None if payload["version"] == 1 else "version"

    def answer(self) -> tuple[int, Any]:
        """Nothing to say."""
        return 204, None

    def limited(self) -> Any:
        """Only in a header."""
        return {}


def units(text: str) -> int:
    """As Discord and Telegram count at most."""
    return len(text.encode("utf-16-le")) // 2


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing when the other side hangs up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_of: FakeServer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        """Take a message, or do what is wrong."""
        fake = self.server_of
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fake.requests.append(self.path)
        fake.headers.append(dict(self.headers))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if fake.fault is not None:
                getattr(self, f"_{fake.fault}")()
            elif urlsplit(self.path).path != fake.path:
                self._json(404, {"ok": False, "description": "Not Found", "message": "404"})
            else:
                self._take(json.loads(body))

    def _take(self, payload: dict[str, Any]) -> None:
        fake = self.server_of
        if (problem := fake.problem(payload)) is not None:
            self._json(400, {"ok": False, "description": problem, "message": problem})
            return
        fake.taken.append(payload)
        status, told = fake.answer()
        self._json(status, told, **fake.answer_headers)

    def _json(self, status: int, told: object, **headers: str) -> None:
        body = b"" if told is None else json.dumps(told).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _rate_limited(self) -> None:
        self._json(429, self.server_of.limited(), Retry_After=str(self.server_of.retry_after_s))

    def _status_500(self) -> None:
        self._json(500, {"description": "Internal Server Error"})

    def _status_400(self) -> None:
        told = "Bad Request: can't parse entities"
        self._json(400, {"ok": False, "description": told, "message": told})

    def _status_401(self) -> None:
        self._json(401, {"ok": False, "description": "Unauthorized", "message": "401"})

    def _status_404(self) -> None:
        self._json(404, {"ok": False, "description": "Not Found", "message": "Unknown Webhook"})

    def _redirect(self) -> None:
        self._json(307, {}, Location=self.server_of.base_url + "/elsewhere" + self.path)

    def _hang(self) -> None:
        self.server_of.over.wait(60)
        self.close_connection = True

    def _trickle(self) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.server_of.over.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()
        self.close_connection = True

    def _half_a_body(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b'{"ok": tr')
        self.close_connection = True

    def _slam(self) -> None:
        self.close_connection = True

    def _endless(self) -> None:
        self.send_response(500)
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server_of.over.is_set():
                self.wfile.write(b" " * 65_536)

    def _echo(self) -> None:
        """A proxy that says what it was asked for."""
        told = f"no route to {self.server_of.base_url}{self.path}"
        self._json(502, {"ok": False, "description": told, "message": told})


@contextlib.contextmanager
def fake_discord(port: int = 0) -> Iterator[FakeDiscord]:
    """Serve for as long as the block lasts."""
    with FakeDiscord(port=port) as fake:
        yield fake


@contextlib.contextmanager
def fake_telegram(port: int = 0) -> Iterator[FakeTelegram]:
    """Serve for as long as the block lasts."""
    with FakeTelegram(port=port) as fake:
        yield fake
