"""`honeyflow witness` as a real process over loopback: what it answers, keeps and survives."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from cli import witness_server
from proofs.checkpoint import Checkpoint
from proofs.keys import PrivateKey
from proofs.merkle import leaf_hash
from proofs.note import Note
from proofs.witness import MAX_REQUEST_BYTES, SIZE_TYPE, AddCheckpoint, read_cosignature
from tests.stack import wait_for
from tests.witness import Log, Reply, WitnessProcess

StartWitness = Callable[..., WitnessProcess]


SCALES = Log(origin="scales.example/log", key=PrivateKey.generate())
POOL = [Log(origin=f"bee{number}.example.eth/log") for number in range(24)]


@pytest.fixture
def log() -> Log:
    """A log of the test's own, which the shared witness knows."""
    return POOL.pop()


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WitnessProcess]:
    """One witness for all tests that do it no harm."""
    one = WitnessProcess(tmp_path_factory.mktemp("shared"), [*POOL, SCALES])
    try:
        yield one.wait_ready()
    finally:
        one.kill()
        print(one.text()[-4000:])


@pytest.fixture
def start_witness(tmp_path: Path) -> Iterator[StartWitness]:
    """Start witnesses on one directory; they end with the test."""
    started: list[WitnessProcess] = []

    def begin(*logs: Log, options: tuple[str, ...] = (), ready: bool = True) -> WitnessProcess:
        one = WitnessProcess(tmp_path, logs, *options)
        started.append(one)
        return one.wait_ready() if ready else one

    yield begin
    for one in started:
        one.kill()
        print(one.text()[-4000:])


def cosigned_at(witness: WitnessProcess, reply: Reply, note: Note) -> int:
    """When the witness signed; it did, with the key it printed."""
    assert reply.status == 200, reply
    return read_cosignature(reply.body, note=note, key=witness.vkey).at


def held(witness: WitnessProcess, log: Log) -> int:
    """The size that the witness holds."""
    reply = witness.ask(AddCheckpoint(old_size=60, proof=(), note=log.note(60)).to_bytes())
    assert (reply.status, reply.content_type) == (409, SIZE_TYPE)
    return int(reply.body)


def test_a_log_is_cosigned_as_it_grows(log: Log, witness: WitnessProcess) -> None:
    """The first checkpoint, a bigger one, the same again; at the time at which it is asked."""
    before = int(time.time())

    first = cosigned_at(witness, witness.ask(log.request(0, 5)), log.note(5))
    grown = cosigned_at(witness, witness.ask(log.request(5, 13)), log.note(13))
    again = cosigned_at(witness, witness.ask(log.request(13, 13)), log.note(13))

    assert before <= first <= grown <= again <= int(time.time())
    assert held(witness, log) == 13


def test_each_refusal_has_its_status(log: Log, witness: WitnessProcess) -> None:
    """Nothing of it changes what the witness holds."""
    assert witness.ask(log.request(0, 8)).status == 200
    unknown, foreign = Log(origin="other.example/log"), Log(origin=log.origin)
    torn = AddCheckpoint(old_size=8, proof=(bytes(32),), note=log.note(9)).to_bytes()
    above = AddCheckpoint(old_size=9, proof=(), note=log.note(8)).to_bytes()

    replies = {
        "wrong old size": witness.ask(log.request(3, 9)),
        "same size, other root": witness.ask(log.forked(6).request(8, 8)),
        "bad proof": witness.ask(torn),
        "rewritten": witness.ask(log.forked(6).request(8, 9)),
        "unknown log": witness.ask(unknown.request(0, 8)),
        "foreign key": witness.ask(foreign.request(8, 9)),
        "old size above": witness.ask(above),
        "malformed": witness.ask(b"old 8\n"),
        "empty": witness.ask(b""),
        "elsewhere": witness.ask(log.request(8, 9), path="/"),
        "read": witness.ask(b"", method="GET"),
    }

    assert {what: reply.status for what, reply in replies.items()} == {
        "wrong old size": 409,
        "same size, other root": 409,
        "bad proof": 422,
        "rewritten": 422,
        "unknown log": 404,
        "foreign key": 403,
        "old size above": 400,
        "malformed": 400,
        "empty": 400,
        "elsewhere": 404,
        "read": 405,
    }
    assert replies["wrong old size"].body == b"8\n"
    assert replies["wrong old size"].content_type == SIZE_TYPE
    assert all(reply.body.endswith(b"\n") for reply in replies.values())
    assert held(witness, log) == 8


def test_a_fork_is_kept_as_evidence(log: Log, witness: WitnessProcess) -> None:
    """Two checkpoints of one size, both with the log's signature; the first fork stays."""
    witness.ask(log.request(0, 8))
    witness.ask(log.forked(6).request(8, 8))
    witness.ask(log.forked(2).request(8, 8))

    name = hashlib.sha256(log.origin.encode()).hexdigest()
    shown = witness.directory / "forks" / f"{name}.shown"
    assert Note.parse(shown.read_bytes()) == log.forked(6).note(8)
    assert Note.parse(shown.with_suffix(".held").read_bytes()) == log.note(8)
    assert "shows two histories" in witness.text()


def test_of_requests_that_race_one_wins_and_nothing_is_rolled_back(
    log: Log, witness: WitnessProcess
) -> None:
    """Ten sizes at once from one old size: one is cosigned, the others are told its size."""
    assert witness.ask(log.request(0, 8)).status == 200

    with ThreadPoolExecutor(10) as threads:
        replies = list(threads.map(lambda new: witness.ask(log.request(8, new)), range(20, 10, -1)))

    won = [
        new for new, reply in zip(range(20, 10, -1), replies, strict=True) if reply.status == 200
    ]
    assert len(won) == 1
    assert [reply.body for reply in replies if reply.status == 409] == [b"%d\n" % won[0]] * 9


def test_a_killed_witness_remembers_what_it_signed(log: Log, start_witness: StartWitness) -> None:
    """With the same key; what it signed cannot be shown to it in another version."""
    witness = start_witness(log)
    size = 0
    for new in (7, 20, 33):
        cosigned_at(witness, witness.ask(log.request(size, new)), log.note(new))
        size = new
        vkey = witness.vkey
        witness.process.send_signal(signal.SIGKILL)
        witness.process.wait()
        witness = start_witness(log)
        assert witness.vkey == vkey
        assert witness.ask(log.forked(3).request(0, 40)).body == b"%d\n" % size
        assert witness.ask(log.forked(3).request(size, 40)).status == 422


def test_killed_in_the_middle_of_many_it_holds_all_that_it_answered(
    start_witness: StartWitness,
) -> None:
    """Killed while it answers: what a client has in hand is never above what the witness holds."""
    log = Log(leaves=[leaf_hash(b"%d" % number) for number in range(2000)])
    witness = start_witness(log)
    answered = 0

    def grow() -> None:
        nonlocal answered
        for new in range(1, 2000):
            if witness.ask(log.request(answered, new)).status == 200:
                answered = new

    with ThreadPoolExecutor(1) as threads:
        growing = threads.submit(grow)
        wait_for(lambda: answered >= 10)
        witness.process.send_signal(signal.SIGKILL)
        with pytest.raises((OSError, http.client.HTTPException)):
            growing.result()

    again = start_witness(log)
    assert answered <= held(again, log) <= answered + 1


def test_a_half_written_state_is_not_the_state(log: Log, start_witness: StartWitness) -> None:
    """What a crash leaves beside the file is never read."""
    witness = start_witness(log)
    witness.ask(log.request(0, 8))
    witness.kill()
    (state,) = (witness.directory / "logs").iterdir()
    left = state.with_name(f".{state.name}.77.tmp")
    left.write_bytes(b"half a check")

    again = start_witness(log)

    assert not left.exists()
    assert again.ask(log.request(8, 9)).status == 200


def test_a_second_witness_on_a_directory_is_refused(log: Log, start_witness: StartWitness) -> None:
    """Two would sign past each other."""
    first = start_witness(log)
    second = start_witness(log, ready=False)

    assert second.process.wait(30) == 1
    assert "WITNESS_RUNNING" in second.text()
    assert first.ask(log.request(0, 5)).status == 200


def test_its_key_is_its_owners_alone(witness: WitnessProcess) -> None:
    """0600 in a folder of 0700; without a name the node names it."""
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (witness.directory, witness.directory / "witness_key")
    }
    assert modes == {"witness": 0o700, "witness_key": 0o600}
    assert witness.vkey.name == "testnode.honeyflow/witness"
    assert (witness.directory / "vkey").read_text() == f"{witness.vkey.text}\n"


def test_logs_are_read_from_a_file_too(
    tmp_path: Path, log: Log, start_witness: StartWitness
) -> None:
    """One vkey a line, with comments; two keys of one log are two keys that may sign."""
    rotated = Log(origin=log.origin)
    other = Log(origin="other.example/log")
    file = tmp_path / "logs.txt"
    file.write_text(f"# bees\n\n  {rotated.vkey.text}\n{other.vkey.text}\n")
    witness = start_witness(log, options=("--logs", str(file)))

    assert witness.ask(log.request(0, 5)).status == 200
    assert witness.ask(rotated.request(5, 9)).status == 200
    assert witness.ask(other.request(0, 5)).status == 200
    assert "knows 2 log(s)" in witness.text()


def test_a_body_that_is_too_large_is_refused_unread(log: Log, witness: WitnessProcess) -> None:
    """Whether it is sent or only announced; without a length nothing is read either."""

    assert witness.ask(b"x" * (MAX_REQUEST_BYTES + 1)).status == 413
    assert raw(witness, b"Content-Length: 99999999999\r\n\r\n").startswith(b"HTTP/1.1 413")
    assert raw(witness, b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n").startswith(b"HTTP/1.1 411")
    assert raw(witness, b"\r\n").startswith(b"HTTP/1.1 411")
    assert raw(witness, b"Content-Length: -1\r\n\r\n").startswith(b"HTTP/1.1 400")
    twice = b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nold"
    assert raw(witness, twice).startswith(b"HTTP/1.1 411")
    assert witness.ask(log.request(0, 5)).status == 200


def raw(witness: WitnessProcess, rest: bytes) -> bytes:
    """Send a POST that no client library would, and read to the end."""
    with socket.create_connection(("127.0.0.1", witness.port), timeout=20) as connection:
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n" + rest)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_slow_clients_keep_nobody_waiting(log: Log, witness: WitnessProcess) -> None:
    """One that says nothing, one that sends a byte now and then; the second is cut off in time."""
    address = ("127.0.0.1", witness.port)
    body = log.request(0, 5)
    with socket.create_connection(address), socket.create_connection(address) as slow:
        slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
        slow.settimeout(0.5)
        assert witness.ask(body).status == 200
        answer = b""
        # A byte each half second: no single wait of the witness is long.
        for byte in body:
            slow.sendall(bytes((byte,)))
            try:
                answer = slow.recv(4096)
            except TimeoutError:
                continue
            break
        assert answer.startswith(b"HTTP/1.1 408")


def test_more_connections_than_places_keep_nobody_out(log: Log, witness: WitnessProcess) -> None:
    """Who says nothing gives its place to who comes."""
    idle = [
        socket.create_connection(("127.0.0.1", witness.port))
        for _ in range(witness_server.MAX_CONNECTIONS + 5)
    ]
    try:
        assert witness.ask(log.request(0, 5)).status == 200
    finally:
        for connection in idle:
            connection.close()


def test_one_connection_carries_many_requests(log: Log, witness: WitnessProcess) -> None:
    """Keep-alive, as the specification asks; also after a refusal by the witness itself."""
    connection = http.client.HTTPConnection("127.0.0.1", witness.port, timeout=20)
    connection.connect()
    mine = connection.sock
    statuses = []
    for old, new in ((0, 5), (3, 9), (5, 9), (9, 9)):
        connection.request("POST", "/add-checkpoint", body=log.request(old, new))
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    assert statuses == [200, 409, 200, 200]
    assert connection.sock is mine
    connection.close()


def test_sigterm_ends_it_cleanly_also_with_idle_connections(
    log: Log, start_witness: StartWitness
) -> None:
    """Exit code 0, at once, nothing lost; the lock is free for the next."""
    witness = start_witness(log)
    witness.ask(log.request(0, 5))
    with socket.create_connection(("127.0.0.1", witness.port)):
        assert witness.stop() == 0
    assert "Traceback" not in witness.text()
    assert held(start_witness(log), log) == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_witness_that_cannot_write_signs_nothing(log: Log, tmp_path: Path) -> None:
    """A full disk: 500 and no cosignature, and it goes on when there is room again."""
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(mount)])
    if mounted.returncode != 0:
        pytest.skip("this machine mounts nothing")
    witness = WitnessProcess(tmp_path, [log], "--dir", str(mount / "w"))
    try:
        witness.wait_ready()
        assert witness.ask(log.request(0, 5)).status == 200
        with pytest.raises(OSError), (mount / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1024))
        reply = witness.ask(log.request(5, 9))
        assert (reply.status, b"cannot write" in reply.body) == (500, True)
        (mount / "filler").unlink()
        assert held(witness, log) == 5
        assert witness.ask(log.request(5, 9)).status == 200
    finally:
        witness.kill()
        subprocess.run(["umount", str(mount)], check=True)


def test_another_implementation_agrees(log: Log, witness: WitnessProcess) -> None:
    """tlog-scales makes the log's requests, and checks the witness's lines and our proofs."""
    scales = pytest.importorskip("tlog_scales.tlog")
    signing = pytest.importorskip("tlog_scales.signing")
    seed = load_ssh_private_key(SCALES.key.to_openssh(), None).private_bytes_raw()
    signer = signing.PlainEd25519Signer(SCALES.origin, seed)
    verifier = signing.Vkey.from_string(witness.vkey.text).get_verifier()
    for old, new in itertools.pairwise((0, 1, 6, 8, 21, 64)):
        ours = SCALES.request(old, new)
        roots = [Checkpoint.from_note(log.note(size)).root for size in (old, new)]
        proof = AddCheckpoint.from_bytes(ours).proof
        scales.ConsistencyProof(old, new, list(proof)).check(*roots)
        head = scales.Checkpoint.make_signed(SCALES.origin, new, roots[1], [signer])

        reply = witness.ask(ours.partition(b"\n\n")[0] + b"\n\n" + head.serialize().encode())

        assert reply.status == 200, reply
        assert head.serialize().encode() == SCALES.note(new).to_bytes()
        line = signing.NoteSignature.from_line(reply.body.decode().removesuffix("\n"))
        verifier.verify_note(line, head)
