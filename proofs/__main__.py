"""Proofs on the command line: `python -m proofs`, offline, with nothing but this package.

- `hash FILE` prints the digest of the RFC 8785 form of a JSON file; `--request` that of the request
  in it, its `input_hash`, where `v` is 1 if left out; `--raw` that of the file's bytes as they are
  (a report's `report_hash`).
- `cid FILE [--profile P]` prints the CID of the file's bytes.
- `check RECEIPT [--report FILE] [--request FILE] [--output FILE]` takes these steps, a line each:

  1. form: canonical JSON with exactly the twelve fields, each of its form;
  2. report_hash: the digest of the report's bytes;
  3. ipfs_cid: the CID of the report's bytes;
  4. report: strict JSON of version 1, of this job, with this confidence;
  5. input_hash: the digest of the request, as in the caller's file and as in the report;
  6. output_hash: the digest of the answer, as given and as in the report;
  7. samples: the digests that the companion holds of the sample texts.

FILE may be `-` for standard input. Exit status: 0 done and nothing refuted, 1 refuted or
unreadable, 2 a command line that makes no sense.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from proofs.canonical import canonical, parse
from proofs.cid import CidProfile, cid
from proofs.errors import ProofError
from proofs.hashing import sha256_digest
from proofs.request import request_bytes
from proofs.verify import Outcome, check_receipt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ProofError as exc:
        sys.stderr.write(f"{exc.code}: {exc.message}\n{exc.suggested_action}\n")
        return exc.exit_code
    except OSError as exc:
        sys.stderr.write(f"FILE_UNREADABLE: {exc.filename}: {exc.strerror}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m proofs",
        description="Hash, name and check what receipts vouch for, offline.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    hashing = commands.add_parser("hash", help="digest of a JSON file's RFC 8785 form")
    hashing.add_argument("file", metavar="FILE")
    form = hashing.add_mutually_exclusive_group()
    form.add_argument("--request", action="store_true", help="input_hash of the request in it")
    form.add_argument("--raw", action="store_true", help="digest of the bytes as they are")
    hashing.set_defaults(command=_hash)

    naming = commands.add_parser("cid", help="CID of a file")
    naming.add_argument("file", metavar="FILE")
    naming.add_argument(
        "--profile", choices=tuple(map(str, CidProfile)), default=str(CidProfile.UNIXFS_V0_2015)
    )
    naming.set_defaults(command=_cid)

    checking = commands.add_parser("check", help="check a receipt, and what it vouches for")
    checking.add_argument("receipt", metavar="RECEIPT")
    checking.add_argument("--report", metavar="FILE", help="the report, exactly as stored")
    checking.add_argument("--request", metavar="FILE", help="the caller's request as JSON")
    checking.add_argument("--output", metavar="FILE", help="the answer, exactly")
    checking.set_defaults(command=_check)
    return parser


def _hash(options: argparse.Namespace) -> int:
    data = _read(options.file)
    if options.request:
        data = request_bytes(data)
    elif not options.raw:
        data = canonical(parse(data))
    sys.stdout.write(sha256_digest(data) + "\n")
    return 0


def _cid(options: argparse.Namespace) -> int:
    sys.stdout.write(cid(_read(options.file), options.profile) + "\n")
    return 0


def _check(options: argparse.Namespace) -> int:
    steps = check_receipt(
        _read(options.receipt),
        report=_read_optional(options.report),
        request=_read_optional(options.request),
        output=_read_optional(options.output),
    )
    for step in steps:
        sys.stdout.write(f"{step.number}. {step.outcome:7} {step.name}: {step.message}\n")
    refuted = any(step.outcome is Outcome.FAILED for step in steps)
    sys.stdout.write("refuted\n" if refuted else "nothing refuted; issuer and log not checked\n")
    return 1 if refuted else 0


def _read_optional(name: str | None) -> bytes | None:
    return None if name is None else _read(name)


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


if __name__ == "__main__":
    sys.exit(main())
