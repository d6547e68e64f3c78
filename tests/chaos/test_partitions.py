"""The network between workers and broker is cut, half open or slow; leases and jobs are kept."""

from __future__ import annotations

import time

import pytest

from ledger import jobs
from tests.chaos import network
from tests.chaos.harness import Cluster, NewCluster
from tests.chaos.proxy import Proxy, Way
from tests.chaos.reporting import Report, fault
from tests.chaos.scale import scaled
from tests.chaos.workers import ChaosWorker
from tests.stack import wait_for

LEASE_S = 2.0
HEALED_S = 20.0
HALF_OPEN_S = 25.0
SCRIPT = {
    "rules": [
        {"marker": "LONG", "answers": [{"text": "word " * 10}], "token_s": 0.3},
        {"marker": "LASTING", "answers": [{"text": "word " * scaled(27, 135)}], "token_s": 0.3},
        {"answers": [{"text": "yes"}], "first_token_s": 0.1},
    ]
}


def behind_proxy(cluster: NewCluster, **timing: float) -> tuple[Cluster, Proxy, ChaosWorker]:
    """A home whose one worker reaches Redis through a proxy."""
    home = cluster(timing={"lease_s": LEASE_S, **timing})
    home.script(SCRIPT)
    proxy = home.proxy()
    return home, proxy, home.start_worker(via=proxy)


def commits(home: Cluster, ids: list[str]) -> set[int]:
    """How often these jobs were committed."""
    return {[move.target for move in home.changes(one)].count("succeeded") for one in ids}


@pytest.mark.chaos_slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "ways",
    [("up", "down"), pytest.param(("up",), marks=pytest.mark.chaos_sample), ("down",)],
    ids="-".join,
)
@fault("T25", "broker cut off for 0.5, 1, 3 leases", required="<= 20 s, twice 0, once claimed")
def test_jobs_outlive_a_partition(
    cluster: NewCluster, report: Report, ways: tuple[Way, ...]
) -> None:
    """What ran is committed meanwhile, and nothing runs a second time when the network heals."""
    home, proxy, worker = behind_proxy(cluster)
    healed: list[float] = []
    every: list[str] = []
    for leases in scaled((3.0,), (0.5, 1.0, 3.0, 17.5)) if len(ways) == 1 else (0.5, 1.0, 3.0):
        running = home.submit(1, prompt="LONG", policy="fixed:9")
        lasting = home.submit(1, prompt="LASTING", policy="fixed:9") if leases >= 3.0 else []
        held = [*running, *lasting]
        wait_for(lambda held=held: {"running"} == {home.state(one) for one in held})
        before = home.submit(10)

        proxy.hold(*ways)
        cut = time.monotonic()
        during = home.submit(10)
        until = cut + leases * LEASE_S
        if leases * LEASE_S > 3.0:
            # The ledger is in reach: what runs is done while the broker is not.
            home.wait_all(running, timeout=10)
        wait_for(lambda until=until: time.monotonic() >= until, leases * LEASE_S + 1)
        proxy.heal()
        back = time.monotonic()
        home.wait_all([*running, *before, *during], timeout=60)
        healed.append(time.monotonic() - back)
        home.wait_all(lasting, timeout=60)

        every += [*held, *before, *during]
        assert {1} == {home.job(one).fence for one in held}

    assert worker.alive
    most = max(commits(home, every))
    report(
        f"{max(healed):.1f} s after healing, lost {home.lost(every)}, committed {most} x at most"
    )
    assert {1} == commits(home, every)
    assert max(healed) <= HEALED_S


@pytest.mark.chaos_slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ways", [("up", "down"), ("up",), ("down",)], ids="-".join)
@fault("T25", "cable cut between two namespaces, 35 s", required="<= 20 s after healing, twice 0")
def test_jobs_outlive_lost_packets(
    cluster: NewCluster, report: Report, ways: tuple[Way, ...]
) -> None:
    """Real packets are lost, for longer than every timeout; the same worker goes on."""
    with network.cable() as cable:
        home = cluster(unix_socket=True, redis=cable.redis_options, redis_inside=cable.hub)
        home.script(SCRIPT)
        # It asks for no password: nobody but the two namespaces reaches it.
        reach = {"HONEYFLOW_REDIS_URL": cable.url, "HONEYFLOW_UNSAFE_REDIS": "1"}
        worker = home.start_worker(inside=cable.shore, env=reach)
        running = home.submit(1, prompt="LONG", policy="fixed:9")
        held = [*running, *home.submit(1, prompt="LASTING", policy="fixed:9")]
        wait_for(lambda: {"running"} == {home.state(one) for one in held})
        before = home.submit(10)

        cable.cut(*ways)
        until = time.monotonic() + scaled(6.0, 35.0)
        during = home.submit(10)
        home.wait_all(running, timeout=10)
        wait_for(lambda: time.monotonic() >= until, 40)
        cable.mend()
        back = time.monotonic()
        home.wait_all([*running, *before, *during], timeout=90)
        healed = time.monotonic() - back
        every = [*held, *before, *during]
        home.wait_all(every, timeout=60)

        assert worker.alive
        assert {1} == {home.job(one).fence for one in held}
        most = max(commits(home, every))
        report(f"{healed:.1f} s after healing, lost {home.lost(every)}, committed {most} x at most")
        assert {1} == commits(home, every)
        assert healed <= HEALED_S
        home.settle()


@pytest.mark.chaos_slow
@pytest.mark.parametrize("ways", [("up", "down"), ("down",)], ids="-".join)
@fault("T26", "half-open: the broker vanishes without RST", required="detected <= 25 s")
def test_a_half_open_connection_is_noticed(
    cluster: NewCluster, report: Report, ways: tuple[Way, ...]
) -> None:
    """Nobody says that the connection is dead; the consumer finds out and takes work again."""
    home, proxy, worker = behind_proxy(cluster)
    home.wait_all(home.submit())

    proxy.swallow(*ways)
    proxy.heal()
    dead = time.monotonic()
    ids = home.submit(3)
    home.wait_all(ids, timeout=60)
    taken = time.monotonic() - dead

    assert worker.alive
    report(f"{taken:.1f} s, lost {home.lost(ids)}")
    assert taken <= HALF_OPEN_S


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@fault("T26", "a consumer that takes nothing", required="<= stuck_consumer_s + 8 s")
def test_the_watch_wakes_a_consumer_that_takes_nothing(cluster: NewCluster, report: Report) -> None:
    """Its one connection that waits for work is dead, and all others answer."""
    patience_s = 2.0
    home, proxy, worker = behind_proxy(cluster, stuck_consumer_s=patience_s)
    (running,) = home.submit(prompt="LONG", policy="fixed:9")
    home.wait_state(running, "running")

    _deafen(home, proxy)
    dead = time.monotonic()
    ids = home.submit(3)
    home.wait_all(ids, timeout=30)
    taken = time.monotonic() - dead

    home.wait_all([running])
    assert worker.alive
    assert 1 == home.job(running).fence
    assert "connecting to the broker again" in worker.text()
    report(f"{taken:.1f} s with stuck_consumer_s {patience_s:g}")
    assert patience_s <= taken <= patience_s + 8.0


@pytest.mark.chaos_slow
@pytest.mark.timeout(600)
@fault("T36", "broker slower by 200 ms per command", required="no lease lost, failed 0, degrades")
def test_a_slow_broker_slows_and_nothing_else(cluster: NewCluster, report: Report) -> None:
    """Leases are renewed in the ledger, so that they do not depend on the broker's pace."""
    home, proxy, worker = behind_proxy(cluster)
    number = scaled(20, 100)
    quick = _took(home, number)

    proxy.delay(0.2, "up")
    slow = _took(home, number)
    ids = home.submit(3, client=home.client_via(proxy), together=False)
    home.wait_all(ids)

    assert worker.alive
    with home.client.ledger.read() as tx:
        rows = jobs.list(tx, limit=10_000)
    failed = sum(str(row.state) != "succeeded" for row in rows)
    lost = worker.text().count("was lost; its jobs belong to others now")
    report(
        f"{number / quick:.0f} jobs/s, slow {number / slow:.1f} jobs/s; failed {failed}, "
        f"leases lost {lost}"
    )
    assert {("succeeded", 1)} == {(str(row.state), row.fence) for row in rows}
    assert 0 == lost
    assert slow > quick


def _deafen(home: Cluster, proxy: Proxy) -> None:
    """Cut off, without a word, only the connection on which the worker waits for messages."""

    def waiting() -> set[int]:
        clients = home.redis().client_list()
        return {int(one["addr"].rsplit(":", 1)[1]) for one in clients if one["cmd"] == "brpop"}

    ports = wait_for(waiting)
    for link in tuple(proxy._links):
        if link.far is not None and link.far.get_extra_info("sockname")[1] in ports:
            link.dead.update(("up", "down"))


def _took(home: Cluster, number: int) -> float:
    """Seconds until that many jobs are done."""
    began = time.monotonic()
    home.wait_all(home.submit(number), timeout=180)
    return time.monotonic() - began
