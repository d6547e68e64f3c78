"""Flower works with our workers, for whoever has the password, and shows no text of any job."""

from __future__ import annotations

import base64
import json
import re
import signal
import stat
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks import app, infer
from tasks.client import Client
from tests.stack import BIN, Worker, wait_for

pytest.importorskip("flower")

PROMPT, ANSWER, MISHAP = "canary-in-prompt", "canary-in-answer", "canary-in-exception"
SCRIPT = {
    "rules": [
        {
            "marker": "BREAK",
            "do": "error",
            "code": "ENGINE_BROKE",
            "message": f"{MISHAP} while reading {PROMPT}",
            "retriable": False,
        },
        {"answers": [{"text": ANSWER}]},
    ]
}


@dataclass
class Served:
    """A running Flower, and how to ask it."""

    url: str
    password: str

    def get(
        self, path: str, *, password: str | None = None, data: bytes | None = None
    ) -> tuple[int, str]:
        """Status and body of a page; with data it is posted."""
        request = urllib.request.Request(self.url + path, data=data)
        token = base64.b64encode(f"honeyflow:{password or self.password}".encode()).decode()
        if password != "":
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def tasks(self) -> dict[str, Any]:
        """What Flower knows of tasks, by job id."""
        found: dict[str, Any] = json.loads(self.get("/api/tasks")[1])
        return found


@pytest.fixture
def served(broker: None, home: Path, tmp_path: Path) -> Iterator[Served]:
    """Flower as `honeyflow flower` starts it, which ends with exit code 0."""
    log = tmp_path / "flower.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(BIN / "honeyflow"), "flower", "--port", "0"],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
        )
    try:
        told = wait_for(
            lambda: re.search(r"Flower at (\S+) .* password in (\S+)", log.read_text()),
            30,
            log.read_text,
        )
        yield Served(told[1], Path(told[2]).read_text().strip())
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(10)
    finally:
        process.kill()
        process.wait()


def test_jobs_are_seen_by_id_and_no_text_of_theirs_is(
    start: Callable[..., Worker], client: Client, served: Served
) -> None:
    """Neither prompt nor answer nor exception: not in events, not on pages, not in results."""
    worker = start(script=SCRIPT)
    events: list[dict[str, Any]] = []
    stopped = threading.Event()
    listening = threading.Thread(target=listen, args=(events, stopped))
    listening.start()
    try:
        # Flower asks workers for events every five seconds.
        wait_for(lambda: "Events of group {task} enabled by remote" in worker.text())
        good = infer.delay(model="fake-a", prompt=f"{PROMPT}?")
        bad = infer.delay(model="fake-a", prompt=f"BREAK {PROMPT}")
        assert ANSWER in json.dumps(good.get(timeout=20))
        wait_for(lambda: client.job(bad.id).state == "failed")
        wait_for(lambda: {good.id, bad.id} <= set(served.tasks()))
        wait_for(lambda: served.tasks()[bad.id]["state"] == "FAILURE")
    finally:
        stopped.set()
        listening.join()

    seen = served.tasks()
    name = seen[good.id]["worker"]
    assert ("tasks.infer", "SUCCESS", good.id) == tuple(
        seen[good.id][column] for column in ("name", "state", "args")
    )
    assert "cpu-fake-a@testnode" == name
    assert "ENGINE_BROKE" == seen[bad.id]["exception"]
    pages = {
        path: served.get(path)[1]
        for path in (
            "/",
            "/tasks",
            f"/task/{good.id}",
            f"/task/{bad.id}",
            f"/worker/{name}",
            "/broker",
            "/metrics",
            "/api/tasks",
            "/api/workers?refresh=1",
            f"/api/task/info/{bad.id}",
            f"/api/task/result/{good.id}",
            f"/api/task/result/{bad.id}",
            "/tasks/datatable?draw=1&start=0&length=50&order[0][column]=0&columns[0][data]=name",
        )
    }
    assert good.id in pages["/api/tasks"]
    assert f"{bad.id}" in pages[f"/task/{bad.id}"]
    assert name in pages["/api/workers?refresh=1"]
    assert {"task-succeeded", "task-failed"} <= {event["type"] for event in events}
    pages["events"] = json.dumps(events)
    for canary in (PROMPT, ANSWER, MISHAP):
        assert [] == [path for path, page in pages.items() if canary in page]


def listen(events: list[dict[str, Any]], stopped: threading.Event) -> None:
    """Keep every event of the cluster until told to stop."""
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.append})
        while not stopped.is_set():
            try:
                receiver.capture(limit=None, timeout=0.5, wakeup=False)
            except TimeoutError:
                continue


def test_without_the_password_nothing_is_shown_and_with_it_nothing_is_changed(
    start: Callable[..., Worker], client: Client, served: Served, home: Path
) -> None:
    """Not even Flower's metrics, which it would leave open by itself."""
    start()
    file = home / "data" / "flower-password"
    for path in ("/", "/tasks", "/broker", "/metrics", "/api/tasks", "/api/workers"):
        assert (401, 401, 200) == (
            served.get(path, password="")[0],
            served.get(path, password="wrong")[0],
            served.get(path)[0],
        )
    assert 200 == served.get("/healthcheck", password="")[0]

    refused = {
        path: served.get(path, data=b"")[0]
        for path in (
            "/api/worker/shutdown/cpu-fake-a@testnode",
            "/api/task/revoke/00000000-0000-4000-8000-000000000000",
            "/api/task/async-apply/tasks.infer",
            "/api/worker/pool/grow/cpu-fake-a@testnode",
        )
    }

    assert {403} == set(refused.values())
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_an_address_that_is_taken_is_told(served: Served, home: Path) -> None:
    """With what to do, and exit code 1."""
    port = served.url.rpartition(":")[2]

    told = subprocess.run(
        [str(BIN / "honeyflow"), "flower", "--port", port],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert 1 == told.returncode
    assert f"FLOWER_UNUSABLE: Flower cannot listen at 127.0.0.1:{port}" in told.stderr
    assert "Give another --port" in told.stderr
