"""Totals, the names in their labels, and the series that are there from the start."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from ledger import EventRow, Move, State, TotalRow, WorkerRow
from monitoring.counting import How, Increment
from monitoring.metrics import BY_NAME, METRICS, PREFIX, Kind
from monitoring.series import COUNTED, at_rest
from monitoring.tally import MAX_MODELS, MAX_WORKERS, Names, Tally, Total
from tests.unit.monitoring.test_counting import event, move

WAIT = f"{PREFIX}job_queue_wait_seconds"
STREAK = f"{PREFIX}low_confidence_streak_jobs"


def tally(*rows: TotalRow, models: tuple[str, ...] = ()) -> Tally:
    """A tally of what the ledger has."""
    return Tally.of_rows(rows, models=models)


def entered(model: str, seq: int = 1) -> Move:
    """A job was accepted."""
    return move(None, State.QUEUED, model=model, seq=seq)


def refused(model: str) -> Move:
    """A job was refused at the door."""
    return move(None, State.FAILED, model=model)


def submitted(found: Tally) -> dict[str, float]:
    """Jobs submitted, by model."""
    return {
        labels[0]: total.value
        for (metric, labels), total in found.totals.items()
        if metric == f"{PREFIX}jobs_submitted_total"
    }


@given(st.lists(st.floats(0, 5000), min_size=1))
def test_each_value_is_in_the_bucket_whose_bound_it_does_not_pass(values: list[float]) -> None:
    """A value on a bound is below it; every value is in one bucket."""
    found = tally()
    found.apply(Increment(WAIT, ("m", "normal"), value, How.OBSERVE) for value in values)
    total = found.totals[WAIT, ("m", "normal")]
    bounds = BY_NAME[WAIT].bounds
    assert math.isclose(total.value, sum(values), abs_tol=1e-6)
    for bound, below in zip(bounds, itertools.accumulate(total.counts), strict=True):
        assert below == sum(value <= bound for value in values)


def test_a_gauge_is_put_and_added_to() -> None:
    """In the order of the increments."""
    found = tally()
    steps = [(1, How.ADD), (1, How.ADD), (0, How.PUT), (1, How.ADD)]
    found.apply(Increment(STREAK, ("m",), amount, how) for amount, how in steps)
    assert Total(1.0) == found.totals[STREAK, ("m",)]


@given(st.lists(st.integers(0, 30)), st.integers(1, 7))
def test_it_goes_on_from_what_was_written(numbers: list[int], every: int) -> None:
    """Written and read back anywhere, the totals are the same to the last bit."""
    steps = [Increment(WAIT, ("m", "idle"), number / 7, How.OBSERVE) for number in numbers]
    whole, parts = tally(), tally()
    whole.apply(steps)
    for start in range(0, len(steps), every):
        parts.apply(steps[start : start + every])
        parts = tally(*parts.rows())
    assert whole.totals == parts.totals


def test_a_copy_leaves_the_first_as_it_was() -> None:
    """Totals and names; only what has changed since is written."""
    first = tally(models=("a",))
    first.count([entered("a")], [])
    second = first.copy()
    second.count([entered("b")], [])
    assert {"a": 1} == submitted(first)
    assert {"a": 1, "b": 1} == submitted(second)
    assert {"a"} == first.models.known
    assert {"b"} == {row.labels[0] for row in second.rows()}


def test_other_buckets_begin_again_and_other_metrics_are_left_alone() -> None:
    """What another version wrote makes no wrong figure."""
    found = tally(
        TotalRow(metric=WAIT, labels=("m", "idle"), value=5, counts=(1, 2)),
        TotalRow(metric=f"{PREFIX}jobs_total", labels=("m",), value=5),
        TotalRow(metric="of_tomorrow", labels=("m",), value=5),
    )
    assert {} == found.totals


def test_what_was_refused_brings_no_name() -> None:
    """Anybody can name a model; one that was accepted for is known from then on."""
    found = tally()
    found.count([refused("x"), entered("x"), refused("x"), refused("y")], [])
    assert {"x": 2, "other": 2} == submitted(found)
    assert {"x": 2, "other": 2} == submitted(tally(*found.rows()))
    assert {"x", "other"} == tally(*found.rows()).models.known


def test_a_model_that_is_configured_needs_no_job_to_be_known() -> None:
    """Not even to be refused for."""
    found = tally(models=("x",))
    found.count([refused("x")], [])
    assert {"x": 1} == submitted(found)


def test_there_is_an_end_to_names() -> None:
    """Those that come too late are one; a gauge loses under it what it gained under it."""
    found = tally()
    names = [f"m{number}" for number in range(MAX_MODELS + 5)]
    found.count([entered(name) for name in names], [])
    assert 5 == submitted(found)["other"]
    found.count([move(State.QUEUED, State.RUNNING, model=name) for name in names], [])
    queue = f"{PREFIX}queue_length"
    assert {0} == {total.value for (name, _), total in found.totals.items() if name == queue}


def starts(found: Tally) -> dict[str, float]:
    """Starts of workers, by name."""
    return {
        labels[0]: total.value
        for (metric, labels), total in found.totals.items()
        if metric == f"{PREFIX}worker_starts_total"
    }


def of(worker: str, kind: str = "worker_started") -> EventRow:
    """An event of that worker."""
    return EventRow(id=1, at=0, kind=kind, subject=worker, details={"code": "NO_MODEL"})


def there(worker: str, state: str = "idle", seen_at: float = 1.0) -> WorkerRow:
    """A worker in the ledger."""
    return WorkerRow(
        worker=worker, node="n", session="s", state=state, facts={}, seen_at=seen_at, drain=False
    )


def test_a_forgotten_worker_leaves_its_sums_and_not_its_name() -> None:
    """Nothing of it is kept in the ledger; it may come back, and begins again."""
    found = tally()
    found.count([], [of("a"), of("a"), of("b"), of("a", "start_failed")])
    found = tally(*found.rows())
    found.count([], [of("a", "worker_forgotten"), of("nobody", "worker_forgotten")])
    assert {"forgotten": 2, "b": 1} == starts(found)
    assert {"b"} == found.workers.known
    failed = f"{PREFIX}worker_start_failures_total"
    assert {(f"{PREFIX}worker_starts_total", ("a",)), (failed, ("a", "NO_MODEL"))} == found.gone
    assert 1 == found.totals[failed, ("forgotten", "NO_MODEL")].value
    assert not found.gone & {(row.metric, row.labels) for row in found.rows()}

    found.count([], [of("a"), of("a", "worker_forgotten"), of("a")])
    assert {"forgotten": 3, "a": 1, "b": 1} == starts(found)
    assert {"a", "b"} == found.workers.known
    assert {"a"} == tally(*found.rows()).workers.known


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(["worker_started", "worker_stale", "worker_forgotten"]),
        )
    )
)
def test_sums_over_all_workers_never_fall(told: list[tuple[str, str]]) -> None:
    """Whoever is forgotten, and when."""
    found = tally()
    for number, (worker, kind) in enumerate(told, start=1):
        found.count([], [of(worker, kind)])
        wanted = [kind for _, kind in told[:number] if kind == "worker_started"]
        assert len(wanted) == sum(starts(found).values())


def test_a_name_that_is_not_needed_any_more_makes_room_for_one_that_is() -> None:
    """Containers with names by chance come and go; only too many at once are `other`."""
    found = tally()
    for number in range(3 * MAX_WORKERS):
        name = f"w{number}"
        rows = [there(f"w{other}", "stopped", other) for other in range(100, number)]
        found.count([], [of(name)], [*rows, there(name)])
    shown = starts(found)
    assert 3 * MAX_WORKERS == sum(shown.values())
    assert MAX_WORKERS == len(found.workers.known)
    assert "other" not in shown
    # Those that nobody knows went first, then those that had stopped longest ago.
    assert {f"w{number}" for number in range(2 * MAX_WORKERS, 3 * MAX_WORKERS)} == (
        found.workers.known
    )

    live = [there(name) for name in found.workers.known]
    assert found.is_full([of("new")])
    found.count([], [of("new")], [*live, there("new")])
    assert 1 == starts(found)["other"]
    found.count([], [of("next")], [*live[1:], there(live[0].worker, "failed"), there("next")])
    assert (1, 1) == (starts(found)["other"], starts(found)["next"])


def test_no_event_but_a_worker_s_brings_the_name_of_a_worker() -> None:
    """A job that died is no worker, and a model is one only when it was loaded."""
    found = tally()
    dead = EventRow(id=1, at=0, kind="job_dead", subject="job-1", details={"model": "m"})
    found.count([], [dead, event("jobs_resent", jobs=1), event("worker_started", model="n")])
    assert ({"w1"}, set()) == (found.workers.known, found.models.known)
    found.count([], [event("model_loaded", model="m", seconds=2)])
    assert {"m"} == found.models.known


def test_a_name_is_a_text() -> None:
    """Nothing else is shown."""
    names = Names((), limit=3)
    assert ["other"] * 4 == [names.shown(odd) for odd in (None, 7, "", "other")]
    assert set() == names.known


def test_all_that_is_counted_is_there_from_the_start() -> None:
    """Each with all its labels, and a histogram with all its buckets."""
    series = at_rest(models=["a", "b"], workers=["w"])
    names = {name for name, _ in series}
    late = {"worker_start_failures_total", "canary_last_success_timestamp_seconds"}
    assert {metric.name for metric in COUNTED} - names == {PREFIX + name for name in late}
    for (name, labels), total in series.items():
        metric = BY_NAME[name]
        assert len(labels) == len(metric.labels)
        assert 0 == total.value
        buckets = len(metric.bounds) if metric.kind is Kind.HISTOGRAM else 0
        assert (0,) * buckets == total.counts
    assert (f"{PREFIX}jobs_total", ("dead", "b")) in series
    assert (f"{PREFIX}worker_stale_total", ("w",)) in series


def test_the_series_of_a_large_cluster_stay_within_the_budget() -> None:
    """8 models and 32 workers; a histogram has a series for each bucket, and two more."""
    series = at_rest(models=map(str, range(8)), workers=map(str, range(32)))
    lines = sum(len(total.counts) + 2 if total.counts else 1 for total in series.values())
    assert lines < 6_000
    assert len(METRICS) >= len(COUNTED)
