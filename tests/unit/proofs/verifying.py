"""Verifying the receipt of `issued`, and what a test says to that."""

from __future__ import annotations

from dataclasses import replace

from proofs import Outcome
from proofs.allowed_signers import AllowedSigners
from proofs.keys import PrivateKey
from proofs.logged import Trust
from proofs.verification import Material, Verification, verify_receipt
from tests.unit.proofs import issued
from tests.unit.proofs.issued import SIZE, material, trust
from tests.unit.proofs.signers import BEE, KEY, ORIGIN

DATA = issued.RECEIPT.to_bytes()
PROOF = issued.proof()
WITNESSES = {issued.WITNESS_NAME: issued.WITNESS}
OPENSSH = KEY.public_key.to_openssh()
# A key for receipts alone.
SIGNING = f'{BEE} namespaces="swarm-receipt" {OPENSSH}'


def verify(given: Material | None = None, believed: Trust | None = None) -> Verification:
    return verify_receipt(DATA, given or material(), believed or trust())


def fault(given: Material | None = None, believed: Trust | None = None) -> tuple[int, str]:
    """The one step that failed, and what it says; the rest must not have."""
    result = verify(given, believed)
    (failed,) = [step for step in result.steps if step.outcome is Outcome.FAILED]
    assert not result.verified
    assert result.summary == f"refuted in step {failed.number}, {failed.name}: {failed.message}"
    return failed.number, failed.message


def allowing(line: str) -> Trust:
    return Trust(allowed=AllowedSigners.parse(line.encode() + b"\n"))


def checkpointed(*keys: PrivateKey, origin: str = ORIGIN) -> Material:
    note = issued.checkpoint(issued.head(SIZE, origin=origin), *keys)
    return material(proof=replace(PROOF, checkpoint=note).to_bytes())


def expiring(before: str, *, after: str = "", key: PrivateKey = KEY) -> str:
    window = f'valid-before="{before}"' + (f',valid-after="{after}"' if after else "")
    return f'{BEE} namespaces="swarm-merkle",{window} {key.public_key.to_openssh()}'
