"""Real witnesses as processes on loopback, and logs that grow, for the integration tests."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cli.witness_cosigner import Cosigner
from cli.witness_directory import WitnessDirectory
from cli.witness_server import WitnessServer
from proofs.checkpoint import Checkpoint, log_vkey, sign
from proofs.keys import PrivateKey
from proofs.merkle import consistency_proof, leaf_hash, root
from proofs.note import Note, VerifierKey
from proofs.witness import AddCheckpoint
from tasks.witness_client import Witness
from tests.stack import BIN, wait_for

LOG_ID = "0b0f7c1e-52a4-4d39-9f6e-2f6a1c1d7e55"


@dataclass(kw_only=True)
class Log:
    """A log in memory, which also shows what no honest log would."""

    origin: str = f"bee.example.eth/{LOG_ID}"
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    leaves: list[bytes] = field(
        default_factory=lambda: [leaf_hash(b"%d" % number) for number in range(64)]
    )

    @property
    def vkey(self) -> VerifierKey:
        """What its witnesses are told."""
        return log_vkey(self.origin, self.key.public_key)

    def forked(self, at: int) -> Log:
        """The same log with another history from a leaf on."""
        other = [leaf_hash(b"other %d" % number) for number in range(at, 64)]
        return Log(origin=self.origin, key=self.key, leaves=[*self.leaves[:at], *other])

    def note(self, size: int) -> Note:
        """Its signed checkpoint at a size."""
        head = Checkpoint(origin=self.origin, size=size, root=root(self.leaves[:size]))
        return Note(text=head.body, signatures=(sign(head, self.key),))

    def request(self, old: int, new: int) -> bytes:
        """The body of a request to cosign that it grew."""
        proof = consistency_proof(self.leaves[:new], old)
        return AddCheckpoint(old_size=old, proof=proof, note=self.note(new)).to_bytes()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back over HTTP."""

    status: int
    body: bytes
    content_type: str


class WitnessProcess:
    """One `honeyflow witness`; `inside` is a command that runs it."""

    def __init__(
        self, home: Path, logs: Sequence[Log], *options: str, inside: Sequence[str] = ()
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.directory = home / "witness"
        words = ["--dir", str(self.directory), "--listen", "127.0.0.1:0", *options]
        for log in logs:
            words += ["--log", log.vkey.text]
        self._out = home / f"witness-{time.monotonic_ns()}.out"
        with self._out.open("wb") as output:
            self.process = subprocess.Popen(
                [*inside, str(BIN / "honeyflow"), "witness", *words],
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        """What it has printed and logged."""
        return self._out.read_text(errors="replace")

    def wait_ready(self) -> WitnessProcess:
        """Wait until it listens."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the witness ended: {self.text()}")
            return "listens at" in self.text()

        wait_for(ready, 30, self.text)
        return self

    @property
    def vkey(self) -> VerifierKey:
        """Its key, as it printed it."""
        (line,) = [line for line in self.text().splitlines() if line.startswith("witness ")]
        return VerifierKey.parse(line.split(" ", 1)[1])

    @property
    def url(self) -> str:
        """Where it is asked."""
        (line,) = [line for line in self.text().splitlines() if line.startswith("listens at ")]
        return line.split()[2]

    @property
    def port(self) -> int:
        """The port of its address."""
        return int(self.url.rpartition(":")[2])

    def ask(self, body: bytes, *, method: str = "POST", path: str = "/add-checkpoint") -> Reply:
        """Send one request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body=body)
            response = connection.getresponse()
            content_type = response.headers.get("Content-Type", "")
            return Reply(status=response.status, body=response.read(), content_type=content_type)
        finally:
            connection.close()

    def kill(self) -> None:
        """End it at once."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and wait; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


class LocalWitness:
    """The real witness on a real port, in threads of this process."""

    def __init__(
        self, directory: Path, log_keys: Sequence[VerifierKey], *, name: str = "friend.example/w"
    ) -> None:
        self._files = WitnessDirectory(directory)
        self._files.open()
        signer, self.vkey = self._files.identity(name, default_name=lambda: name)
        keys: dict[str, list[VerifierKey]] = {}
        for key in log_keys:
            keys.setdefault(key.name, []).append(key)
        cosigner = Cosigner(
            directory=self._files, signer=signer, name=self.vkey.name, log_keys=keys
        )
        self._server = WitnessServer("127.0.0.1", 0, cosigner)
        self.url = self._server.url
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._thread.join()
        self._files.close()

    def configured(self, name: str = "friend") -> Witness:
        """How it stands in the configuration of who asks it."""
        return Witness(name=name, url=self.url, key=self.vkey)


class ScriptedServer:
    """Something on a port that answers each connection with the next bytes, whatever is asked.

    A float between the bytes is a pause; at the end the connection is closed.
    """

    def __init__(self, *answers: Sequence[bytes | float]) -> None:
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self.asked.append(connection.recv(65536))
                for part in answer:
                    if isinstance(part, float):
                        time.sleep(part)
                    else:
                        connection.sendall(part)
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(1.0)
                while connection.recv(65536):
                    pass


def http_answer(status: str, body: bytes = b"", *headers: str) -> tuple[bytes]:
    """An answer in one piece."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers))
    return (f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body,)
