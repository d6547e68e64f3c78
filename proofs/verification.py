"""Verifying a receipt: what it says, who signed it, and that it stands in a log. Offline.

`verify_receipt` takes the seven steps of `proofs.verify`, which compare the receipt with what it
vouches for, and then these; the same numbers stand in its results.

8. The signature is over exactly the receipt's bytes, for receipts, by a key that was allowed to
   sign as the receipt's worker at the receipt's time.
9. The proof file and the checkpoint in it have their form.
10. The receipt is the leaf at the proof's index under the checkpoint's root.
11. The checkpoint is of a log of the receipt's worker and is signed by a key that may sign for it
    and whose time was not over at the receipt's.
12. No key relied on is revoked, except where the revocation leaves this leaf standing; a checkpoint
    that only revoked keys have signed is exactly the one that the revocation names.
13. The witnesses that the policy asks for have cosigned the checkpoint.
14. The verdict is about this receipt, and stands in a log of the same worker as steps 9 to 13 ask;
    a corrected answer that was given is the one that it names.

A receipt whose proof was not given is signed and not yet known to be logged; that refutes nothing,
unless a policy asks for witnesses. What none of this shows: that the model really ran, that the
worker's clock was right, that no job was left out before it was logged, or that no later verdict
was kept back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from proofs import judged, logged, sshsig
from proofs.entry import VerdictEntry
from proofs.errors import CheckFailed, ProofError
from proofs.keys import PublicKey
from proofs.logged import Place, Trust
from proofs.merkle import leaf_hash
from proofs.receipt import Receipt
from proofs.verify import Outcome, Step, check_receipt, compare_receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What was handed in with a receipt: exact bytes, None where there is nothing.

    Attributes:
        signature: The receipt's own signature, armoured.
        proof: The receipt's proof file.
        report: The report, exactly as stored.
        ciphertext: The encrypted report, exactly as published.
        request: The caller's request as JSON, however it is spelled.
        output: The answer, exactly.
        verdict: What a person decided, the entry's exact bytes.
        verdict_proof: The verdict's proof file.
        corrected: The answer that the verdict corrects it to, exactly.
    """

    signature: bytes | None = None
    proof: bytes | None = None
    report: bytes | None = None
    ciphertext: bytes | None = None
    request: bytes | None = None
    output: bytes | None = None
    verdict: bytes | None = None
    verdict_proof: bytes | None = None
    corrected: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What came of it: one result per step, in order, and one sentence about all of them."""

    steps: tuple[Step, ...]
    summary: str

    @property
    def verified(self) -> bool:
        """Whether no step has failed."""
        return all(step.outcome is not Outcome.FAILED for step in self.steps)


@dataclass(slots=True, kw_only=True)
class _Case:
    """One receipt under examination: what was given, and what the steps have found so far."""

    receipt: Receipt
    data: bytes
    material: Material
    trust: Trust
    key: PublicKey | None = None
    place: Place | None = None
    signers: tuple[PublicKey, ...] = ()
    verdict: VerdictEntry | None = None


class _Skipped(Exception):
    """A step has nothing to look at; no error, and never seen outside this file."""


def verify_receipt(receipt: bytes, material: Material, trust: Trust) -> Verification:
    """Take every step that the material allows, also after one has failed.

    Args:
        receipt: The receipt's bytes, exactly as issued.
        material: What goes with it.
        trust: Whom to believe.
    """
    try:
        parsed = Receipt.from_bytes(receipt)
    except ProofError:
        steps = check_receipt(receipt)
        return Verification(steps=steps, summary=_refuted(steps[0]))
    compared = compare_receipt(
        parsed,
        report=material.report,
        request=material.request,
        output=material.output,
        ciphertext=material.ciphertext,
    )
    case = _Case(receipt=parsed, data=receipt, material=material, trust=trust)
    steps = (*compared, *_take(case))
    failed = [step for step in steps if step.outcome is Outcome.FAILED]
    return Verification(steps=steps, summary=_refuted(failed[0]) if failed else _verified(case))


def _take(case: _Case) -> Iterator[Step]:
    for number, name, step in _STEPS:
        try:
            outcome, message = Outcome.PASSED, step(case)
        except _Skipped as exc:
            outcome, message = Outcome.SKIPPED, str(exc)
        except ProofError as exc:
            outcome, message = Outcome.FAILED, exc.message
        yield Step(number=number, name=name, outcome=outcome, message=message)


def _signature(case: _Case) -> str:
    if case.material.signature is None:
        raise CheckFailed(
            "there is no signature of the receipt",
            suggested_action="Ask the issuer for the receipt's .sig file.",
        )
    key = sshsig.verify(
        case.material.signature, namespace=sshsig.RECEIPT_NAMESPACE, message=case.data
    )
    case.trust.allowed.require(
        key,
        principal=case.receipt.worker_ens,
        namespace=sshsig.RECEIPT_NAMESPACE,
        at=_seconds(case.receipt.timestamp),
    )
    case.key = key
    return f"by {key.fingerprint} as {case.receipt.worker_ens}"


def _proof(case: _Case) -> str:
    if case.material.proof is None:
        raise _Skipped("no proof was given")
    case.place = logged.read_place(case.material.proof)
    return f"leaf {case.place.proof.index}, a checkpoint of {case.place.checkpoint.size} leaves"


def _inclusion(case: _Case) -> str:
    place = _place(case)
    logged.check_inclusion(place, leaf_hash(case.data))
    return f"the receipt leads to the root {place.checkpoint.root.hex()}"


def _checkpoint(case: _Case) -> str:
    place = _place(case)
    written = _seconds(case.receipt.timestamp)
    case.signers = logged.signers_of(place, case.receipt.worker_ens, case.trust, at=written)
    shown = " and ".join(key.fingerprint for key in case.signers)
    return f"of {place.checkpoint.origin}, signed by {shown}"


def _revocation(case: _Case) -> str:
    if not case.trust.revocations:
        raise _Skipped("no revocations were given")
    if case.key is None and not case.signers:
        raise _Skipped("no key is relied on")
    if case.key is not None:
        logged.check_key(case.key, case.place, case.trust.revocations)
    if case.place is not None and case.signers:
        logged.check_signers(case.signers, case.place, case.trust.revocations)
    return f"none of {len(case.trust.revocations)} stands against this"


def _witnesses(case: _Case) -> str:
    if case.trust.policy is None:
        raise _Skipped("no policy was given")
    if case.material.proof is not None:
        _place(case)
    return logged.check_quorum(case.place, case.trust.policy)


def _verdict(case: _Case) -> str:
    given = case.material
    if given.verdict is None and given.verdict_proof is None and given.corrected is None:
        raise _Skipped("no verdict was given")
    if given.verdict is None or given.verdict_proof is None:
        lacking = "verdict" if given.verdict is None else "proof of the verdict"
        raise CheckFailed(
            f"there is no {lacking}",
            suggested_action="Ask for both: nothing but its log vouches for a verdict.",
        )
    entry = judged.read_verdict(given.verdict, case.receipt)
    place = logged.read_place(given.verdict_proof)
    logged.check_inclusion(place, entry.leaf_hash)
    decided = _seconds(entry.timestamp)
    signers = logged.signers_of(place, case.receipt.worker_ens, case.trust, at=decided)
    logged.check_signers(signers, place, case.trust.revocations)
    if case.trust.policy is not None:
        logged.check_quorum(place, case.trust.policy)
    if given.corrected is not None:
        judged.check_corrected(entry, given.corrected, given.report)
    case.verdict = entry
    return f"{entry.verdict} by a person, leaf {place.proof.index} of {place.checkpoint.origin}"


_STEPS: tuple[tuple[int, str, Callable[[_Case], str]], ...] = (
    (8, "signature", _signature),
    (9, "proof", _proof),
    (10, "inclusion", _inclusion),
    (11, "checkpoint", _checkpoint),
    (12, "revocation", _revocation),
    (13, "witnesses", _witnesses),
    (14, "verdict", _verdict),
)


def _place(case: _Case) -> Place:
    if case.place is None:
        given = case.material.proof is not None
        raise _Skipped("the proof cannot be read" if given else "no proof was given")
    return case.place


def _refuted(step: Step) -> str:
    return f"refuted in step {step.number}, {step.name}: {step.message}"


def _verified(case: _Case) -> str:
    judgement = "" if case.verdict is None else f" {case.verdict.verdict} by a person,"
    if case.place is None:
        found = "signed, not yet logged"
    else:
        found = f"logged as leaf {case.place.proof.index} of {case.place.checkpoint.origin}"
    name = case.receipt.worker_ens
    return f"verified: answered by the model,{judgement} {found}; by {name}"


def _seconds(timestamp: str) -> int:
    return int(datetime.fromisoformat(timestamp).timestamp())
