"""Everything that one job has left, as files that somebody else can check and run again.

- `request.json`, `report.json`, `receipt.json`: the exact bytes that the receipt's hashes are of;
- `result.txt`: the answer, exactly;
- `report.html`: the same report for people;
- `seeds.json`: what every sample was drawn with;
- `transcript.ndjson`: every sample that the ledger keeps, a line each, with its figures;
- `metadata.json`: what the model read, how answers were compared, what became of the job and when,
  and the SHA-256 of each of the files above;
- `receipt.json.sig`, `receipt.tlog-proof`, `checkpoint`: where there are such;
- `report.json.age`: the encrypted report that `ipfs_cid` is of, where it was uploaded.

A bundle is written whole or not at all, readable for its owner alone: it holds all the text that
there is. No name in it comes from a job.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from executors import Prompt
from executors.resampling import ResamplingError
from ledger import (
    Change,
    Job,
    ReceiptRow,
    SampleRow,
    Transaction,
    bodies,
    jobs,
    receipts,
    samples,
    uploads,
)
from proofs import ProofError, Receipt, parse_report, report_page, sha256_digest
from tasks import payloads, plans, regular_files
from tasks import receipts as logged
from tasks.catalogue import Catalogue
from tasks.client import Client
from tasks.errors import BundleExists, BundleUnusable, HoneyflowError, JobUnanswered

VERSION = 1
MAX_FILE_BYTES = 256 * 1024**2

REQUEST, REPORT, RECEIPT, RESULT = "request.json", "report.json", "receipt.json", "result.txt"
METADATA = "metadata.json"


def collect(client: Client, job_id: str) -> dict[str, bytes]:
    """The files of a job's bundle, by name.

    Raises:
        JobNotFound: there is no such job.
        JobUnanswered: it has no answer, or its texts are no longer stored.
    """
    job = client.job(job_id)
    with client.ledger.read() as tx:
        receipt = receipts.get(tx, job.id)
        files = _texts(tx, job, receipt)
        drawn, history = samples.of(tx, job.id), jobs.history(tx, job.id)
        published = _logged(tx, job.id) | _ciphertext(tx, files)
    files["seeds.json"] = _written(_seeds(job, files))
    files["transcript.ndjson"] = b"".join(_line(row) for row in drawn)
    files[METADATA] = _written(
        {
            "v": VERSION,
            "job_id": job.id,
            "model": job.model,
            **_asked(files[REQUEST], job, client.catalogue),
            "job": _course(job),
            "history": [_move(change) for change in history],
            "sha256": {name: sha256_digest(data) for name, data in sorted(files.items())},
        }
    )
    return {**files, **published}


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Write a bundle to a folder that is not there yet, or empty.

    Raises:
        BundleExists: there is something.
        BundleUnusable: it cannot be written there, with the system's reason.
    """
    # Not resolved: a link as the last part stays what it is, and is refused below.
    folder = Path(os.path.abspath(folder))  # noqa: PTH100
    try:
        if folder.is_symlink() or (folder.exists() and not _is_empty(folder)):
            raise BundleExists(f"{folder} is there already.", details={"folder": str(folder)})
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder.parent))
        try:
            for name, data in files.items():
                (draft / name).touch(mode=0o600, exist_ok=False)
                (draft / name).write_bytes(data)
            # Onto an empty folder too, and only onto an empty one.
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise BundleUnusable(
            f"The bundle cannot be written to {folder}: {error.strerror}.",
            suggested_action="Name a place where there is room and that may be written to.",
        ) from error


def read(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Those files of a bundle.

    Raises:
        BundleUnusable: one is not there, cannot be read, or is too large.
    """
    return {name: _read(folder / name) for name in names}


def _texts(tx: Transaction, job: Job, receipt: ReceiptRow | None) -> dict[str, bytes]:
    digests = {REQUEST: job.request_digest, REPORT: job.report_digest, RESULT: job.output_digest}
    known = {name: digest for name, digest in digests.items() if digest is not None}
    stored = bodies.get_many(tx, list(known.values()))
    files = {name: stored[digest] for name, digest in known.items() if digest in stored}
    if receipt is None:
        raise JobUnanswered(
            f"Job {job.id} is {job.state} and has no receipt to make a bundle of.",
            details={"job_id": job.id, "state": str(job.state)},
        )
    if missing := [name for name in digests if name not in files]:
        raise JobUnanswered(
            f"Of job {job.id} no longer stored: {', '.join(missing)}.",
            suggested_action="Its receipt is still there: `honeyflow job show JOB --receipt`.",
            details={"job_id": job.id, "missing": missing},
        )
    files[RECEIPT] = receipt.canonical
    files["report.html"] = report_page(files[REPORT], receipt=receipt.canonical)
    return files


def _logged(tx: Transaction, job_id: str) -> dict[str, bytes]:
    found = {
        "receipt.json.sig": logged.signature(tx, job_id),
        "receipt.tlog-proof": logged.proof(tx, job_id),
        "checkpoint": logged.checkpoint(tx, job_id),
    }
    return {name: data for name, data in found.items() if data is not None}


def _ciphertext(tx: Transaction, files: Mapping[str, bytes]) -> dict[str, bytes]:
    row = uploads.get(tx, Receipt.from_bytes(files[RECEIPT]).ipfs_cid)
    data = None if row is None else bodies.get(tx, row.body_digest)
    if data is None or data == files[REPORT]:
        return {}
    return {"report.json.age": data}


def _seeds(job: Job, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Every counted sample's seed, from the report, which the receipt vouches for."""
    request = payloads.request_from_bytes(files[REQUEST])
    try:
        companion: Any = parse_report(files[REPORT])["companion"]
        drawn = [{"index": one["index"], "seed": one["seed"]} for one in companion["samples"]]
        leader = companion.get("samples_of")
    except (ProofError, KeyError, TypeError) as error:
        raise BundleUnusable(f"The report of job {job.id} cannot be read: {error}.") from error
    base: str | int = (leader or job.id) if request.seed is None else request.seed
    return {"v": VERSION, "base": base, "derivation": "honeyflow/sample-seed/v1", "samples": drawn}


def _asked(request_bytes: bytes, job: Job, catalogue: Catalogue) -> dict[str, Any]:
    """What the model read and how its answers were compared; null where that cannot be told."""
    told: dict[str, Any] = {
        "policy": job.policy,
        "profile": job.profile,
        "profile_digest": job.profile_digest,
        "agreement": None,
        "prompt": None,
        "prompt_digest": None,
    }
    try:
        request = payloads.request_from_bytes(request_bytes)
        profile = payloads.profile_of(request, catalogue)
        agreement = dict(payloads.agreement_of(request, profile))
    except (HoneyflowError, ResamplingError):
        return told
    if (profile.digest if profile else None) != job.profile_digest:
        return told
    prompt = payloads.prompt_of(request, profile)
    told["agreement"] = agreement
    told["prompt"] = _plain(prompt)
    told["prompt_digest"] = plans.prompt_digest(prompt)
    return told


def _plain(prompt: Prompt) -> dict[str, Any]:
    if prompt.text is not None:
        return {"text": prompt.text}
    return {"messages": [asdict(turn) for turn in prompt.messages]}


def _course(job: Job) -> dict[str, Any]:
    names = ("origin", "queue", "priority", "fence", "tries", "crashes", "follows")
    times = ("created_at", "claimed_at", "finished_at")
    return {name: getattr(job, name) for name in (*names, *times)}


def _move(change: Change) -> dict[str, Any]:
    return {
        "at": change.at,
        "from": None if change.source is None else str(change.source),
        "to": str(change.target),
        "fence": change.fence,
        "reason": change.reason,
    }


def _line(row: SampleRow) -> bytes:
    told = {name: value for name, value in asdict(row).items() if name != "job_id"}
    return json.dumps(told, sort_keys=True).encode() + b"\n"


def _written(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True).encode() + b"\n"


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _read(file: Path) -> bytes:
    try:
        with regular_files.opened(file, follow_links=True) as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except regular_files.NotRegular as error:
        raise BundleUnusable(f"{file} is not a regular file.") from error
    except OSError as error:
        raise BundleUnusable(f"{file} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_FILE_BYTES:
        raise BundleUnusable(f"{file} has more than {MAX_FILE_BYTES} bytes.")
    return data
