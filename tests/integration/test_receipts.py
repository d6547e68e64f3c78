"""Receipts from end to end: real workers, beat and maintenance, and what strangers get."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ledger import Ledger, batches, bodies, log_entries, logs, uploads
from ledger.uploads import UploadState
from proofs import parse_report, salted_digest
from proofs.checkpoint import log_vkey, witness_vkey
from proofs.keys import PrivateKey, PublicKey
from proofs.report import salt_of
from tasks import exporting
from tasks.audit import audit
from tests.agent import running_agent
from tests.chaos.harness import Cluster
from tests.fake_kubo import FakeKubo, fake_kubo
from tests.stack import BIN, wait_for
from tests.witness import WitnessProcess

ANSWERS = {"rules": [{"answers": [{"text": "moderate"}]}]}


def ledger_of(place: Cluster) -> Ledger:
    """The place's ledger."""
    return place.client.ledger


def sealed(place: Cluster) -> int:
    """How many leaves all logs have under a checkpoint."""
    with ledger_of(place).read() as tx:
        return sum(log.sealed_size for log in logs.list(tx))


def summary(place: Cluster, job_id: str) -> str:
    """What verification says of a job's receipt."""
    job = place.job(job_id)
    with ledger_of(place).read() as tx:
        return exporting.verify(exporting.files(tx, job, report=True)).summary


def command(place: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `honeyflow` in a place."""
    environ = {**os.environ, "HONEYFLOW_CONFIG": str(place.home / "honeyflow.toml")}
    return subprocess.run(
        [str(BIN / "honeyflow"), *words], env=environ, capture_output=True, text=True, timeout=60
    )


def test_every_job_is_proved_when_its_worker_has_ended(place: Cluster, tmp_path: Path) -> None:
    """Signed at the commit, logged at the latest when the worker is drained."""
    place.script(ANSWERS)
    worker = place.start_worker()
    ids = place.submit(5)
    place.wait_all(ids)
    assert "signed, not yet logged" in summary(place, ids[0])
    told = command(place, "receipts", "seal", worker.name)
    assert 0 == told.returncode, told.stderr
    wait_for(lambda: sealed(place) == 5)
    more = place.submit(2)
    biased = {"model": "fake-a", "prompt": "x", "logit_bias": {"17": 1.5}}
    more.append(place.client.submit(biased).job_id)
    place.wait_all(more)
    assert 0 == worker.stop()
    assert 8 == sealed(place)
    for job_id in (*ids, *more):
        assert "verified: answered by the model, logged as leaf" in summary(place, job_id)
    told = command(place, "receipts", "audit")
    assert "8 leaves in 2 batches hold" in told.stdout, told.stderr
    exported = tmp_path / "exported"
    told = command(place, "receipts", "export", ids[0], "-o", str(exported), "--report")
    assert 0 == told.returncode, told.stderr
    offline = subprocess.run(
        [
            *(sys.executable, "-m", "proofs", "verify", "receipt.json"),
            *("--proof", "receipt.tlog-proof", "--allowed-signers", "allowed_signers"),
            *("--report", "report.json"),
        ],
        cwd=exported,
        capture_output=True,
        text=True,
    )
    assert 0 == offline.returncode, offline.stdout
    assert "logged as leaf" in offline.stdout


def test_a_killed_worker_goes_on_with_its_log(place: Cluster) -> None:
    """With the receipts that it had signed and not sealed."""
    place.script(ANSWERS)
    worker = place.start_worker(name="bee")
    ids = place.submit(3)
    place.wait_all(ids)
    worker.kill_group()
    again = place.start_worker(name="bee")
    ids += place.submit(2)
    place.wait_all(ids)
    assert 0 == again.stop()
    with ledger_of(place).read() as tx:
        (log,) = logs.list(tx)
        (batch,) = batches.sealed(tx, log.number)
    assert (log.sealed_size, batch.count) == (5, 5)
    assert 5 == audit(ledger_of(place), log, published=place.home / "data" / "receipts").receipts


def test_two_workers_keep_two_logs(place: Cluster) -> None:
    """Each under a key of its own."""
    place.script(ANSWERS)
    first, second = place.start_workers(2)
    place.wait_all(place.submit(20))
    assert [0, 0] == [first.stop(), second.stop()]
    with ledger_of(place).read() as tx:
        found = logs.list(tx)
    assert 2 == len({log.key for log in found}) == len({log.origin for log in found})
    assert 20 == sum(log.sealed_size for log in found)


def test_what_is_sensitive_cannot_be_guessed_from_its_receipt(place: Cluster) -> None:
    """Its hashes are salted, and still verify for whoever has the report."""
    place.script(ANSWERS)
    worker = place.start_worker()
    asked = {"model": "fake-a", "prompt": "L4-L5"}
    plain, secret, again = (
        place.client.submit({**asked, **more}).job_id
        for more in ({}, {"sensitive": True}, {"sensitive": True})
    )
    place.wait_all([plain, secret, again])
    worker.stop()
    hashes = []
    for job_id in (plain, secret, again):
        with ledger_of(place).read() as tx:
            given = exporting.files(tx, place.job(job_id), report=True)
        receipt = json.loads(given["receipt.json"])
        hashes.append((receipt["input_hash"], receipt["output_hash"]))
        salted = salt_of(parse_report(given["report.json"])) is not None
        assert salted is (job_id != plain)
        assert "logged as leaf" in summary(place, job_id)
    assert 6 == len({digest for pair in hashes for digest in pair})


def test_a_correction_is_salted_logged_and_erased_with_its_job(
    place: Cluster, tmp_path: Path
) -> None:
    """What a person wrote is as guessable as what the model did."""
    place.script(ANSWERS)
    worker = place.start_worker()
    asked = {"model": "fake-a", "prompt": "L4-L5", "sensitive": True}
    job_id = place.client.submit(asked).job_id
    place.wait_all([job_id])
    text = tmp_path / "corrected.txt"
    text.write_bytes(b"severe")
    words = ("receipts", "correct", job_id, "--verdict", "corrected")
    assert 1 == command(place, *words).returncode
    told = command(place, *words, "--output", str(text))
    assert 0 == told.returncode, told.stderr
    assert 0 == worker.stop()
    assert "answered by the model, corrected by a person, logged as leaf" in summary(place, job_id)
    with ledger_of(place).read() as tx:
        (entry,) = log_entries.of_job(tx, job_id)
        given = exporting.files(tx, place.job(job_id), report=True)
        assert b"severe" == bodies.get(tx, entry.body_digest or "")
    salt = salt_of(parse_report(given["report.json"]))
    assert salt is not None
    assert json.loads(entry.data)["output_hash"] == salted_digest(b"severe", salt)
    told = command(place, "job", "purge", job_id)
    assert 0 == told.returncode, told.stderr
    with ledger_of(place).read() as tx:
        (entry,) = log_entries.of_job(tx, job_id)
        assert entry.body_digest is None
        assert bodies.get(tx, bodies.digest_of(b"severe")) is None
    assert "corrected by a person" in summary(place, job_id)


def test_beat_seals_witnesses_sign_and_ipfs_stores(tmp_path: Path) -> None:
    """All that beat drives: a real beat, a real witness, and a node that keeps files."""
    with fake_kubo() as node:
        config = {
            "ipfs_api_url": f'"{node.url}"',
            "ipfs_plaintext": "true",
            "sealing": "{ batch = 4, after_s = 1.0 }",
        }
        place = Cluster(tmp_path / "place", config=config)
        place.settled = True
        try:
            _drive(place, node)
        finally:
            place.close()


def _drive(place: Cluster, node: FakeKubo) -> None:
    place.script(ANSWERS)
    place.start_worker()
    ids = place.submit(6)
    place.wait_all(ids)
    with ledger_of(place).read() as tx:
        (log,) = logs.list(tx)
    vkey = log_vkey(log.origin, PublicKey.from_openssh(log.key)).text
    file = place.home / "honeyflow.toml"
    friend = WitnessProcess(place.home, [], "--log", vkey)
    beat = None
    try:
        friend.wait_ready()
        told = friend.vkey.text
        table = f'[witnesses.friend]\nurl = "{friend.url}"\nvkey = "{told}"\n'
        file.write_text(file.read_text() + table)
        place.start_worker(options=["--maintenance"])
        beat = subprocess.Popen(
            [str(BIN / "celery"), "-A", "tasks", "beat", "--pidfile="],
            env={**os.environ, "HONEYFLOW_CONFIG": str(file)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: sealed(place) == 6, 30)
        # The other two have longer periods.
        for task in ("tasks.collect_cosignatures", "tasks.upload_to_ipfs"):
            place.client.app.send_task(task, queue="control")
        wait_for(lambda: _cosigned(place) == 6 and _stored(place) >= 8, 30)
    finally:
        if beat is not None:
            beat.terminate()
            beat.wait(20)
        friend.kill()
    with ledger_of(place).read() as tx:
        given = exporting.files(tx, place.job(ids[0]), report=True)
    cid = json.loads(given["receipt.json"])["ipfs_cid"]
    assert node.files[cid] == given["report.json"]
    policy = f"witness friend {told}\nquorum friend\n".encode()
    assert "logged as leaf" in exporting.verify(given, policy=policy).summary
    assert "refuted in step 13" in exporting.verify(given, policy=_nobody()).summary


def _cosigned(place: Cluster) -> int:
    with ledger_of(place).read() as tx:
        return max(log_entries.cosigned(tx, 1).values(), default=0)


def _stored(place: Cluster) -> int:
    with ledger_of(place).read() as tx:
        return uploads.counts(tx)[UploadState.DONE]


def _nobody() -> bytes:
    """A policy that asks for a witness who never signs."""
    vkey = witness_vkey("nobody.example", PrivateKey.generate().public_key).text
    return f"witness nobody {vkey}\nquorum nobody\n".encode()


def test_a_key_that_only_an_agent_holds_signs_everything(tmp_path: Path) -> None:
    """Its private half never lies on this worker's disk; an agent that hangs stops nobody else."""
    key = tmp_path / "held"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    with running_agent(key) as agent:
        place = Cluster(tmp_path / "place", config={"ssh_agent_socket": f'"{agent}"'})
        place.settled = True
        try:
            place.script(ANSWERS)
            name = "bee@testnode"
            told = command(place, "keys", "bee", "new", "--worker", name, "--from", f"{key}.pub")
            assert 0 == told.returncode, told.stderr
            worker = place.start_worker(name="bee")
            ids = place.submit(5)
            place.wait_all(ids)
            assert 0 == worker.stop()
            assert not (place.home / "data" / "keys" / name / "bee_key").exists()
            assert all("logged as leaf" in summary(place, job_id) for job_id in ids)
        finally:
            place.close()
