"""The Celery pool of a worker: slots are coroutines beside one engine, which the pool owns.

Celery calls it on the hub thread (the main thread). It starts the engine before anything is
consumed and stops it on every way out. Jobs of ours go to the engine's loop; messages of stock
senders are entered in the ledger first; ordinary tasks run under Celery's tracer in a small lane
of threads.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Mapping
from typing import Any

from celery.concurrency.base import BasePool, apply_target
from celery.worker import state as worker_state
from kombu.asynchronous.hub import Hub

from executors import ExecutorError
from ledger import Attention, Ledger, LedgerError
from routing import INGEST
from tasks import (
    drain,
    facts,
    hubs,
    ingest,
    ledger_id,
    messages,
    naming,
    pinning,
    redis_server,
    signing,
    transport,
    wiring,
    worker_events,
)
from tasks.attention import AttentionWatch
from tasks.consumer_watch import ConsumerWatch
from tasks.engine_host import EngineHost
from tasks.errors import HoneyflowError, describe
from tasks.gate import Gate
from tasks.issuing import Issuing
from tasks.keeper import Keeper
from tasks.lane import Lane
from tasks.leaving import FAILED, Leaving, open_session, send_again
from tasks.messages import INFER
from tasks.reconcile import Reconciler
from tasks.redis_check import require_safe
from tasks.scribe import Scribe
from tasks.slots import Slot
from tasks.stream import EventWriter
from tasks.vitals import Vitals

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
    ledger: Ledger | None = None
    leaving: Leaving | None = None

    def on_start(self) -> None:
        """Start everything; what fails says why, leaves nothing running, and exits with 1."""
        self.settings = wiring.settings()
        self.pin = pinning.current()
        self.consuming = True
        self.closed = False
        self.lane = Lane(
            threads=LANE_THREADS,
            most=LANE_BACKLOG,
            on_done=self._wake_hub,
            # Its queue is left alone while the lane is full; jobs of ours go on.
            on_full=lambda full: transport.pause((INGEST,) if full else ()),
        )
        self._undo: list[Any] = []
        try:
            self._start_services()
        except (HoneyflowError, ExecutorError, LedgerError) as error:
            told = describe(error)
            logger.critical("%s [%s] %s", told["message"], told["code"], told["suggested_action"])
            if self.ledger is not None:
                self.note_event("start_failed", told)
            if self.leaving is not None:
                self.leaving.last_state = FAILED
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
        self.ledger = self.client.ledger
        ledger_id.publish(settings, self.client.ledger)
        self.scribe = Scribe(ledger=self.client.ledger)
        self.scribe.start()
        self._undo.append(self.scribe.stop)
        self.vitals = Vitals(
            settings=settings, pin=self.pin, worker=self.worker_name, note=self.note_event
        )
        self.vitals.start()
        self._undo.append(self.vitals.stop)
        self.keeper = Keeper(
            ledger=self.client.ledger,
            worker=self.worker_name,
            node=self.pin.node,
            timing=settings.timing,
            on_lost=self._session_lost,
            on_freed=functools.partial(send_again, self.client),
            on_replaced=self._replaced,
            facts=self._facts,
            on_beat=self.vitals.sent,
        )
        self._open_session()
        self.keeper.start()
        self._undo.append(self.keeper.stop)
        if self.pin.engine is not None:
            self._start_engine()
        self.reconciler = Reconciler(client=self.client, keeper=self.keeper, timing=settings.timing)
        self.reconciler.start()
        self._undo.append(self.reconciler.stop)
        self._start_gate()
        self._start_watches()
        self.vitals.say_started()
        self.keeper.tell()

    def _start_gate(self) -> None:
        self.gate = Gate(
            ledger=self.client.ledger,
            worker=self.worker_name,
            queues=self.pin.queues,
            keys=signing.load(self.settings.message_keys),
        )
        self.gate.start()
        self._undo.append(self.gate.stop)
        transport.set_gate(self.gate)

    def _start_watches(self) -> None:
        """Look at what this worker is told, and whether it still takes work."""
        self.attention = AttentionWatch(
            client=self.client,
            keeper=self.keeper,
            on_seen=self._attend,
            on_drain=self._drain,
            on_stop=hubs.ask_to_stop,
        )
        self.attention.start()
        self._undo.append(self.attention.stop)
        self.consumer_watch = ConsumerWatch(
            settings=self.settings,
            queues=self.pin.queues,
            has_room=lambda: (
                self.consuming
                and not self.lane.full
                and self.num_processes > len(worker_state.reserved_requests)
            ),
            reconnect=self._reconnect,
        )
        self.consumer_watch.start()
        self._undo.append(self.consumer_watch.stop)

    def _open_session(self) -> None:
        open_session(self.client, self.keeper)
        self.leaving = Leaving(
            client=self.client,
            keeper=self.keeper,
            note=self.note_event,
            wake=self._wake_hub,
            look=self.vitals.look_again,
            patience_s=self.settings.timing.stall_exit_s,
        )
        self._undo.append(self.leaving.leave)
        self.keeper.tell()

    def _start_engine(self) -> None:
        assert self.pin.engine is not None
        self._undo.append(wiring.tracer().stop)
        self.issuing = Issuing.start(
            settings=self.settings,
            ledger=self.client.ledger,
            worker=self.worker_name,
            note_event=self.note_event,
        )
        self._undo.append(self.issuing.stop)
        writer = EventWriter(ledger_id.connect(self.settings))
        writer.start()
        self._undo.append(writer.stop)
        host = EngineHost(
            config=self.pin.engine,
            client=self.client,
            scribe=self.scribe,
            keeper=self.keeper,
            writer=writer,
            issuer=self.issuing.issuer,
            queues=self.pin.queues,
            on_engine_lost=self._engine_lost,
            on_flawed=self._flawed,
            on_free=self._wake_hub,
            has_backlog=transport.has_backlog,
            tokens=self.vitals.tokens,
        )
        self.host = host
        with self.vitals.loading(self.keeper.tell):
            host.start(facts.log_progress)
        self._undo.append(host.stop)
        logger.info("%s", facts.of_engine(host))

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
        self.consumer_watch.took()
        if not self.consuming:
            # Redis had popped it for us when we were told to drain.
            accept_callback.__self__.reject(requeue=True)
            return worker_state.task_ready(accept_callback.__self__)
        if args[0] != INFER:
            return self.lane.submit(apply_target, target, args, kwargs, callback, accept_callback)
        request = accept_callback.__self__
        if messages.HEADER not in request.request_dict:
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
        if self.closed or self.keeper.late:
            return 0
        in_hand = len(worker_state.reserved_requests)
        if not self.consuming:
            # Drained, it reads what Redis has popped for it, lest that stays between the two.
            return in_hand + 1
        if self.host is None:
            return in_hand + max(0, LANE_BACKLOG - self.lane.open)
        # Ordinary tasks may also come through a model's queue, which cannot be left alone.
        return in_hand + (min(self.host.room, 512) if self.lane.open < 2 * LANE_BACKLOG else 0)

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
        self.closed = True
        if self.leaving is not None:
            self.keeper.nudge()

    def _attend(self, seen: Attention) -> None:
        if self.host is not None:
            self.host.attend(seen)
            self.issuing.sealer.ask(seen.seal)

    def _drain(self, drain: bool) -> None:  # noqa: FBT001 - a flag's new value
        """Take nothing more, and finish what runs; or go on as before."""
        if self.closed or self.consuming is not drain:
            return
        logger.warning("told to %s", "drain" if drain else "go on")
        self.consuming = not drain
        self.keeper.nudge()
        transport.set_drained(self.pin.queues if drain else ())
        if drain and self.host is not None:
            self.host.return_unclaimed()
        self._wake_hub()

    def _reconnect(self, reason: str) -> None:
        """Begin again with the broker, as after a lost connection; what runs is left alone."""
        logger.error("%s; connecting to the broker again", reason)
        self.note_event("consumer_restarted", {"reason": reason})
        hubs.lose_connection(self.hub)

    def note_event(self, kind: str, details: Mapping[str, Any]) -> None:
        """Write an event of this worker for whoever watches."""
        worker_events.note(self.client.ledger, self.worker_name, kind, details)

    def on_stop(self) -> None:
        """Drain within the grace time, hand back the rest, stop the engine. Idempotent."""
        self.consuming = False
        self.closed = True
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
        self._end("engine_lost", reason, check="engine")

    def _replaced(self, reason: str) -> None:
        logger.critical("another worker has this one's name: %s", reason)
        self._end("worker_replaced", reason, check="heartbeat")

    def _end(self, event: str, reason: str, *, check: str) -> None:
        """Stop consuming, hand the jobs back with the session, end with exit code 1."""
        self.consuming = False
        self.closed = True
        assert self.leaving is not None
        self.leaving.give_up(event, reason, check=check)

    def _flawed(self, message: Any, reason: str, detail: str) -> None:
        self.gate.keep_message(message, reason, detail)

    def _session_lost(self) -> None:
        if self.host is not None:
            self.host.stop_all("lost")

    def _wake_hub(self) -> None:
        hubs.wake(self.hub)

    @property
    def worker_name(self) -> str:
        """The worker's id: Celery's node name, from `-n` or from the GPU and the node."""
        return naming.worker_name()

    def _facts(self) -> tuple[str, Mapping[str, Any]]:
        return self.vitals.tell(self.host, consuming=self.consuming, closed=self.closed)

    def _get_info(self) -> dict[str, Any]:
        info: dict[str, Any] = {**super()._get_info(), "engine": None}  # type: ignore[misc]
        return info if self.host is None else {**info, **facts.of_stats(self.pin, self.host)}
