"""Everything there is to export: the totals, the ledger's rows, heartbeats, what Redis said last.

`Exporter` is a collector as prometheus_client knows them, and writes scrapes itself, which has to
be fast (`monitoring.families.exposition`). A scrape reads the ledger once and waits for nothing
else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.metrics_core import Metric as ClientMetric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from ledger import Figures, Ledger, Standing, figures, standings
from monitoring.broker_watch import BrokerFacts
from monitoring.families import Exposition, Family, broker, counted, machines, rows, workers
from monitoring.families.family import Labels, family, of_client, single
from monitoring.families.workers import WorkerNow
from monitoring.heartbeat import Heartbeat
from monitoring.log_counter import BEAT, BEAT_ERRORS, EXPORTER
from monitoring.metrics import METRICS, OTHER
from monitoring.tally import Series, Total
from monitoring.worker_states import state_of

_ORDER = {metric.name: place for place, metric in enumerate(METRICS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What was counted so far, and how many moves and events are still to be counted."""

    totals: Mapping[Series, Total]
    lag: int


class Exporter(Collector):
    """Gathers and writes all metrics; to be used from any thread.

    `counted` gives the totals, `broker_facts` what Redis said last, `models` and `channels` are
    those that the configuration knows, `canaries` whether any are sent, `logged_errors` how many
    lines of level error this process has logged, `limits` those of rules that follow a setting, in
    seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        counted: Callable[[], Counted],
        broker_facts: Callable[[], BrokerFacts],
        models: Iterable[str] = (),
        channels: Iterable[str] = (),
        version: str,
        canaries: bool = False,
        logged_errors: Callable[[], int] | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        self._ledger = ledger
        self._counted = counted
        self._broker_facts = broker_facts
        self._models = tuple(models)
        self._channels = tuple(channels)
        self._version = version
        self._canaries = canaries
        self._logged_errors = logged_errors
        self._limits: dict[Labels, float] = {
            (rule,): seconds for rule, seconds in (limits or {}).items()
        }
        self._exposition = Exposition()
        self._beats: dict[str, tuple[Mapping[str, object], Heartbeat]] = {}
        self._turn = threading.Lock()

    def collect(self) -> Iterator[ClientMetric]:
        """Give all metrics as prometheus_client's values.

        Raises:
            LedgerError: the ledger cannot be read now.
        """
        with self._turn:
            found = self._families()
        return of_client(found)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Give all metrics in the format that a scraper accepts, and that format's content type.

        Raises:
            LedgerError: the ledger cannot be read now.
        """
        openmetrics = _wants_openmetrics(accept)
        with self._turn:
            written = self._exposition.text(self._families(), openmetrics=openmetrics)
        return written, CONTENT_TYPE_LATEST if openmetrics else CONTENT_TYPE_PLAIN_0_0_4

    def _families(self) -> list[Family]:
        with self._ledger.read() as tx:
            found, standing = figures.read(tx), standings.read(tx)
        return self._of(found, standing, self._counted())

    def _of(
        self, found: Figures, standing: Iterable[Standing], counted_now: Counted
    ) -> list[Family]:
        fleet = self._fleet(standing)
        every = [
            *counted.families(counted_now.totals, canaries=self._canaries),
            *rows.families(found, self._known(counted_now.totals), self._channels),
            *workers.families(fleet, self._errors(found)),
            *machines.families(fleet),
            *broker.families(self._broker_facts()),
            family("alert_limit_seconds", self._limits),
            single("exporter_lag_changes", counted_now.lag),
            family("build_info", {(self._version,): 1.0}),
        ]
        return sorted(every, key=lambda each: _ORDER[each.metric.name])

    def _known(self, totals: Mapping[Series, Total]) -> set[str]:
        """The models that are configured, or whose jobs are counted by name."""
        by_name = {labels[0] for metric, labels in totals if metric == "queue_length"}
        return {*self._models, *by_name} - {OTHER}

    def _errors(self, found: Figures) -> dict[str, int]:
        """The lines of level error of the processes that send no heartbeats."""
        errors = {BEAT: found.positions.get(BEAT_ERRORS, 0)}
        return (
            errors if self._logged_errors is None else {**errors, EXPORTER: self._logged_errors()}
        )

    def _fleet(self, standing: Iterable[Standing]) -> list[WorkerNow]:
        """The workers as they are now; a heartbeat that was read before is not read again."""
        before, self._beats = self._beats, {}
        fleet = []
        for one in standing:
            row = one.worker
            known = before.get(row.worker)
            beat = known[1] if known and known[0] == row.facts else Heartbeat.from_facts(row.facts)
            self._beats[row.worker] = (row.facts, beat)
            fleet.append(
                WorkerNow(name=row.worker, state=state_of(one), seen_at=row.seen_at, beat=beat)
            )
        return fleet


def _wants_openmetrics(accept: str) -> bool:
    try:
        return "openmetrics" in choose_encoder(accept)[1]
    except (TypeError, ValueError):
        # A version that is none.
        return False
