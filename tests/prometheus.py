"""A real Prometheus for tests: on data that was made beforehand, or scraping what runs."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stack import wait_for


def binary(name: str) -> str | None:
    """The path of a program of Debian's package `prometheus`, or None."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/bin")


@dataclass(frozen=True)
class Prometheus:
    """A running one, and how to ask it."""

    url: str

    def now(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an expression at a moment: series with `metric` and `value`."""
        asked = {"query": expr} if at is None else {"query": expr, "time": str(at)}
        return self._ask("query", asked)

    def over(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The result over a time: series with `metric` and `values`."""
        asked = {"query": expr, "start": str(start), "end": str(end), "step": str(step)}
        return self._ask("query_range", asked)

    def _ask(self, how: str, asked: dict[str, str]) -> list[dict[str, Any]]:
        body = urllib.parse.urlencode(asked).encode()
        with urllib.request.urlopen(f"{self.url}/api/v1/{how}", data=body, timeout=20) as answer:
            told = json.load(answer)
        assert "success" == told["status"], told
        found: list[dict[str, Any]] = told["data"]["result"]
        return found


@contextlib.contextmanager
def running(folder: Path, *, config: str = "", data: Path | None = None) -> Iterator[Prometheus]:
    """Prometheus with its data in a folder, for as long as the block lasts."""
    file = folder / "prometheus.yml"
    file.write_text(config or "global: {}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(binary("prometheus")),
                f"--config.file={file}",
                f"--storage.tsdb.path={data or folder / 'data'}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: "ready to receive" in log.read_text(), 30, log.read_text)
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)


def backfill(lines: Iterator[str], folder: Path) -> Path:
    """Blocks of Prometheus made from OpenMetrics text; gives where they are."""
    source, blocks = folder / "known.om", folder / "blocks"
    with source.open("w") as text:
        text.writelines(lines)
    command = ["tsdb", "create-blocks-from", "openmetrics", str(source), str(blocks)]
    subprocess.run([str(binary("promtool")), *command], check=True, capture_output=True)
    return blocks
