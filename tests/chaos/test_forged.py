"""Forged, replayed and outdated messages where message keys are configured: none is executed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from ledger import jobs, quarantine
from tasks import signing, transport
from tasks.signing import Keys
from tests.chaos import messages
from tests.chaos.harness import Cluster, NewCluster
from tests.chaos.history import ACCEPTED
from tests.chaos.messages import Envelope
from tests.chaos.reporting import Report, fault
from tests.chaos.scale import scaled
from tests.stack import wait_for

QUEUE = "model.fake-a"
TASKS = """
from pathlib import Path
from tasks import app

@app.task(name="foreign.safe")
def safe():
    Path("safe").touch()

@app.task(name="foreign.danger")
def danger():
    Path("danger").touch()
"""
OPTIONS = ("--device", "cpu", "--model", "fake-a", "-I", "foreign")


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """Makes a new key and an old one; this process signs with the old one."""

    def make() -> list[Path]:
        files = [tmp_path / "new.key", tmp_path / "old.key"]
        for file in files:
            file.write_text(secrets.token_hex(32))
            file.chmod(0o600)
        old = signing.load(files[1:])
        monkeypatch.setattr(transport, "_keys", lambda: old)
        return files

    return make


def signed(keys: Keys, message: Envelope, *, queue: str = QUEUE, at: float = 0.0) -> Envelope:
    """The message under a signature of these keys, as made `at` seconds from now."""
    made = messages.bent(message, headers={signing.SIGNATURE: None})
    with mock.patch("tasks.signing.time.time", return_value=time.time() + at):
        keys.sign(queue, made)
    return made


@pytest.mark.timeout(900)
@fault("T75", "forged, replayed, expired and outdated messages, keys set", required="0 executed")
def test_nothing_forged_is_executed(
    cluster: NewCluster, report: Report, keys: Callable[[], list[Path]]
) -> None:
    """The signature tells who sent what to which queue and when; the ledger, whether it is new."""
    files = keys()
    names = ", ".join(f'"{file}"' for file in files)
    # Nothing is sent again meanwhile: whatever runs was run for one of these messages.
    home = cluster(timing={"resend_after_s": 900.0}, config={"message_keys": f"[{names}]"})
    (home.home / "foreign.py").write_text(TASKS)
    home.start_worker(options=OPTIONS, hooked={"trace": True})
    old, foreign = signing.load(files[1:]), Keys([secrets.token_bytes(32)])
    assert old is not None
    number = scaled(20, 1000)
    victims = messages.entered(home, number)
    ours = [messages.job_message(home, job) for job in victims]
    stock = messages.stock_message(home, "foreign.safe")
    bare = [messages.without(one, "headers", signing.SIGNATURE) for one in ours]
    forged: dict[str, list[Envelope]] = {
        "unsigned": bare,
        "bad": [signed(old, one) | {"body": messages.encoded("[[1], {}, {}]")} for one in bare],
        "mac": [
            messages.bent(one, headers={signing.SIGNATURE: {"v": 1, "key": "x", "at": 0, "mac": 0}})
            for one in bare
        ],
        "other key": [signed(foreign, one) for one in bare],
        "other queue": [signed(old, one, queue="model.fake-b") for one in bare],
        "other id": [
            messages.bent(signed(old, bare[0]), headers={"id": job.id}) for job in victims[1:]
        ],
        "other task": [
            messages.bent(
                signed(old, stock, queue="celery"),
                headers={"task": "foreign.danger"},
            )
        ]
        * number,
        "expired": [signed(old, one, at=-90_000.0) for one in bare],
        "ahead": [signed(old, one, at=3_600.0) for one in bare],
    }

    for kind, bad in forged.items():
        messages.put(home, "celery" if kind == "other task" else QUEUE, *bad)
    total = sum(map(len, forged.values()))
    wait_for(lambda: sum(kept(home).values()) >= total, scaled(20, 300), lambda: f"{kept(home)}")
    reasons = kept(home)
    early = home.engine_calls()

    # Outdated copies of what has been sent again since, under a valid signature.
    with home.client.ledger.write() as tx:
        again = jobs.resend(tx, [job.id for job in victims])
    messages.put(home, QUEUE, *(signed(old, one) for one in bare))
    wait_for(lambda: 0 == messages.waiting(home, QUEUE, "celery"), scaled(20, 300))
    early += home.engine_calls()
    # The good ones, and each of them replayed.
    newest = [signed(old, messages.job_message(home, job)) for job in again]
    messages.put(home, QUEUE, *newest)
    home.tell([job.id for job in victims], ACCEPTED)
    home.wait_all([job.id for job in victims])
    messages.put(home, QUEUE, *newest)
    messages.put(home, "celery", signed(old, stock, queue="celery"))
    wait_for(lambda: 0 == messages.waiting(home, QUEUE, "celery"), scaled(20, 300))
    wait_for((home.home / "safe").exists)

    report(f"{len(early)} of {total + 2 * number} executed; {reasons}")
    assert [] == early
    assert sorted(f"{job.id}.1.0" for job in victims) == sorted(home.engine_calls())
    assert not (home.home / "danger").exists()
    assert {
        "SIGNATURE_MISSING": number,
        "SIGNATURE_INVALID": total - 3 * number,
        "SIGNATURE_EXPIRED": 2 * number,
    } == reasons


@pytest.mark.chaos_slow
@pytest.mark.chaos_sample
@fault("T75", "a key is replaced while jobs run", required="both verify, then only the new one")
def test_a_key_is_rotated(
    cluster: NewCluster, report: Report, keys: Callable[[], list[Path]]
) -> None:
    """A worker that holds both takes both; one that holds the new one refuses the old one."""
    new, old = keys()
    home = cluster(timing={"resend_after_s": 60.0}, config={"message_keys": f'["{new}", "{old}"]'})
    first = home.start_worker()
    home.wait_all(by_old := home.submit(2))
    newer = signing.load([new])
    assert newer is not None
    with mock.patch.object(transport, "_keys", return_value=newer):
        home.wait_all(by_new := home.submit(2))
    file = home.home / "honeyflow.toml"
    file.write_text(file.read_text().replace(f', "{old}"]', "]"))
    first.stop()
    home.start_worker()

    late = home.submit(1)
    wait_for(lambda: kept(home) == {"SIGNATURE_INVALID": 1}, 20, home.tail)
    state = home.state(late[0])
    with home.client.ledger.write() as tx:
        again = jobs.resend(tx, late)
    messages.put(home, QUEUE, signed(newer, messages.job_message(home, again[0])))
    home.wait_all(late)

    report(f"{len(by_old)} by the old key, {len(by_new)} by the new one, then {state}")
    assert "queued" == state


def kept(home: Cluster) -> dict[str, int]:
    """How many messages came into quarantine, by reason."""
    with home.client.ledger.read() as tx:
        return quarantine.totals(tx)
