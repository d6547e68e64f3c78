"""The chaos harness: one home per test, with real processes that are harmed while they work.

Read this first, then `test_workers.py` for how tests look. A test asks for `cluster`, which makes
homes, and says which fault of the catalogue (spec/reliability.md, 4) it injects:

    @fault("T01", "kill -9 of a worker mid-job", required="<= 4 s, lost 0")
    def test_a_killed_workers_job_goes_on(cluster: NewCluster, report: Report) -> None:
        home = cluster()                      # Redis with AOF, a SQLite ledger, a client; no worker
        home.script({"rules": [{"answers": [{"text": "yes"}], "first_token_s": 1.0}]})
        first, second = home.start_workers(2)
        ids = home.submit(3)
        home.wait_state(ids[0], "running")

        home.worker_of(ids[0]).kill_group()   # the fault

        home.wait_all(ids, timeout=20)
        report(f"lost {home.lost(ids)}")

When the test function has returned, `settle` heals every fault, waits until nothing is left to do,
drains the workers with SIGTERM, and writes the history (`history.py`); `checker.py` then checks the
six invariants on it, and every violation fails the test. Nothing has to be asked for. Whatever
happens, all processes of the home are killed by their groups at the end.

What `cluster(...)` takes: `timing` (seconds over `tests.stack.TIMING`), `redis` (options of
redis.conf, `appendonly="no"`), `redis_dir` (a tmpfs), `redis_inside` (a command that runs it),
`unix_socket=True`, `ledger_url` (else SQLite; the fixture `postgres_url` makes one), and `config`
(lines of honeyflow.toml, as `unsafe_redis="true"`).

What a home has:

- Redis: `broker` (`broker.Redis`: `kill`, `start`, `stop`, `pid`), and `redis()`, a client of it.
- Workers: `start_worker(name=, model=, options=, env=, inside=, via=, hooked=, ready=)`,
  `start_workers(n)`, and `supervise(...)`, which starts one again as systemd would and counts. Each
  can `freeze`, `thaw`, `kill_group`, `kill`, `signal` and `stop`.
- Clients: `submit(n, prompt=…, policy=…, **options)`, `client` itself, `client_via(proxy)`, and
  `infer(prompt)`, a signature for chains, groups and chords; their results work as ever.
- Looking: `job(id)`, `state(id)`, `changes(id)`, `running()`, `worker_of(id)`, `wait_state`,
  `wait_all`, `lost(ids)`.
- Networks: `proxy()` stands in front of Redis and is given to `start_worker(via=)` and
  `client_via`; it can `delay`, `hold`, `swallow`, `reset`, `refuse` and `heal` (`proxy.py`).
  `network.cable()` makes network namespaces and loses packets between them.
- Inside a worker: `hooked={"redis": 0.005, "ledger": 0.05, "seed": 1}` lets calls succeed and say
  that they timed out (`hook.py`; `hook.execute_and_timeout` does it to clients). A worker asks
  Redis a few dozen times before it consumes: at a rate of 0.05 it connects about ten times until it
  does, and again later on, so give it time. `hooked={"trace": True}` fills `engine_calls()`.
- The system: `faults.tmpfs`, `faults.fill`, and `faults.clock`, an environment for `env=`.

Jobs submitted past `submit` are only checked for what the ledger says of them: use `tell` to write
down what their client was told. A worker that ends by itself with another code than 0 fails its
test, unless the test expects it: it asks for that code with `wait_exit`, it has given the engine a
script over which workers end, it has a worker changed (`hooked`, `deeds`), or it says so with
`may_end`.

Keep a quick test under 8 s, or mark it `chaos_slow` (left out of
`make test`), and `chaos_sample` as well where CI shall run it. `THOROUGH` (`conftest.py`) says that
`make chaos` is at work: take the catalogue's numbers then, and small ones else.
"""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis
from celery.canvas import Signature

from ledger import Change, Job, jobs
from tasks import settings
from tasks.client import Client
from tests.chaos import apps, ending, history, hook, processes
from tests.chaos.broker import Redis
from tests.chaos.history import History
from tests.chaos.proxy import Proxy
from tests.chaos.workers import ChaosWorker, Supervised
from tests.stack import wait_for, write_config, write_script

NewCluster = Callable[..., "Cluster"]
MODEL = "fake-a"
YES = {"rules": [{"answers": [{"text": "yes"}]}]}
_ENDS = {"die": 1, "hang": 1, "hog": -signal.SIGABRT, "block": 1}
"""With which code a worker ends over what its engine or it itself does."""


class AskedWorker(ChaosWorker):
    """A worker that knows whether its test has asked how it ended."""

    asked = False

    def wait_exit(self, timeout: float = 30.0) -> int:
        """Wait until it has ended; gives its exit code, for the test to judge."""
        self.asked = True
        return super().wait_exit(timeout)

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, and wait; after that there is one good exit code, whoever asks."""
        code = super().stop(timeout)
        self.asked = False
        return code


class Cluster:
    """One home: its Redis, its ledger, its workers and its clients."""

    def __init__(
        self,
        home: Path,
        *,
        timing: Mapping[str, float] | None = None,
        redis: Mapping[str, str] | None = None,
        redis_dir: Path | None = None,
        redis_inside: Sequence[str] = (),
        unix_socket: bool = False,
        ledger_url: str | None = None,
        config: Mapping[str, str] | None = None,
    ) -> None:
        self.home = home
        self._closing = ExitStack()
        (home / "tmp").mkdir(parents=True)
        self.marks = processes.marks(home)
        self.broker = Redis(
            redis_dir or home / "redis",
            unix_socket=home / "redis.sock" if unix_socket else None,
            inside=redis_inside,
            env=self.marks,
            **(redis or {}),
        )
        self._closing.callback(self.broker.kill)
        self.broker.start()
        write_config(
            home, ledger_url=ledger_url, redis_url=f'"{self.broker.url}"', **(config or {})
        )
        self.env = {
            **self.marks,
            "HONEYFLOW_CONFIG": str(home / "honeyflow.toml"),
            "HONEYFLOW_TIMING": ",".join(f"{name}={s}" for name, s in (timing or {}).items()),
            "TMPDIR": str(home / "tmp"),
        }
        self.history = History(home / "history.jsonl")
        self.history.record_broker(self.redis())
        if redis_inside:
            self.history.note("copied", why="Redis is behind a cable")
        self.workers: list[AskedWorker] = []
        self.supervised: list[Supervised] = []
        self.proxies: list[Proxy] = []
        self._script: Mapping[str, Any] = {}
        self.client = self._connect({})
        self._closing.enter_context(apps.wired(self.client))
        self.settled = False

    # Redis

    def redis(self) -> redis.Redis:
        """A client of Redis, past every proxy; closed at the end."""
        client = self.broker.client()
        self._closing.callback(client.close)
        return client

    def proxy(self, target: int | Path | None = None) -> Proxy:
        """A proxy in front of Redis, for `start_worker(via=)` and `client_via`."""
        place = target or self.broker.unix_socket or self.broker.port
        proxy = Proxy(place)
        self.proxies.append(proxy)
        self.history.note("copied", why="there is a proxy in front of Redis")
        self._closing.callback(proxy.close)
        return proxy

    # Workers

    def script(self, script: Mapping[str, Any], *, model: str = MODEL) -> None:
        """Say how the fake engine of workers behaves that start from now on."""
        write_script(self.home, model, script)
        deeds = [str(rule.get("do")) for rule in script.get("rules", ())]
        self.may_end(*(_ENDS[deed] for deed in deeds if deed in _ENDS))
        if script.get("load", {}).get("fails"):
            self.may_end(1)

    def may_end(self, *codes: int) -> None:
        """Say that workers of this home may end by themselves with these exit codes."""
        for code in codes:
            self.history.note("expected", pid=None, code=code)

    def start_worker(
        self,
        *,
        name: str | None = None,
        model: str = MODEL,
        options: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
        via: Proxy | None = None,
        hooked: Mapping[str, Any] | None = None,
        ready: bool = True,
    ) -> ChaosWorker:
        """Start `celery -A tasks worker`; `options` in place of its device and model.

        `via` is the proxy through which it reaches Redis, `hooked` what `hook.enable` takes.
        """
        worker = AskedWorker(
            self.home,
            ["--device", "cpu", "--model", model] if options is None else options,
            {**self.env, **self._changed(via=via, hooked=hooked, env=env), **(env or {})},
            name=f"{name or f'w{len(self.workers)}'}@testnode",
            inside=inside,
        )
        self.workers.append(worker)
        return worker.wait_ready() if ready else worker

    def start_workers(self, number: int, **options: Any) -> list[ChaosWorker]:
        """Start several at once."""
        started = [self.start_worker(ready=False, **options) for _ in range(number)]
        for worker in started:
            worker.wait_ready()
        return started

    def supervise(self, *, ready: bool = True, **options: Any) -> Supervised:
        """A worker that is started again, under its name, whenever it has ended."""
        name = options.pop("name", f"s{len(self.supervised)}")
        kept = Supervised(lambda: self.start_worker(name=name, ready=False, **options))
        self.supervised.append(kept)
        if ready:
            kept.worker.wait_ready()
        return kept

    def worker_of(self, job_id: str) -> ChaosWorker:
        """The process that holds a running job."""
        return next(worker for worker in self.workers if job_id in self.held_by(worker))

    def held_by(self, worker: ChaosWorker) -> list[str]:
        """The ids of the jobs that a worker's process holds."""
        running = self.running()
        with self.client.ledger.read() as tx:
            return [
                job.id
                for job in running
                if job.session is not None and ending.pid_of(tx, job.session) == worker.pid
            ]

    def engine_calls(self) -> list[str]:
        """What workers with `hooked={"trace": True}` asked of their engines: `job.fence.sample`."""
        path = self.home / "engine.trace"
        return path.read_text().splitlines() if path.exists() else []

    def _changed(
        self,
        *,
        via: Proxy | None,
        hooked: Mapping[str, Any] | None,
        env: Mapping[str, str] | None,
    ) -> dict[str, str]:
        """The environment of a worker that is changed; what that may do to it is written down."""
        changed = {} if via is None else {"HONEYFLOW_REDIS_URL": via.url}
        if hooked is not None:
            given = dict(hooked)
            trace = self.home / "engine.trace" if given.pop("trace", False) else None
            changed |= hook.enable(log=self.home / "hook.log", trace=trace, **given)
            if given.get("redis") or given.get("ledger"):
                self.may_end(1)
                self.history.note("copied", why="calls time out that were carried out")
        # Named as in `deeds`, which builds on this module.
        deeds = (env or {}).get("HONEYFLOW_CHAOS_DEEDS", "").split(",")
        self.may_end(*(_ENDS[deed] for deed in deeds if deed in _ENDS))
        return changed

    # Clients

    def client_via(self, proxy: Proxy) -> Client:
        """One more client, which reaches Redis through a proxy."""
        return self._connect({"HONEYFLOW_REDIS_URL": proxy.url})

    def submit(
        self,
        number: int = 1,
        *,
        prompt: str = "x",
        policy: str = "fixed:1",
        model: str = MODEL,
        client: Client | None = None,
        together: bool = True,
        **options: Any,
    ) -> list[str]:
        """Submit jobs and write down what was told; gives the ids of those that were accepted.

        `together` in one transaction, else one by one; what is refused does not raise.
        """
        fields = {"model": model, "prompt": prompt, "policy": policy}
        ids = [str(uuid.uuid4()) for _ in range(number)]
        parts = [ids] if together else [[job_id] for job_id in ids]
        accepted: list[str] = []
        for part in parts:
            try:
                (client or self.client).submit_many([fields] * len(part), ids=part, **options)
            except Exception as error:
                self.tell(part, *history.answer_of(error))
            else:
                self.tell(part, history.ACCEPTED)
                accepted += part
        return accepted

    def tell(self, ids: Sequence[str], answer: str, code: str | None = None) -> None:
        """Write down what a client was told about jobs: accepted, refused or unknown."""
        self.history.told(ids, answer, code)

    def infer(self, prompt: str = "x", **fields: Any) -> Signature[Any]:
        """A signature of `tasks.infer` for this home's broker, for canvas."""
        given = {"model": MODEL, "policy": "fixed:1", "prompt": prompt, **fields}
        return self.client.app.signature("tasks.infer", kwargs=given)

    def _connect(self, env: Mapping[str, str]) -> Client:
        client = apps.client_for(settings.read({**self.env, **env}))
        self._closing.callback(apps.close, client)
        return client

    # Looking

    def job(self, job_id: str) -> Job:
        """A job's row."""
        return self.client.job(job_id)

    def state(self, job_id: str) -> str:
        """A job's state."""
        return str(self.job(job_id).state)

    def changes(self, job_id: str) -> list[Change]:
        """A job's moves, in order."""
        with self.client.ledger.read() as tx:
            return jobs.history(tx, job_id)

    def running(self) -> list[Job]:
        """The jobs that somebody holds."""
        with self.client.ledger.read() as tx:
            return jobs.list(tx, states=["running"], limit=100_000)

    def wait_state(self, job_id: str, state: str, timeout: float = 20.0) -> None:
        """Wait until a job is in a state."""
        wait_for(lambda: self.state(job_id) == state, timeout, self.tail)

    def wait_all(self, ids: Sequence[str], timeout: float = 60.0) -> list[Job]:
        """Wait until all of these jobs have ended; gives their rows."""

        def ended() -> list[Job] | None:
            with self.client.ledger.read() as tx:
                rows = [row for part in _batches(ids) for row in jobs.ended(tx, part)]
            return rows if len(rows) == len(ids) else None

        found: list[Job] = wait_for(ended, timeout, self.tail) if ids else []
        return found

    def lost(self, ids: Sequence[str]) -> int:
        """How many of these jobs have not ended, or are not there."""
        with self.client.ledger.read() as tx:
            return len(ids) - sum(len(jobs.ended(tx, part)) for part in _batches(ids))

    def tail(self) -> str:
        """The ends of the workers' logs."""
        return "\n".join(f"--- {one.name}\n{one.text()[-3000:]}" for one in self.workers)

    # The end

    def settle(self, timeout: float = 30.0) -> Path:
        """Heal, wait until nothing is left to do, drain, and write the history; gives its file."""
        if not self.settled:
            self.settled = True
            ending.settle(self, timeout=timeout)
            for worker in self.workers:
                if worker.asked:
                    code = worker.process.poll()
                    self.history.note("expected", pid=worker.pid, code=code)
        return self.history.path

    def close(self) -> None:
        """End every process of this home; none may be left."""
        for kept in self.supervised:
            kept.stop()
        if not self.settled and self.broker.alive:
            # The test has failed: its history is as it was then.
            ending.record(self)
        with self._closing:
            left = processes.end_all(self.home)
            for worker in self.workers:
                worker.kill()
        assert [] == left


def _batches(ids: Sequence[str], size: int = 500) -> list[Sequence[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def sleep_until(moment: float) -> None:
    """Wait for a moment of `time.monotonic`."""
    time.sleep(max(0.0, moment - time.monotonic()))
