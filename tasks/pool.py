"""The Celery pool of a worker: slots are coroutines beside one engine, which the pool owns.

Celery calls it on the hub thread (the main thread). It starts the engine before anything is
consumed and stops it on every way out. Jobs of ours go to the engine's loop; messages of stock
senders are entered in the ledger first; ordinary tasks run under Celery's tracer in a small lane
of threads.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from celery.concurrency.base import BasePool, apply_target
from celery.worker import state as worker_state
from kombu.asynchronous.hub import Hub

from executors import ExecutorError, LoadProgress
from ledger import Job, LedgerError
from tasks import drain, ingest, ledger_id, pinning, publish, redis_server, wiring
from tasks.celery import INFER
from tasks.engine_host import EngineHost
from tasks.errors import HoneyflowError, adopt, describe
from tasks.keeper import Keeper
from tasks.lane import Lane
from tasks.reconcile import Reconciler
from tasks.redis_check import require_safe
from tasks.scribe import Scribe
from tasks.slots import Slot
from tasks.stream import EventWriter

logger = logging.getLogger(__name__)

LANE_THREADS = 4
LANE_BACKLOG = 16


class EnginePool(BasePool):
    """One worker's services: session, scribe, reconciler; an engine unless maintenance."""

    signal_safe = False
    is_green = False
    uses_semaphore = False
    task_join_will_block = True

    host: EngineHost | None = None
    hub: Hub | None = None

    def on_start(self) -> None:
        """Start everything; what fails says why, leaves nothing running, and exits with 1."""
        self.settings = wiring.settings()
        self.pin = pinning.current()
        self.consuming = True
        self.lane = Lane(threads=LANE_THREADS, on_done=self._wake_hub)
        self._undo: list[Any] = []
        try:
            self._start_services()
        except (HoneyflowError, ExecutorError, LedgerError) as error:
            told = describe(error)
            logger.critical("%s [%s] %s", told["message"], told["code"], told["suggested_action"])
            self._stop_services()
            raise SystemExit(1) from error
        except BaseException:
            self._stop_services()
            raise

    def _start_services(self) -> None:
        settings = self.settings
        if settings.redis_embedded and redis_server.ensure(settings):
            logger.info(
                "started the embedded Redis at %s; `honeyflow redis stop` ends it",
                settings.redis_socket,
            )
        require_safe(settings)
        wiring.open_ledger(migrate=True).close()
        self.client = wiring.client()
        ledger_id.publish(settings, self.client.ledger)
        self.scribe = Scribe(ledger=self.client.ledger)
        self.scribe.start()
        self._undo.append(self.scribe.stop)
        self.keeper = Keeper(
            ledger=self.client.ledger,
            worker=self.worker_name,
            node=self.pin.node,
            timing=settings.timing,
            on_lost=self._session_lost,
            facts=self._facts,
        )
        self._open_session()
        self.keeper.start()
        self._undo.append(self.keeper.stop)
        if self.pin.engine is not None:
            self._start_engine()
        self.reconciler = Reconciler(client=self.client, keeper=self.keeper, timing=settings.timing)
        self.reconciler.start()
        self._undo.append(self.reconciler.stop)
        self.keeper.beat()

    def _open_session(self) -> None:
        try:
            self.keeper.open()
        except LedgerError as error:
            raise adopt(error) from error
        self._undo.append(lambda: self._close_session(crashed=False, reason="stopped"))
        self._send_again(self.keeper.freed)

    def _start_engine(self) -> None:
        assert self.pin.engine is not None
        writer = EventWriter(ledger_id.connect(self.settings))
        writer.start()
        self._undo.append(writer.stop)
        host = EngineHost(
            config=self.pin.engine,
            client=self.client,
            scribe=self.scribe,
            keeper=self.keeper,
            writer=writer,
            worker_ens=self.settings.worker_ens or f"{self.pin.node}.honeyflow",
            queues=self.pin.queues,
            on_engine_lost=self._engine_lost,
            on_free=self._wake_hub,
        )
        self.host = host
        host.start(self._on_progress)
        self._undo.append(host.stop)
        info = host.executor.info
        logger.info(
            "%s on %s %s (%s) answers; %d samples in flight",
            info.name,
            info.engine,
            info.engine_version,
            info.device,
            host.places.total,
        )

    def on_apply(
        self,
        target: Any,
        args: Any = None,
        kwargs: Any = None,
        callback: Any = None,
        accept_callback: Any = None,
        **_: Any,
    ) -> Any:
        """Take one message from Celery, on the hub thread; never waits."""
        if args[0] != INFER:
            return self.lane.submit(apply_target, target, args, kwargs, callback, accept_callback)
        request = accept_callback.__self__
        if publish.HEADER not in request.request_dict:
            return self.lane.submit(ingest.enter, self.client, request)
        if self.host is None:
            return self.lane.submit(ingest.send_on, self.client, request)
        slot = Slot(
            pid=self.host.next_pid(),
            request=request,
            accept=accept_callback,
            terminate=self.terminate_job,
        )
        self.host.admit(slot)
        return slot

    @property
    def num_processes(self) -> int:
        """How many messages may be in hand: those that are, and the room for more."""
        if not self.consuming:
            return 0
        in_hand = len(worker_state.reserved_requests)
        lane = max(0, LANE_BACKLOG - self.lane.open)
        if self.host is None:
            return in_hand + lane
        return in_hand + (min(self.host.room, 512) if lane else 0)

    def terminate_job(self, pid: int, signal: Any = None) -> None:
        """Accept Celery's word that a job is to end, and leave it to whoever said so.

        A revoke has put its flag into the ledger, which is looked at twice a second; a cold stop
        hands every job back in `on_stop`. Ending the job here could not tell the two apart.
        """

    def flush(self) -> None:
        """The broker's connection is gone: what was not claimed yet comes again.

        The hub stands still until Celery has a connection again; what runs needs no broker.
        """
        self.keeper.excuse("hub")
        if self.host is not None:
            self.host.drop_unclaimed()

    def register_with_event_loop(self, hub: Hub) -> None:
        """Keep the hub; called again at every reconnect, which cancels the timers made here."""
        self.hub = hub
        self.keeper.tick("hub")
        hub.call_repeatedly(1.0, self.keeper.tick, "hub")

    def on_close(self) -> None:
        """Refuse new jobs."""
        self.consuming = False

    def on_stop(self) -> None:
        """Drain within the grace time, hand back the rest, stop the engine. Idempotent."""
        self.consuming = False
        # None while nobody asked, else the exit code, which may be 0.
        cold = worker_state.should_terminate is not None
        patience = 0.0 if cold else self.settings.timing.grace_s
        until = time.monotonic() + patience
        if self.host is not None:
            drain.wait(self.host, self.hub, self.keeper, patience_s=patience)
            self.host.stop_all("drain")
            drain.wait(self.host, self.hub, self.keeper, patience_s=10.0)
        if not self.lane.stop(patience_s=max(0.5, until - time.monotonic())):
            logger.warning("a task has not ended within the grace time and is left")
        self._stop_services()
        drain.run_acks(self.hub)

    def on_terminate(self) -> None:
        """End at once; what runs is handed back."""
        self.on_stop()

    def _stop_services(self) -> None:
        """Undo the start in reverse order; each step only once."""
        while self._undo:
            undo = self._undo.pop()
            try:
                undo()
            except Exception:
                logger.exception("stopping went wrong; going on")

    def _engine_lost(self, reason: str) -> None:
        """Stop consuming, hand the jobs back with the session, end with exit code 1."""
        self.consuming = False
        threading.Thread(target=self._give_up, args=(reason,), name="give-up", daemon=True).start()

    def _give_up(self, reason: str) -> None:
        self.keeper.stop()
        self._close_session(crashed=True, reason=reason)
        worker_state.should_stop = 1  # type: ignore[assignment]
        self._wake_hub()
        # The hub may be stuck on a dead broker: the exit does not wait for it for ever.
        time.sleep(self.settings.timing.stall_exit_s)
        os._exit(1)

    def _close_session(self, *, crashed: bool, reason: str) -> None:
        self._send_again(self.keeper.close(crashed=crashed, reason=reason))

    def _send_again(self, freed: Sequence[Job]) -> None:
        """Send jobs that went back to their queue; if that fails, a reconciler does it."""
        queued = [job for job in freed if job.state == "queued"]
        try:
            publish.send(self.client.app, queued, ledger_uuid=self.client.ledger.uuid)
        except Exception as error:
            logger.warning("%d job(s) are sent later: %s", len(queued), error)

    def _session_lost(self) -> None:
        if self.host is not None:
            self.host.stop_all("lost")

    def _wake_hub(self) -> None:
        if self.hub is not None:
            self.hub.call_soon(_nothing)

    def _on_progress(self, progress: LoadProgress) -> None:
        logger.info(
            "loading: %s %.0f %% %s", progress.phase, 100 * progress.fraction, progress.detail
        )

    @property
    def worker_name(self) -> str:
        """The worker's id: Celery's node name, from `-n` or from the GPU and the node."""
        return worker_name()

    def _facts(self) -> tuple[str, Mapping[str, Any]]:
        facts: dict[str, Any] = {"pid": os.getpid(), "queues": list(self.pin.queues)}
        if self.host is None:
            return ("idle" if self.consuming else "draining"), facts
        in_flight = self.host.places.total - self.host.places.free
        facts |= {"in_flight": in_flight, "places": self.host.places.total}
        if self.pin.engine is not None:
            facts |= {
                "model": self.pin.engine.model,
                "device": self.pin.engine.device,
                "gpus": list(self.pin.placement.uuids) if self.pin.placement else [],
                "tensor_parallel": self.pin.engine.tensor_parallel,
            }
        if self.host.executor.health().state == "loading":
            return "loading", facts
        if not self.consuming:
            return "draining", facts
        return ("busy" if in_flight else "idle"), facts

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = {**super()._get_info(), "engine": None}  # type: ignore[misc]
        if self.host is None:
            return info
        health = self.host.executor.health()
        return {
            **info,
            "max-concurrency": self.host.places.total,
            "engine": {
                "model": self.pin.engine.model if self.pin.engine else None,
                "state": str(health.state),
                "jobs": len(self.host.slots),
                "samples": self.host.places.total - self.host.places.free,
                "places": self.host.places.total,
            },
        }


def _nothing() -> None:
    """What the hub is woken with."""


_names: list[str] = []


def set_worker_name(name: str) -> None:
    """Remember Celery's node name; told before the pool starts."""
    _names.append(name)


def worker_name() -> str:
    """Celery's node name of this process."""
    return _names[-1] if _names else f"worker@{wiring.settings().node}"
