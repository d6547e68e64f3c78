"""What there is to tell, decided from what is known, what was heard and the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerts.alert import Alert, Severity
from monitoring.alerts.message import Kind
from monitoring.alerts.notifier import REPEAT_AFTER_S, SILENT_S, Known, News, Source, settle

NOW = 1_700_000_000.0


def alert(rule: str = "GpuHot", *, firing: bool = True, **columns: Any) -> Alert:
    """An alert with as little as it needs."""
    given: dict[str, Any] = {
        "rule": rule,
        "labels": {},
        "severity": Severity.PAGE,
        "since": NOW - 10,
        "ended": None if firing else NOW,
        "value": 90.0,
        "summary": f"{rule} is told",
        "description": "",
    }
    return Alert(firing=firing, **(given | columns))


class People:
    """What is remembered and told from step to step."""

    def __init__(self, source: Source = Source.BUILTIN) -> None:
        self.known: dict[str, Known] = {}
        self.source = source
        self.now = NOW

    def hear(self, *heard: Alert, complete: bool = False) -> list[tuple[Kind, str]]:
        """One step; gives what is told, by kind and rule."""
        return [(news.kind, news.alert.rule) for news in self.news(*heard, complete=complete)]

    def news(self, *heard: Alert, complete: bool = False) -> Sequence[News]:
        """The same, whole."""
        settled = settle(self.known, heard, source=self.source, now=self.now, complete=complete)
        self.known |= {seen.alert.key: seen for seen in settled.changed}
        return settled.news


def test_a_state_is_told_once() -> None:
    """However often it is heard; another value is no news."""
    people = People()
    assert [(Kind.FIRING, "GpuHot")] == people.hear(alert())
    assert [] == people.hear(alert(value=95.0))
    assert [] == people.hear()
    assert [(Kind.RESOLVED, "GpuHot")] == people.hear(alert(firing=False))
    assert [] == people.hear(alert(firing=False))
    assert [(Kind.FIRING, "GpuHot")] == people.hear(alert(since=NOW + 5))


def test_other_labels_are_another_alert() -> None:
    """A second GPU is not kept quiet by the first."""
    people = People()
    heard = [alert(labels={"gpu": "0"}), alert(labels={"gpu": "1"})]
    assert [(Kind.FIRING, "GpuHot")] * 2 == people.hear(*heard)


def test_the_good_news_knows_when_it_began() -> None:
    """Also if whoever judges has begun anew meanwhile."""
    people = People()
    people.hear(alert(since=NOW - 500))
    people.hear(alert(since=NOW - 1))
    (news,) = people.news(alert(firing=False, since=NOW - 1, ended=NOW + 3))
    assert (NOW - 500, NOW + 3) == (news.alert.since, news.alert.ended)


def test_what_lasts_is_said_again_after_four_hours() -> None:
    """And not before."""
    people = People()
    people.hear(alert())
    people.now += REPEAT_AFTER_S - 1
    assert [] == people.hear(alert())
    people.now += 1
    assert [(Kind.REPEAT, "GpuHot")] == people.hear()
    people.now += REPEAT_AFTER_S - 1
    assert [] == people.hear(alert())


def test_a_judge_that_tells_all_ends_what_it_does_not_tell() -> None:
    """Its memory may be lost; one that tells a part leaves the rest."""
    people = People()
    people.hear(alert("A"), alert("B"), complete=True)
    assert [] == people.hear(alert("A"))
    assert [(Kind.RESOLVED, "B")] == people.hear(alert("A"), complete=True)
    assert people.known["B{}"].alert.ended == people.now


def test_another_judge_ends_what_the_first_one_said() -> None:
    """Exactly one of them is active."""
    people = People()
    people.hear(alert("A"))
    people.source = Source.PROMETHEUS
    assert [(Kind.FIRING, "B"), (Kind.RESOLVED, "A")] == people.hear(alert("B"))


def test_a_clock_that_was_set_back_delays_nothing_by_more_than_its_interval() -> None:
    """What was told is never yet to come."""
    people = People(Source.PROMETHEUS)
    people.hear(alert())
    people.now -= 86_400
    assert [] == people.hear()
    people.now += REPEAT_AFTER_S
    assert [(Kind.REPEAT, "GpuHot")] == people.hear()
    people.now += SILENT_S + 1
    (news,) = (one for one in people.news() if one.kind is Kind.RESOLVED)
    assert news.alert.ended is not None
    assert news.alert.ended >= news.alert.since


def test_what_alertmanager_no_longer_speaks_of_is_over() -> None:
    """It may have been made anew without its memory; builtin speaks at each look."""
    for source, expected in ((Source.PROMETHEUS, [Kind.RESOLVED]), (Source.BUILTIN, [])):
        people = People(source)
        people.hear(alert())
        people.known = {key: replace(seen, told_at=NOW + 9) for key, seen in people.known.items()}
        people.now += SILENT_S
        assert Kind.RESOLVED not in [kind for kind, _ in people.hear()]
        people.now += 1
        assert expected == [kind for kind, _ in people.hear() if kind is Kind.RESOLVED]


def test_a_late_end_of_an_earlier_time_is_none() -> None:
    """It has fired again since."""
    people = People()
    people.hear(alert(since=NOW))
    assert [] == people.hear(alert(firing=False, since=NOW - 60, ended=NOW - 30))
    assert people.known["GpuHot{}"].alert.firing


def test_the_end_of_what_nobody_heard_of_is_no_news() -> None:
    """Neither is the end of what was kept quiet."""
    people = People()
    assert [] == people.hear(alert(firing=False))
    assert {} == people.known


def test_signs_for_machines_are_not_told() -> None:
    """The watchdog fires for ever."""
    people = People()
    assert [] == people.hear(alert("Watchdog", severity=Severity.NONE))


def test_a_backlog_of_a_model_without_workers_is_the_same_news() -> None:
    """Of this model only; and it is told once there are workers."""
    people = People()
    missing = alert("NoWorkerForModel", labels={"model": "a"})
    backlog = alert("QueueBacklog", labels={"model": "a"})
    other = alert("QueueBacklog", labels={"model": "b"})
    told = people.news(missing, backlog, other)
    assert {missing.key, other.key} == {news.alert.key for news in told}
    over = replace(missing, firing=False, ended=NOW)
    told = people.news(over)
    assert [(Kind.FIRING, backlog.key), (Kind.RESOLVED, missing.key)] == [
        (news.kind, news.alert.key) for news in told
    ]


def test_nothing_is_told_of_a_cluster_that_cannot_be_seen() -> None:
    """But that; the good news still comes through, and other targets keep nobody quiet."""
    people = People()
    people.hear(alert("GpuHot"))
    down = alert("TargetDown", labels={"job": "honeyflow"})
    assert [(Kind.FIRING, "TargetDown")] == people.hear(down, alert("DiskLow"))
    assert [(Kind.RESOLVED, "GpuHot")] == people.hear(alert("GpuHot", firing=False))
    other = People()
    elsewhere = alert("TargetDown", labels={"job": "grafana"})
    assert 2 == len(other.hear(elsewhere, alert("DiskLow")))


def test_what_cannot_go_on_without_redis_is_not_told_beside_it() -> None:
    """One cause, one message; what still holds when Redis is back has another cause."""
    people = People(Source.PROMETHEUS)
    canary = alert("CanaryStale", labels={"model": "a"})
    follows = [alert("ReconcilerStale"), alert("BeatStale"), canary]
    assert [(Kind.FIRING, "RedisDown")] == people.hear(alert("RedisDown"), *follows)
    people.hear(alert("BeatStale", firing=False), replace(canary, firing=False, ended=NOW))
    assert {(Kind.RESOLVED, "RedisDown"), (Kind.FIRING, "ReconcilerStale")} == {
        *people.hear(alert("RedisDown", firing=False))
    }
    assert 2 == len(people.hear(alert("GpuHot"), alert("RedisDown", since=NOW)))


STEPS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("ABC"), unique=True),
        st.floats(min_value=0, max_value=5 * 3600),
    ),
    max_size=20,
)


@given(STEPS)
def test_what_is_told_is_what_is(steps: list[tuple[list[str], float]]) -> None:
    """Firing and resolved alternate for each alert, and the last one told is how it stands."""
    people, told = People(), dict[str, list[Kind]]()
    for firing, seconds in steps:
        people.now += seconds
        for kind, rule in people.hear(*(alert(rule) for rule in firing), complete=True):
            told.setdefault(rule, []).append(kind)
        for rule in "ABC":
            last = [kind for kind in told.get(rule, []) if kind is not Kind.REPEAT][-1:]
            assert (rule in firing) is (last == [Kind.FIRING])
    for kinds in told.values():
        states = [kind for kind in kinds if kind is not Kind.REPEAT]
        assert (
            states
            == [Kind.FIRING, Kind.RESOLVED] * (len(states) // 2) + states[len(states) // 2 * 2 :]
        )
        assert states[:1] == [Kind.FIRING]
