"""`honeyflow witness`: watch logs for others, and cosign what has only grown (C2SP tlog-witness).

It keeps one small file per log and needs nothing else of honeyflow: no ledger, no Redis, no worker.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli.witness_cosigner import Cosigner
from cli.witness_directory import WitnessDirectory, WitnessUnusable
from cli.witness_server import WitnessServer
from proofs.errors import ProofError
from proofs.note import ED25519, VerifierKey
from tasks import wiring

ENDING = (signal.SIGTERM, signal.SIGINT)


def witness(
    directory: Annotated[Path, typer.Option("--dir", help="Where its key and its state lie.")],
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 is any free one.")
    ] = "127.0.0.1:8474",
    name: Annotated[
        str | None, typer.Option(help="Its name for good, like a URL without scheme.")
    ] = None,
    log: Annotated[
        list[str] | None, typer.Option(metavar="VKEY", help="A log's key; may be given often.")
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with one vkey a line.")
    ] = None,
) -> None:
    """Run a witness until SIGTERM: cosign each known log's checkpoints as long as it only grows."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    host, port = _address(listen)
    log_keys = _log_keys([*(log or ()), *_lines(logs)])
    files = WitnessDirectory(directory)
    files.open()
    try:
        signer, vkey = files.identity(name, default_name=_default_name)
        cosigner = Cosigner(directory=files, signer=signer, name=vkey.name, log_keys=log_keys)
        with _listening(host, port, cosigner) as server:
            _serve(server, vkey, log_keys)
    finally:
        files.close()


def _default_name() -> str:
    return f"{wiring.settings().node}.honeyflow/witness"


def _serve(
    server: WitnessServer, vkey: VerifierKey, log_keys: dict[str, list[VerifierKey]]
) -> None:
    # Blocked in every thread and waited for in one: a handler would run only when the main thread
    # happens to wake, for a signal may reach any thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    serving = threading.Thread(target=server.serve_forever, name="witness", daemon=True)
    serving.start()
    typer.echo(f"witness {vkey.text}")
    typer.echo(f"listens at {server.url} and knows {len(log_keys)} log(s)")
    signal.sigwait(ENDING)
    server.stop()
    serving.join()


def _listening(host: str, port: int, cosigner: Cosigner) -> WitnessServer:
    try:
        return WitnessServer(host, port, cosigner)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise WitnessUnusable(
            f"The witness cannot listen at {host}:{port}: {reason}.",
            code="WITNESS_ADDRESS_UNUSABLE",
            suggested_action="Give another --listen HOST:PORT; port 0 takes any free one.",
        ) from error


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise WitnessUnusable(
            f"{text!r:.80} is no address to listen at.",
            code="WITNESS_ADDRESS_UNUSABLE",
            suggested_action="Write HOST:PORT, as in --listen 127.0.0.1:8474 or [::1]:8474.",
        )
    return host, int(port)


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WitnessUnusable(f"{file} cannot be read: {error}.") from error
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def _log_keys(texts: Sequence[str]) -> dict[str, list[VerifierKey]]:
    """The keys of each log, by its origin, which is the name of its keys."""
    keys: dict[str, list[VerifierKey]] = {}
    for text in texts:
        try:
            key = VerifierKey.parse(text)
        except ProofError as error:
            raise _no_log(text, error.message) from error
        if key.kind != ED25519:
            raise _no_log(text, f"it is of type {key.kind:#04x}, not Ed25519 ({ED25519:#04x})")
        keys.setdefault(key.name, []).append(key)
    if not keys:
        raise WitnessUnusable(
            "This witness knows no log.",
            code="WITNESS_LOG_INVALID",
            suggested_action="Name at least one: --log VKEY, as `honeyflow keys bee show` has it.",
        )
    return keys


def _no_log(text: str, reason: str) -> WitnessUnusable:
    return WitnessUnusable(
        f"{text!r:.120} is not the key of a log: {reason}.",
        code="WITNESS_LOG_INVALID",
        suggested_action="Copy the whole vkey: name+hash+base64, as the log's owner shows it.",
    )
