"""A stand-in for an IPFS node's RPC that can be told to misbehave, one fault at a time."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from proofs import compute_cid

FAULTS = (
    "redirect",
    "redirect_without_a_place",
    "wrong_cid",
    "no_cid",
    "list",
    "two_answers",
    "error_at_the_end",
    "half_a_body",
    "half_a_line",
    "garbage",
    "deep",
    "endless",
    "hang",
    "trickle",
    "trickle_headers",
    "slam",
    "status_500",
    "status_403",
    "status_405",
    "status_500_endless",
)

OTHER_CID = "QmT78zSuBmuS4z925WZfrqQ1qHaJ56DQaTfyMUF7F8ff5o"


class FakeKubo:
    """A node at `url` that keeps what is added in `files`; `fault` is what it does wrong."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.fault: str | None = None
        self.redirect_to = ""
        self.over = threading.Event()
        node = self

        class Handler(_Handler):
            kubo = node

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextlib.contextmanager
def fake_kubo() -> Iterator[FakeKubo]:
    """Serve for as long as the block lasts."""
    node = FakeKubo()
    try:
        yield node
    finally:
        node.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing when the other side hangs up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    kubo: FakeKubo

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Refuse, as Kubo does."""
        self._answer(405, b"405 - Method Not Allowed\n", "text/plain")

    def do_POST(self) -> None:
        """Answer a call, or do what is wrong."""
        self.kubo.requests.append(self.path)
        self.kubo.headers.append(dict(self.headers))
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        body = self._read_body()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if self.kubo.fault is not None:
                getattr(self, f"_{self.kubo.fault}")(body, query)
            elif path == "/api/v0/version":
                self._json({"Version": "0.42.0", "Commit": "", "Repo": "16"})
            elif path == "/api/v0/add":
                self._json(self._added(body, query))
            elif path == "/api/v0/cat":
                self._cat(query["arg"][0])
            else:
                self._answer(404, b"404 page not found\n", "text/plain")

    def _added(self, body: bytes, query: dict[str, list[str]]) -> dict[str, str]:
        """Keep the file of a multipart body; say what a node says."""
        whole = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode() + body
        message = email.message_from_bytes(whole, policy=email.policy.HTTP)
        (part,) = list(message.iter_parts())  # type: ignore[attr-defined]
        data = part.get_payload(decode=True)
        profile = {"0": "unixfs-v0-2015", "1": "unixfs-v1-2025"}[query["cid-version"][0]]
        cid = compute_cid(data, profile)
        self.kubo.files[cid] = data
        return {"Name": cid, "Hash": cid, "Size": str(len(data))}

    def _cat(self, cid: str) -> None:
        if cid in self.kubo.files:
            self._answer(200, self.kubo.files[cid], "text/plain")
        else:
            told = {"Message": f"block {cid} was not found \x1b[31mlocally", "Code": 0}
            self._json({**told, "Type": "error"}, status=500)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _json(self, told: object, status: int = 200) -> None:
        self._answer(status, json.dumps(told).encode() + b"\n", "application/json")

    def _answer(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _redirect(self, *_: object) -> None:
        self._answer(307, b"", "text/plain", Location=self.kubo.redirect_to + self.path)

    def _redirect_without_a_place(self, *_: object) -> None:
        self._answer(302, json.dumps({"Hash": OTHER_CID}).encode(), "application/json")

    def _wrong_cid(self, *_: object) -> None:
        self._json({"Name": "x", "Hash": OTHER_CID, "Size": "1", "Version": "0.42.0"})

    def _no_cid(self, *_: object) -> None:
        self._json({"Name": "x", "Bytes": 5})

    def _list(self, *_: object) -> None:
        self._json([1, 2])

    def _two_answers(self, *_: object) -> None:
        self._answer(200, b'{"Hash":"a"}\n{"Hash":"b"}\n', "application/json")

    def _error_at_the_end(self, *_: object) -> None:
        told = b'{"Message":"no space left on device","Code":0,"Type":"error"}\n'
        self._answer(200, told, "application/json")

    def _half_a_body(self, *_: object) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b'{"Name":"x","Ha')
        self.close_connection = True

    def _half_a_line(self, *_: object) -> None:
        self._answer(200, b'{"Name":"x","Ha', "application/json")

    def _garbage(self, *_: object) -> None:
        self._answer(200, b"\xff\xfe<html>", "application/json")

    def _deep(self, *_: object) -> None:
        self._answer(200, b"[" * 60_000, "application/json")

    def _endless(self, *_: object) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.kubo.over.is_set():
                self.wfile.write(b" " * 65_536)

    def _hang(self, *_: object) -> None:
        self.kubo.over.wait(60)
        self.close_connection = True

    def _trickle(self, *_: object) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.kubo.over.wait(0.05):
                self.wfile.write(b" ")

    def _trickle_headers(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.kubo.over.wait(0.05):
                self.wfile.write(b"x")
                self.wfile.flush()
        self.close_connection = True

    def _slam(self, *_: object) -> None:
        self.close_connection = True

    def _status_500(self, *_: object) -> None:
        self._json({"Message": "pin: \x1b[31mlocked", "Code": 0, "Type": "error"}, status=500)

    def _status_403(self, *_: object) -> None:
        self._answer(403, b"403 Forbidden\n", "text/plain")

    def _status_405(self, *_: object) -> None:
        self._answer(405, b"", "text/plain")

    def _status_500_endless(self, *_: object) -> None:
        self.send_response(500)
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.kubo.over.is_set():
                self.wfile.write(b" " * 65_536)
