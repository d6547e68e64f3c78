"""Write the frozen receipts and the report beside this file, or check that they are still made so.

`python -m tests.vectors.proofs.generate` writes; with `--check` it changes nothing and exits 1 if a
file differs. Each `broken_*.json` is the good receipt with the one fault it is named for.
`cids.json` and `merkle.json` are not made here: they come from other implementations and must not
follow ours.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from proofs import CidProfile, canonicalize, compute_cid, sha256_digest
from tests.unit.proofs import examples

FOLDER = Path(__file__).parent


def vectors() -> dict[str, bytes]:
    """Return every generated file's content by its name."""
    good = examples.receipt()
    stored = examples.report()
    expected = {
        "receipt_id": good.digest,
        "leaf_hash": good.leaf_hash.hex(),
        "report_hash": sha256_digest(stored),
        "report_cids": {profile: compute_cid(stored, profile) for profile in CidProfile},
        "input_hash": good.input_hash,
        "output_hash": good.output_hash,
    }
    return {
        "receipt.json": good.to_bytes(),
        "report.json": stored,
        "request.json": _pretty(examples.REQUEST),
        "output.txt": examples.ANSWER.encode("utf-8"),
        "expected.json": _pretty(expected),
        **{f"broken_{name}.json": data for name, data in _broken(good.to_bytes()).items()},
    }


def main(arguments: Sequence[str]) -> int:
    """Write or check the files and return the exit status."""
    stale = []
    for name, content in vectors().items():
        path = FOLDER / name
        if path.exists() and path.read_bytes() == content:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.write_bytes(content)
    sys.stdout.write("".join(f"{name}\n" for name in stale))
    return 1 if stale and "--check" in arguments else 0


def _broken(good: bytes) -> dict[str, bytes]:
    """Return receipts with one fault each; all but the first five are canonical JSON."""
    return {
        "trailing_newline": good + b"\n",
        "spaces": good.replace(b'"epoch":0', b'"epoch": 0'),
        "key_order": _compact(dict(reversed(json.loads(good).items()))),
        "duplicate_key": good.replace(b'"epoch":0', b'"epoch":0,"epoch":0'),
        "integer_as_float": good.replace(b'"epoch":0', b'"epoch":0.0'),
        "missing_field": good.replace(b'"epoch":0,', b""),
        "thirteenth_field": good.replace(b'"epoch":0', b'"epoch":0,"extra":1'),
        "fraction": good.replace(b'"confidence_score":60', b'"confidence_score":60.5'),
        "boolean_for_integer": good.replace(b'"epoch":0', b'"epoch":false'),
        "no_such_day": good.replace(b'"2025-12-31T', b'"2025-02-30T'),
        "digest_without_prefix": good.replace(b'"report_hash":"sha256:', b'"report_hash":"'),
        "null_cid": canonicalize({**json.loads(good), "ipfs_cid": None}),
    }


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("utf-8")


def _pretty(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True)
    return (text + "\n").encode("utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
