"""Scrapes of `honeyflow metrics` as a real process over a big ledger, as Prometheus makes them."""

from __future__ import annotations

import gzip
import http.client
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import processes
from benchmarks.big_ledgers import BigLedger
from benchmarks.log_costs import slope

HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5",
    "Accept-Encoding": "gzip",
}
INTERVAL_S = 15.0
START_S = 60.0


def measure(
    home: Path, sizes: tuple[int, ...], scrapes: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Scrape at each number of finished jobs; the figures of the largest stand beside them."""
    ledger = BigLedger(home / "big")
    found: dict[int, dict[str, float]] = {}
    for size in sizes:
        ledger.grow(size)
        found[size] = _measure_one(home, ledger, scrapes)
        say(f"{size:>9,} finished: {_line(found[size])}")
    last = found[sizes[-1]]
    return {
        "scrape_p95_ms": last["p95_ms"],
        "scrape_bytes": last["bytes"],
        "scrape_series": last["series"],
        "scrape_exponent": slope(sizes, [found[size]["median_ms"] for size in sizes]),
        "exporter_cpu_percent": last["cpu_percent"],
        "scrapes": {str(size): figures for size, figures in found.items()},
    }


def _measure_one(home: Path, ledger: BigLedger, scrapes: int) -> dict[str, float]:
    with _exporter(home, ledger.url) as (process, port):
        body = _scrape(port)
        idle_from, began = processes.cpu_seconds([process.pid]), time.perf_counter()
        time.sleep(2.0)
        idle_s = processes.cpu_seconds([process.pid]) - idle_from
        idle = idle_s / (time.perf_counter() - began)
        busy_from, times = processes.cpu_seconds([process.pid]), []
        for _ in range(scrapes):
            started = time.perf_counter()
            _scrape(port)
            times.append(time.perf_counter() - started)
        busy_s = processes.cpu_seconds([process.pid]) - busy_from
    per_scrape = max(0.0, busy_s - idle * sum(times)) / scrapes
    text = gzip.decompress(body)
    return {
        "p95_ms": statistics.quantiles(times, n=20)[-1] * 1e3,
        "median_ms": statistics.median(times) * 1e3,
        "bytes": len(text),
        "sent_bytes": len(body),
        "series": sum(not line.startswith(b"#") for line in text.splitlines()),
        "cpu_percent": (per_scrape / INTERVAL_S + idle) * 100,
    }


def _scrape(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics", headers=HEADERS)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"a scrape was answered {answer.status}: {body[:200]!r}")
    return body


@contextmanager
def _exporter(home: Path, url: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    told = {"HONEYFLOW_DATA_DIR": str(home), "HONEYFLOW_LEDGER_URL": url, "HOME": str(home)}
    told["HONEYFLOW_REDIS_URL"] = "redis://127.0.0.1:1/0"
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "honeyflow"), "metrics", "--port", "0"],
        env={**os.environ, **told},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().decode()
        port = int(address.rpartition(":")[2].removesuffix("/metrics\n"))
        _wait(port)
        yield process, port
    finally:
        processes.stop(process)


def _wait(port: int) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            _scrape(port)
        except (RuntimeError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def _line(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
