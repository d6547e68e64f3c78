"""What Alertmanager posts, and what others might."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ledger import LedgerUnavailable
from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.channels import Secret
from monitoring.alerts.incoming import (
    LEFT_OUT,
    LONGEST,
    MAX_BYTES,
    MOST_ALERTS,
    MOST_LABELS,
    Incoming,
    read,
)
from monitoring.alerts.message import Kind
from monitoring.alerts.notifier import Source
from monitoring.alerts.rules import GROUP_INTERVAL_S, GROUP_WAIT_S, REPEAT_INTERVAL_S
from monitoring.alerts.series import duration
from tests.unit.monitoring.test_alert_notifier import People

CONFIG = Path(__file__).parents[3] / "compose" / "alertmanager" / "alertmanager.yml"
POSTED = {
    "status": "firing",
    "labels": {"alertname": "WorkerStale", "severity": "page", "worker": "w1"},
    "annotations": {
        "summary": "w1 has been silent for 1m",
        "description": "The last heartbeat came 1m ago.",
        "runbook": "docs/runbooks.md#workerstale",
        "dashboard": "http://127.0.0.1:3000/d/honeyflow-workers?var-worker=w1",
    },
    "startsAt": "2026-11-22T04:00:00.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus:9090/graph",
    "fingerprint": "f8dbd5c4f0b7a1c2",
}
POST = {
    "version": "4",
    "groupKey": '{}:{alertname="WorkerStale"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "honeyflow",
    "groupLabels": {"alertname": "WorkerStale"},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "alerts": [POSTED],
}


class Heard:
    """What came through."""

    def __init__(self, error: Exception | None = None) -> None:
        self.alerts: list[Alert] = []
        self._error = error

    def __call__(self, alerts: Sequence[Alert]) -> None:
        """Take alerts."""
        if self._error is not None:
            raise self._error
        self.alerts += alerts


def post(told: Any, heard: Heard | None = None, **headers: str) -> tuple[int, str]:
    """The status and the code of what is answered."""
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    status, text = Incoming(heard or Heard()).handle("/alerts", body, headers)
    return status, text.partition(":")[0]


def test_what_fires_is_taken_as_it_is() -> None:
    """With the labels that tell what it is about, and the times to the millisecond."""
    heard = Heard()
    assert (200, "ALERTS_TAKEN") == post(POST, heard)
    alert, left_out = heard.alerts
    assert (LEFT_OUT, False) == (left_out.rule, left_out.firing)
    assert 'WorkerStale{worker="w1"}' == alert.key
    assert (Severity.PAGE, True, None) == (alert.severity, alert.firing, alert.ended)
    assert 1_795_320_000.123 == pytest.approx(alert.since, abs=0.001)
    told = POSTED["annotations"]
    assert told == {name: getattr(alert, name) for name in told}  # type: ignore[attr-defined]


def test_what_has_ended_says_when() -> None:
    """Not before it began."""
    ended = {**POSTED, "status": "resolved", "endsAt": "2026-11-22T05:00:00+01:00"}
    ((alert,), _) = read(json.dumps({**POST, "alerts": [ended]}).encode())
    assert not alert.firing
    assert alert.since == alert.ended
    ended["endsAt"] = "2026-11-22T04:10:00Z"
    ((alert,), _) = read(json.dumps({**POST, "alerts": [ended]}).encode())
    assert alert.ended is not None
    assert 599.9 == pytest.approx(alert.ended - alert.since, abs=0.1)


def test_other_peoples_rules_are_told_as_pages() -> None:
    """A severity that is not known must not keep anybody asleep; a rule may have no name."""
    posted = {**POSTED, "labels": {"severity": "critical"}, "annotations": {}}
    ((alert,), _) = read(json.dumps({**POST, "alerts": [posted]}).encode())
    assert (Severity.PAGE, "unnamed{}") == (alert.severity, alert.key)


WRONG: dict[str, Any] = {
    "no JSON": b"{",
    "nothing": b"",
    "no text": b"\xff\xfe",
    "deep": b"[" * 50_000,
    "a list": [],
    "another version": {**POST, "version": "3"},
    "a number for a version": {**POST, "version": 4},
    "no alerts": {**POST, "alerts": None},
    "a number for a label": {**POST, "alerts": [{**POSTED, "labels": {"a": 1}}]},
    "fewer than none left out": {**POST, "truncatedAlerts": -1},
    "no time": {**POST, "alerts": [{**POSTED, "startsAt": "soon"}]},
    "a time without a zone": {**POST, "alerts": [{**POSTED, "startsAt": "2026-11-22T04:00:00"}]},
    "no labels": {**POST, "alerts": [{**POSTED, "labels": None}]},
    "nested labels": {**POST, "alerts": [{**POSTED, "labels": {"a": {"b": "c"}}}]},
    "another status": {**POST, "alerts": [{**POSTED, "status": "pending"}]},
}


@pytest.mark.parametrize("told", WRONG.values(), ids=WRONG)
def test_what_is_no_post_is_refused_with_a_code(told: Any) -> None:
    """And nothing of it is taken."""
    heard = Heard()
    assert (400, "ALERTS_INVALID") == post(told, heard)
    assert [] == heard.alerts


def test_what_is_too_long_is_cut_and_says_so_and_keeps_nothing_from_people() -> None:
    """Not its neighbours in the post either."""
    long = "x" * 100_000
    told = dict.fromkeys(("summary", "description", "runbook", "dashboard", "mine"), long)
    wordy = {**POSTED, "annotations": told}
    (first, second), _ = read(json.dumps({**POST, "alerts": [wordy, POSTED]}).encode())
    for text in (first.summary, first.description, first.runbook, first.dashboard):
        assert text == "x" * LONGEST + "… (cut: 100000 characters)"
    assert second.summary == "w1 has been silent for 1m"


def test_two_alerts_stay_two_however_long_their_labels_are() -> None:
    """What is cut of a label, or left out of many, still tells one from another."""
    long, many = "x" * 5000, {f"label{n:03}": "" for n in range(500)}
    sets: list[dict[str, str]] = [
        *({"worker": long + end} for end in "ab"),
        *({long + end: "w"} for end in "ab"),
        *({**many, "label499": end} for end in "ab"),
        *({"alertname": long + end} for end in "ab"),
    ]
    posted = [{**POSTED, "labels": labels} for labels in sets]
    alerts, _ = read(json.dumps({**POST, "alerts": posted}).encode())
    assert len(sets) == len({alert.key for alert in alerts})
    again, _ = read(json.dumps({**POST, "alerts": posted}).encode())
    assert [alert.key for alert in alerts] == [alert.key for alert in again]
    assert max(len(alert.labels) for alert in alerts) == MOST_LABELS + 1
    assert max(len(alert.key) for alert in alerts) < LONGEST + 1000


def test_people_are_told_how_many_were_left_out() -> None:
    """By Alertmanager, or here; and when nothing is left out any more."""
    _, alert = read(json.dumps({**POST, "truncatedAlerts": 37}).encode())
    assert f'{LEFT_OUT}{{group="alertname=WorkerStale"}}' == alert.key
    assert (True, 37, Severity.PAGE) == (alert.firing, alert.value, alert.severity)
    assert "37 more alerts" in alert.summary
    crowd = {**POST, "alerts": [POSTED] * (MOST_ALERTS + 2), "truncatedAlerts": 3}
    alerts, alert = read(json.dumps(crowd).encode())
    assert (MOST_ALERTS, 5) == (len(alerts), alert.value)
    _, over = read(json.dumps(POST).encode())
    assert (False, alert.key) == (over.firing, over.key)


def test_what_was_left_out_is_told_once_and_so_is_its_end() -> None:
    """Groups from which nothing is left out leave nothing behind."""
    people = People(Source.PROMETHEUS)

    def posted(left_out: int) -> list[tuple[Kind, str]]:
        alerts, more = read(json.dumps({**POST, "truncatedAlerts": left_out}).encode())
        return people.hear(*alerts, more)

    assert [(Kind.FIRING, "WorkerStale")] == posted(0)
    assert {"WorkerStale"} == {seen.alert.rule for seen in people.known.values()}
    assert [(Kind.FIRING, LEFT_OUT)] == posted(37)
    assert [] == posted(38)
    assert [(Kind.RESOLVED, LEFT_OUT)] == posted(0)


def test_a_body_without_end_is_refused() -> None:
    """Before it is read."""
    assert (413, "ALERTS_TOO_LARGE") == post(b" " * (MAX_BYTES + 1))


def test_a_refusal_shows_nothing_of_what_was_posted() -> None:
    """It goes into Alertmanager's log."""
    told = {**POST, "alerts": [{**POSTED, "labels": {"secret-name": {"secret": 1}}}]}
    _, text = Incoming(Heard()).handle("/alerts", json.dumps(told).encode(), {})
    assert 'secret"' not in text
    assert text.count("\n") == 1


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(body: bytes) -> None:
    """With a refusal."""
    assert 400 == post(body)[0]


@given(st.dictionaries(st.text(), st.text(), max_size=5))
def test_any_labels_are_taken(labels: dict[str, str]) -> None:
    """Even such as no Prometheus has."""
    assert 200 == post({**POST, "alerts": [{**POSTED, "labels": labels}]})[0]


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    """Where there is one; what is wrong with it is not told."""
    file = tmp_path / "token"
    file.write_text("word\n")
    heard = Heard()
    door = Incoming(heard, token=Secret("the token", file=file))
    body = json.dumps(POST).encode()
    for headers in (
        {},
        {"authorization": "word"},
        {"authorization": "Bearer wor"},
        {"authorization": "Bearer wörd"},
        {"authorization": "Basic word"},
    ):
        status, text = door.handle("/alerts", body, headers)
        assert (401, "ALERTS_UNAUTHORIZED") == (status, text.partition(":")[0])
    assert [] == heard.alerts
    assert 200 == door.handle("/alerts", body, {"authorization": "Bearer word"})[0]
    file.unlink()
    status, text = door.handle("/alerts", body, {"authorization": "Bearer word"})
    assert (503, "ALERT_SECRET_MISSING") == (status, text.partition(":")[0])


def test_nothing_is_taken_where_builtin_judges() -> None:
    """Exactly one judges."""
    status, text = Incoming(None).handle("/alerts", json.dumps(POST).encode(), {})
    assert 409 == status
    assert text.startswith("ALERTS_SOURCE_BUILTIN: ")


def test_alertmanager_posts_again_when_the_ledger_is_away() -> None:
    """As it does after any status from 500 on."""
    away = LedgerUnavailable("It is away.", suggested_action="Wait.")
    assert (503, "LEDGER_UNAVAILABLE") == post(POST, Heard(away))


def test_alertmanager_keeps_nothing_quiet_and_waits_as_documented() -> None:
    """It would also keep quiet that an alert is over; the notifier does not."""
    config = yaml.safe_load(CONFIG.read_text())
    assert "inhibit_rules" not in config
    times = (GROUP_WAIT_S, GROUP_INTERVAL_S, REPEAT_INTERVAL_S)
    names = ("group_wait", "group_interval", "repeat_interval")
    assert [duration(seconds) for seconds in times] == [config["route"][name] for name in names]
