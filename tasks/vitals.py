"""What a worker knows of itself between two heartbeats: its machine, its tokens, its errors.

One thread looks at the machine, another copies each heartbeat to Redis. A driver, a network disk or
a Redis that hangs so holds up nobody: the keeper, which sends the heartbeats to the ledger, tells
what was seen last, and how long ago; what is too old to be true any more is left out.
"""

from __future__ import annotations

import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis

from monitoring.gpu_watch import Fault
from monitoring.heartbeat import Heartbeat
from monitoring.sampler import Sample, Sampler
from tasks import facts, ledger_id, narration, worker_events, worker_hash
from tasks.engine_host import EngineHost
from tasks.facts import WorkerState
from tasks.pinning import Pin
from tasks.settings import Settings
from tasks.token_meter import TokenMeter

logger = logging.getLogger(__name__)

LOOK_S = 2.0
"""How long a start, and a failure, waits for a look at the machine; drivers may hang."""
REDIS_TIMEOUT_S = 1.0
MISSED_LOOKS = 3
"""After how many heartbeats without a look what was seen is not told any more."""

Beat = tuple[str, Mapping[str, Any]]


class Vitals:
    """One worker's facts. `note` writes an event of the worker into the ledger.

    `state` is how far the worker is; while it is idle, what it does is told by its engine's host.
    `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        pin: Pin,
        worker: str,
        note: Callable[[str, Mapping[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._pin = pin
        self._worker = worker
        self._note = note
        self._clock = clock
        self.state = WorkerState.STARTING
        self.tokens = TokenMeter()
        self.errors = narration.error_counter
        self._sample: Sample | None = None
        self._sampled_at = clock()
        self._progress_at: float | None = None
        self._work: queue.SimpleQueue[Callable[[redis.Redis], None] | None] = queue.SimpleQueue()
        self._look_now = threading.Event()
        self._looked = threading.Event()
        self._ending = threading.Event()
        self._sampler = Sampler(
            gpus=pin.placement.uuids if pin.placement else (), disk=settings.data_dir
        )
        self._threads = [
            threading.Thread(target=run, name=name, daemon=True)
            for name, run in (("vitals", self._keep_looking), ("vitals-copies", self._keep_copying))
        ]

    def start(self) -> None:
        """Begin to look; returns after the first look, or when it takes too long."""
        self.errors.attach(logging.getLogger())
        for thread in self._threads:
            thread.start()
        self._looked.wait(LOOK_S)

    def stop(self) -> None:
        """Copy what was sent last and stop; a look that hangs is left alone."""
        self._work.put(None)
        self._ending.set()
        self._look_now.set()
        until = time.monotonic() + 2 * REDIS_TIMEOUT_S
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=max(0.0, until - time.monotonic()))

    @contextmanager
    def loading(self, tell: Callable[[], None]) -> Iterator[None]:
        """Say that the model is loaded, and how long that took; `tell` sends a heartbeat."""
        self.state = WorkerState.LOADING
        tell()
        began = time.monotonic()
        yield
        seconds = round(time.monotonic() - began, 3)
        model = self._pin.engine.model if self._pin.engine else None
        self._note(worker_events.MODEL_LOADED, {"model": model, "seconds": seconds})

    def say_started(self) -> None:
        """Say that the worker takes jobs from now on."""
        self.state = WorkerState.IDLE
        self._note(worker_events.STARTED, facts.of_start(self._pin))

    def tell(self, host: EngineHost | None, *, consuming: bool, closed: bool) -> Beat:
        """The state and the facts of a heartbeat."""
        told = facts.of_heartbeat(self._pin, host)
        progress = [told.progress_at, self.tokens.added_at, self._progress_at]
        self._progress_at = max((moment for moment in progress if moment), default=None)
        told = replace(
            told,
            tags=self._settings.worker_tags,
            cost_per_hour=self._settings.worker_cost_per_hour,
            logged_errors=self.errors.count,
            tokens_per_s=None if host is None else self.tokens.rate(),
            progress_at=self._progress_at,
        )
        told = self._with_machine(told)
        return str(self._state(host, consuming=consuming, closed=closed)), told.to_facts()

    def sent(self, state: str, told: Mapping[str, Any]) -> None:
        """Take note of a heartbeat that is in the ledger."""
        self.tokens.mark()
        self._work.put(functools.partial(self._copy, state, told))

    def look_again(self) -> None:
        """Look now, for what made an engine fail; returns after it, or when it takes too long."""
        self._looked.clear()
        self._look_now.set()
        self._looked.wait(LOOK_S)

    def _with_machine(self, told: Heartbeat) -> Heartbeat:
        """What was seen last, as far as it still holds; what the machine is made of does."""
        # In this order: an age that is too great leaves out what is new, and not the other way.
        age_s = max(0.0, self._clock() - self._sampled_at)
        told = replace(told, machine_age_s=round(age_s, 1))
        if (sample := self._sample) is None:
            return told
        told = replace(told, hardware=sample.hardware)
        if age_s > MISSED_LOOKS * self._settings.timing.heartbeat_s:
            return told
        return replace(told, host=sample.host, readings=sample.readings)

    def _state(self, host: EngineHost | None, *, consuming: bool, closed: bool) -> WorkerState:
        if self.state is not WorkerState.IDLE:
            return self.state
        if closed:
            return WorkerState.STOPPING
        if not consuming:
            return WorkerState.DRAINING
        busy = host is not None and facts.in_flight(host) > 0
        return WorkerState.BUSY if busy else WorkerState.IDLE

    def _keep_looking(self) -> None:
        while not self._ending.is_set():
            # Before the look: whoever asks during it wants another one.
            self._look_now.clear()
            if self._ending.is_set():
                break
            self._look()
            self._look_now.wait(self._settings.timing.heartbeat_s)
        self._sampler.close()

    def _keep_copying(self) -> None:
        with ledger_id.connect(self._settings, timeout_s=REDIS_TIMEOUT_S) as broker:
            while (work := self._work.get()) is not None:
                work(broker)

    def _look(self) -> None:
        began = self._clock()
        try:
            self._sample = self._sampler.take()
            self._sampled_at = began
            for fault in self._sample.faults:
                self._tell_of(fault)
        except Exception:
            logger.exception("the machine could not be looked at")
        finally:
            self._looked.set()

    def _tell_of(self, fault: Fault) -> None:
        card = {"gpu": fault.gpu, "uuid": fault.uuid}
        if fault.xid is None:
            logger.error("GPU %s (%s) is lost", fault.gpu, fault.uuid)
            self._note("gpu_lost", card)
        else:
            logger.error("GPU %s (%s) reports Xid %d", fault.gpu, fault.uuid, fault.xid)
            self._note("xid", {**card, "xid": fault.xid, "times": fault.times})

    def _copy(self, state: str, told: Mapping[str, Any], broker: redis.Redis) -> None:
        fields = {"worker": self._worker, "state": state, "seen_at": round(time.time(), 3), **told}
        ttl = worker_hash.ttl_s(self._settings.timing.heartbeat_s)
        try:
            worker_hash.write(broker, self._worker, fields, ttl=ttl)
        except Exception as error:
            logger.debug("the heartbeat is not copied to Redis: %s", error)
