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
  4. report: strict JSON of version 1, of this job and model, with this confidence and K;
  5. input_hash: the digest of the request, as in the caller's file and as in the report;
  6. output_hash: the digest of the answer, as given and as in the report;
  7. samples: the digests that the companion holds of the sample texts, each sample once.

- `verify RECEIPT --allowed-signers FILE` takes these and then the following, and ends with one
  sentence; `--signature` is `RECEIPT.sig` where that file is and no other is named:

  8. signature: over these bytes, by a key that was allowed to sign as the receipt's worker;
  9. proof: `--proof FILE`, a .tlog-proof file, has its form;
  10. inclusion: the receipt is the leaf that the proof says;
  11. checkpoint: of a log of the receipt's worker, signed by a key that may;
  12. revocation: `--revocations FILE`, which may be given more than once, revokes no key that this
      relies on, or leaves this standing;
  13. witnesses: those that `--policy FILE` asks for have cosigned the checkpoint;
  14. verdict: `--verdict FILE --verdict-proof FILE`, of a person, logged by the same worker, and
      about `--corrected FILE`, if that is given.

One FILE may be `-` for standard input. A report, a request and an answer have at most 64 MiB;
`hash --raw` and `cid` take a file of any size. Exit status: 0 done and nothing refuted, 1 refuted
or unreadable, or nobody could be told; 2 a command line that makes no sense.

In a folder that somebody gave you write `python -P -m proofs`, or take the zipapp: without `-P`
Python would first look for modules there, and run what it finds.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from proofs import outputs
from proofs.allowed_signers import AllowedSigners
from proofs.canonical import canonical, parse
from proofs.cid import CidProfile, cid
from proofs.errors import ProofError
from proofs.hashing import sha256_digest
from proofs.inputs import STANDARD_INPUT, Kind, pieces, read
from proofs.logged import Trust
from proofs.outputs import say
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
    "verdict": "what a person decided about the answer",
    "verdict-proof": "the verdict's .tlog-proof file",
    "corrected": "the answer that the verdict corrects it to, exactly",
}
_KINDS = {
    "signature": Kind.SIGNATURE,
    "proof": Kind.PROOF,
    "verdict": Kind.VERDICT,
    "verdict-proof": Kind.PROOF,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    outputs.prepare()
    try:
        try:
            return _run(arguments)
        finally:
            outputs.finish()
    except ProofError as exc:
        outputs.complain(f"{exc.code}: {exc.message}\n{exc.suggested_action}")
        return exc.exit_code
    except OSError as exc:
        # Files are read in `proofs.inputs`; what is left is standard output.
        outputs.discard()
        if not isinstance(exc, BrokenPipeError):
            outputs.complain(f"OUTPUT_FAILED: standard output: {exc.strerror}")
        return 1


def _run(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    files = [vars(options).get("receipt"), vars(options).get("file")]
    given = {name: values for name, values in vars(options).items() if isinstance(values, list)}
    for name, values in given.items():
        files += values
        if name != "revocations":
            # One in place of another would leave out what was asked for, unnoticed.
            if len(values) > 1:
                parser.error(f"--{name.replace('_', '-')} is given twice")
            setattr(options, name, values[0])
    if files.count(STANDARD_INPUT) > 1:
        parser.error("standard input (-) can stand for one file only")
    command: Callable[[argparse.Namespace], int] = options.command
    return command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m proofs",
        description="Hash, name and check what receipts vouch for, offline.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        # An option cut short could mean another one as soon as there are more.
        added = commands.add_parser(name, help=text, allow_abbrev=False)
        added.set_defaults(command=command)
        return added

    hashing = add("hash", _hash, "digest of a JSON file's RFC 8785 form")
    hashing.add_argument("file", metavar="FILE")
    form = hashing.add_mutually_exclusive_group()
    form.add_argument("--request", action="store_true", help="input_hash of the request in it")
    form.add_argument("--raw", action="store_true", help="digest of the bytes as they are")

    naming = add("cid", _cid, "CID of a file")
    naming.add_argument("file", metavar="FILE")
    naming.add_argument("--profile", action="append", choices=tuple(map(str, CidProfile)))

    checking = add("check", _check, "check a receipt, and what it vouches for")
    _add_receipt(checking, _COMPARED)

    verifying = add("verify", _verify, "verify a receipt, its issuer and its log")
    _add_receipt(verifying, {**_COMPARED, **_VOUCHED})
    _add(verifying, "allowed-signers", "which keys may sign, as OpenSSH's", required=True)
    _add(verifying, "policy", "which witnesses must have cosigned, as C2SP tlog-policy")
    _add(verifying, "revocations", "revocations of keys, one per line; may be given again")
    return parser


def _add_receipt(parser: argparse.ArgumentParser, options: Mapping[str, str]) -> None:
    parser.add_argument("receipt", metavar="RECEIPT")
    for name, text in options.items():
        _add(parser, name, text)


def _add(parser: argparse.ArgumentParser, name: str, text: str, *, required: bool = False) -> None:
    # Kept in a list, so that `_run` sees whether it was given twice.
    parser.add_argument(f"--{name}", action="append", metavar="FILE", required=required, help=text)


def _hash(options: argparse.Namespace) -> int:
    if options.raw:
        digest = hashlib.sha256()
        for piece in pieces(options.file):
            digest.update(piece)
        say(f"sha256:{digest.hexdigest()}")
        return 0
    data = read(options.file, Kind.TEXT)
    say(sha256_digest(request_bytes(data) if options.request else canonical(parse(data))))
    return 0


def _cid(options: argparse.Namespace) -> int:
    say(cid(pieces(options.file), options.profile or CidProfile.UNIXFS_V0_2015))
    return 0


def _check(options: argparse.Namespace) -> int:
    steps = check_receipt(read(options.receipt, Kind.RECEIPT), **_given(options, _COMPARED))
    _tell(steps)
    refuted = any(step.outcome is Outcome.FAILED for step in steps)
    say("refuted" if refuted else "nothing refuted; issuer and log not checked")
    return 1 if refuted else 0


def _verify(options: argparse.Namespace) -> int:
    policy = options.policy
    trust = Trust(
        allowed=AllowedSigners.parse(read(options.allowed_signers, Kind.SIGNERS)),
        policy=None if policy is None else Policy.parse(read(policy, Kind.POLICY)),
        revocations=tuple(
            revocation
            for name in options.revocations or ()
            for revocation in parse_revocations(read(name, Kind.REVOCATIONS))
        ),
    )
    options.signature = options.signature or _signature_beside(options.receipt)
    material = Material(**_given(options, {**_COMPARED, **_VOUCHED}))
    result = verify_receipt(read(options.receipt, Kind.RECEIPT), material, trust)
    _tell(result.steps)
    say(result.summary)
    return 0 if result.verified else 1


def _given(options: argparse.Namespace, names: Mapping[str, str]) -> dict[str, bytes | None]:
    """The files that were named, by the names of their options as Python spells them."""
    given: dict[str, bytes | None] = {}
    for name in names:
        field = name.replace("-", "_")
        file = getattr(options, field)
        given[field] = None if file is None else read(file, _KINDS.get(name, Kind.TEXT))
    return given


def _signature_beside(receipt: str) -> str | None:
    beside = f"{receipt}.sig"
    with suppress(OSError):
        if receipt != STANDARD_INPUT and Path(beside).is_file():
            return beside
    return None


def _tell(steps: Sequence[Step]) -> None:
    for step in steps:
        say(f"{step.number}. {step.outcome:7} {step.name}: {step.message}")


if __name__ == "__main__":
    sys.exit(main())
