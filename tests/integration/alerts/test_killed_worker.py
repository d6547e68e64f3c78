"""From a real `kill -9` to people's phones, and from recovery to the good news."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitoring.alerts.prometheus import rules_yaml
from monitoring.alerts.rules import BY_NAME, Group
from tests import prometheus
from tests.chaos.harness import Cluster
from tests.fake_channels import FakeDiscord, FakeServer, FakeTelegram, FakeWebhook
from tests.stack import BIN, wait_for

COMPOSE = Path(__file__).parents[3] / "compose"
WORKER = "w0@testnode"
TIMING = {
    "heartbeat_s": 0.5,
    "stale_s": 2.0,
    "alert_check_s": 0.5,
    "alert_delivery_s": 0.5,
}
"""The shipped ones are 30, 60, 10 and 5 seconds."""


@pytest.fixture
def archive() -> Iterator[FakeWebhook]:
    """A server of one's own that is told everything."""
    with FakeWebhook() as serving:
        yield serving


@pytest.fixture
def home(
    tmp_path: Path, discord: FakeDiscord, telegram: FakeTelegram, archive: FakeWebhook
) -> Iterator[Cluster]:
    """A cluster whose people are at the fakes; their secrets lie in files."""
    made = Cluster(tmp_path / "home", timing=TIMING)
    made.settled = True
    file = made.home / "honeyflow.toml"
    secrets = {
        "discord_url": discord.url,
        "telegram_token": telegram.secret,
        "archive_url": archive.url,
        "alerts_token": "a-token-for-alertmanager",
    }
    for name, text in secrets.items():
        (tmp_path / name).write_text(f"{text}\n")
    file.write_text(
        file.read_text()
        + f"""
[alerts]
token_file = "{tmp_path}/alerts_token"
[alerts.channels.team]
type = "discord"
minimum = "warning"
url_file = "{tmp_path}/discord_url"
[alerts.channels.ops]
type = "telegram"
minimum = "warning"
token_file = "{tmp_path}/telegram_token"
chat_id = "{telegram.chat}"
base_url = "{telegram.base_url}"
[alerts.channels.archive]
type = "webhook"
url_file = "{tmp_path}/archive_url"
"""
    )
    yield made
    made.close()


def await_news(fakes: Sequence[FakeServer], *words: str) -> None:
    """Wait until a message with all of these words has come to each."""

    def come() -> bool:
        return all(
            any(all(word in text for word in words) for text in fake.texts) for fake in fakes
        )

    wait_for(come, 60, lambda: "\n---\n".join(text for fake in fakes for text in fake.texts))


@contextmanager
def running(
    home: Cluster, name: str, words: Sequence[str], env: Mapping[str, str]
) -> Iterator[Path]:
    """A process of the home that ends with the block; gives its log."""
    log = home.home / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            env={"PATH": "/usr/bin:/bin", **home.env, **env},
            cwd=home.home,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def cluster_with_beat(
    home: Cluster, env: Mapping[str, str], *, jobs: bool = True
) -> Iterator[None]:
    """A maintenance worker and beat, and a worker of jobs unless there are to be none."""
    schedule = str(home.home / "beat")
    words = [str(BIN / "celery"), "-A", "tasks", "beat", "-s", schedule, "--pidfile", ""]
    maintenance = home.start_worker(options=["--maintenance"], name="m", env=env, ready=False)
    if jobs:
        home.start_worker(name="w0", env=env)
    maintenance.wait_ready()
    with running(home, "beat", words, env):
        yield


def kill_and_start_again(
    home: Cluster, people: Sequence[FakeServer], archive: FakeWebhook, env: Mapping[str, str]
) -> None:
    """What people hear from the kill to the return, on each channel."""
    await_news([archive], f"{WORKER} has started")
    home.workers[-1].kill_group()
    await_news(people, "Firing: WorkerStale", f"{WORKER} has been silent")
    home.start_worker(name="w0", env=env)
    await_news(people, "Resolved: WorkerStale", f"{WORKER} has been silent", "after ")


def require_no_secret(home: Cluster) -> None:
    """Nothing that was logged has a secret."""
    logs = "".join(file.read_text() for file in home.home.glob("*.log"))
    assert "deliver_alerts" in logs
    assert "Secret" not in logs
    assert "a-token-for" not in logs


def test_people_hear_of_a_killed_worker_and_of_its_return(
    home: Cluster, discord: FakeDiscord, telegram: FakeTelegram, archive: FakeWebhook
) -> None:
    """Without Prometheus: beat has the rules judged."""
    with cluster_with_beat(home, {}):
        kill_and_start_again(home, [discord, telegram], archive, {})
    require_no_secret(home)


def test_they_hear_the_same_through_prometheus_and_alertmanager(
    home: Cluster,
    discord: FakeDiscord,
    telegram: FakeTelegram,
    archive: FakeWebhook,
    tmp_path: Path,
) -> None:
    """With the shipped configuration of Alertmanager, in less time."""
    if prometheus.binary("prometheus") is None or prometheus.binary(ALERTMANAGER) is None:
        pytest.skip("prometheus or prometheus-alertmanager is not installed")
    env = {"HONEYFLOW_ALERTS_SOURCE": "prometheus"}
    metrics = [str(BIN / "honeyflow"), "metrics", "--port", "0"]
    with cluster_with_beat(home, env), running(home, "metrics", metrics, env) as log:
        found = wait_for(
            lambda: re.search(r"metrics at (\S+)/metrics", log.read_text()), 60, log.read_text
        )
        place = alertmanager_file(tmp_path, found[1])
        with alertmanager(home, place) as address, scraping(tmp_path, found[1], address):
            kill_and_start_again(home, [discord, telegram], archive, env)
    require_no_secret(home)


def test_people_hear_that_nobody_takes_what_alertmanager_posts(
    home: Cluster, discord: FakeDiscord, telegram: FakeTelegram
) -> None:
    """The maintenance worker tells it by itself, and that it is over."""
    env = {"HONEYFLOW_ALERTS_SOURCE": "prometheus"}
    metrics = [str(BIN / "honeyflow"), "metrics", "--port", "0"]
    with cluster_with_beat(home, env, jobs=False):
        await_news([discord, telegram], "Firing: ExporterAway", "No honeyflow metrics has run")
        with running(home, "metrics", metrics, env):
            await_news([discord, telegram], "Resolved: ExporterAway", "after ")


def test_people_hear_of_a_dead_beat(
    home: Cluster, discord: FakeDiscord, telegram: FakeTelegram
) -> None:
    """What Alertmanager posts goes out with neither beat nor a maintenance worker there."""
    env = {"HONEYFLOW_ALERTS_SOURCE": "prometheus"}
    metrics = [str(BIN / "honeyflow"), "metrics", "--port", "0"]
    home.start_worker(name="w0", env=env)
    with running(home, "metrics", metrics, env) as log:
        found = wait_for(
            lambda: re.search(r"metrics at (\S+)/metrics", log.read_text()), 60, log.read_text
        )
        alert = {
            "status": "firing",
            "labels": {"alertname": "BeatStale", "severity": "page"},
            "annotations": {"summary": "Beat has sent nothing for 3 min"},
            "startsAt": "2026-11-22T03:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": "f1",
        }
        body = {"version": "4", "status": "firing", "receiver": "honeyflow", "alerts": [alert]}
        request = urllib.request.Request(
            f"{found[1]}/alerts",
            data=json.dumps(body).encode(),
            headers={
                "Authorization": "Bearer a-token-for-alertmanager",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert 200 == answer.status
        await_news([discord, telegram], "Firing: BeatStale", "Beat has sent nothing")


ALERTMANAGER = "prometheus-alertmanager"


def alertmanager_file(folder: Path, url: str) -> Path:
    """The shipped file for this place, with shorter times."""
    text = (COMPOSE / "alertmanager" / "alertmanager.yml").read_text()
    changes = {
        "http://metrics:9464": url,
        "/run/secrets/alerts_token": str(folder / "alerts_token"),
        "group_wait: 5s": "group_wait: 200ms",
        "group_interval: 30s": "group_interval: 1s",
    }
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file = folder / "alertmanager.yml"
    file.write_text(text)
    return file


@contextmanager
def alertmanager(home: Cluster, file: Path) -> Iterator[str]:
    """Alertmanager; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    words = [
        str(prometheus.binary(ALERTMANAGER)),
        f"--config.file={file}",
        f"--storage.path={file.parent / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with running(home, "alertmanager", words, {}) as log:
        wait_for(lambda: "Listening on" in log.read_text(), 20, log.read_text)
        yield address


@contextmanager
def scraping(folder: Path, url: str, address: str) -> Iterator[None]:
    """Prometheus, with the shipped rule; its limit is what this cluster's exporter tells."""
    rule = BY_NAME["WorkerStale"]
    rules_file = folder / "rules.yml"
    rules_file.write_text(rules_yaml([Group(name="workers", interval_s=1, rules=(rule,))]))
    config = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules_file}"]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["{address}"]}}]}}]}}
scrape_configs:
- job_name: honeyflow
  static_configs: [{{targets: ["{url.removeprefix("http://")}"]}}]
"""
    with prometheus.running(folder, config=config):
        yield
