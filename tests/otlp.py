"""A receiver of spans over real HTTP: it decodes them with `opentelemetry-proto`, or misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One span as it came over the wire."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    error: bool
    error_text: str
    attributes: dict[str, Any]
    resource: dict[str, Any]


@dataclass
class Receiver:
    """What has arrived, and how the next request is answered: a status, or never."""

    address: str = ""
    status: int = 200
    hang: threading.Event | None = None
    requests: int = 0
    raw: list[bytes] = field(default_factory=list)
    spans: list[Seen] = field(default_factory=list)

    def of(self, trace_id: str) -> list[Seen]:
        """The spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def take(self, data: bytes) -> None:
        """Keep what a request holds."""
        self.raw.append(data)
        for one in ExportTraceServiceRequest.FromString(data).resource_spans:
            resource = _members(one.resource.attributes)
            for scope in one.scope_spans:
                assert scope.scope.name == "honeyflow"
                self.spans += [_seen(span, resource) for span in scope.spans]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a port of its own, for as long as the block lasts."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.requests += 1
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if receiver.hang is not None:
                receiver.hang.wait(30)
                return
            assert self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            if receiver.status == 200:
                receiver.take(data)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            if receiver.hang is not None:
                receiver.hang.set()
            server.shutdown()
            thread.join()


def _seen(span: Any, resource: dict[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        error=span.status.code == 2,
        error_text=span.status.message,
        attributes=_members(span.attributes),
        resource=resource,
    )


def _members(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)
