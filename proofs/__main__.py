"""Proofs on the command line: `python -m proofs`, offline, with nothing but this package.

- `hash FILE` prints the digest of the RFC 8785 form of a JSON file; `--request` that of the request
  in it, its `input_hash`, where `v` is 1 if left out; `--raw` that of the file's bytes as they are
  (a report's `report_hash`).
- `cid FILE [--profile P]` prints the CID of the file's bytes.
- `check RECEIPT [--report FILE] [--ciphertext FILE] [--request FILE] [--output FILE]` takes these
  steps, a line each:

  1. form: canonical JSON with exactly the twelve fields, each of its form;
  2. report_hash: the digest of the report's bytes;
  3. ipfs_cid: the CID of the report's bytes, or of the encrypted report's;
  4. report: strict JSON of version 1, of this job, with this confidence;
  5. input_hash: the digest of the request, as in the caller's file and as in the report;
  6. output_hash: the digest of the answer, as given and as in the report;
  7. samples: the digests that the companion holds of the sample texts.

- `verify RECEIPT --allowed-signers FILE` takes these and then the following, and ends with one
  sentence; `--signature` is `RECEIPT.sig` where that file is and no other is named:

  8. signature: over these bytes, by a key that was allowed to sign as the receipt's worker;
  9. proof: `--proof FILE`, a .tlog-proof file, has its form;
  10. inclusion: the receipt is the leaf that the proof says;
  11. checkpoint: of a log of the receipt's worker, signed by a key that may;
  12. revocation: `--revocations FILE` revokes no key that this relies on, or leaves this standing;
  13. witnesses: those that `--policy FILE` asks for have cosigned the checkpoint;
  14. verdict: `--verdict FILE --verdict-proof FILE`, of a person, logged by the same worker.

FILE may be `-` for standard input. Exit status: 0 done and nothing refuted, 1 refuted or
unreadable, 2 a command line that makes no sense.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from proofs.allowed_signers import AllowedSigners
from proofs.canonical import canonical, parse
from proofs.cid import CidProfile, cid
from proofs.errors import ProofError
from proofs.hashing import sha256_digest
from proofs.logged import Trust
from proofs.policy import Policy
from proofs.request import request_bytes
from proofs.revocation import parse_revocations
from proofs.verification import Material, verify_receipt
from proofs.verify import Outcome, Step, check_receipt

_COMPARED = {
    "report": "the report, exactly as stored",
    "ciphertext": "the encrypted report, exactly as published",
    "request": "the caller's request as JSON",
    "output": "the answer, exactly",
}
_VOUCHED = {
    "signature": "the receipt's signature",
    "proof": "the receipt's .tlog-proof file",
    "policy": "which witnesses must have cosigned, as C2SP tlog-policy",
    "revocations": "revocations of keys, one per line",
    "verdict": "what a person decided about the answer",
    "verdict-proof": "the verdict's .tlog-proof file",
}


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
    _add_receipt(checking, _COMPARED)
    checking.set_defaults(command=_check)

    verifying = commands.add_parser("verify", help="verify a receipt, its issuer and its log")
    _add_receipt(verifying, {**_COMPARED, **_VOUCHED})
    verifying.add_argument(
        "--allowed-signers", metavar="FILE", required=True, help="which keys may sign, as OpenSSH's"
    )
    verifying.set_defaults(command=_verify)
    return parser


def _add_receipt(parser: argparse.ArgumentParser, options: Mapping[str, str]) -> None:
    parser.add_argument("receipt", metavar="RECEIPT")
    for name, text in options.items():
        parser.add_argument(f"--{name}", metavar="FILE", help=text)


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
        ciphertext=_read_optional(options.ciphertext),
    )
    _tell(steps)
    refuted = any(step.outcome is Outcome.FAILED for step in steps)
    sys.stdout.write("refuted\n" if refuted else "nothing refuted; issuer and log not checked\n")
    return 1 if refuted else 0


def _verify(options: argparse.Namespace) -> int:
    policy = _read_optional(options.policy)
    trust = Trust(
        allowed=AllowedSigners.parse(_read(options.allowed_signers)),
        policy=None if policy is None else Policy.parse(policy),
        revocations=parse_revocations(_read_optional(options.revocations) or b""),
    )
    material = Material(
        signature=_read_optional(options.signature or _signature_beside(options.receipt)),
        proof=_read_optional(options.proof),
        report=_read_optional(options.report),
        ciphertext=_read_optional(options.ciphertext),
        request=_read_optional(options.request),
        output=_read_optional(options.output),
        verdict=_read_optional(options.verdict),
        verdict_proof=_read_optional(options.verdict_proof),
    )
    result = verify_receipt(_read(options.receipt), material, trust)
    _tell(result.steps)
    sys.stdout.write(result.summary + "\n")
    return 0 if result.verified else 1


def _signature_beside(receipt: str) -> str | None:
    beside = f"{receipt}.sig"
    return beside if receipt != "-" and Path(beside).exists() else None


def _tell(steps: Sequence[Step]) -> None:
    for step in steps:
        sys.stdout.write(f"{step.number}. {step.outcome:7} {step.name}: {step.message}\n")


def _read_optional(name: str | None) -> bytes | None:
    return None if name is None else _read(name)


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


if __name__ == "__main__":
    sys.exit(main())
