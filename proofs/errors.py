"""What can be wrong with a proof or with what it is made from.

ProofError
├── CanonicalError     a value without a canonical JSON form, or bytes that are not strict JSON
├── SaltInvalid        a salt too short to hide what it salts
├── CidError           not a content identifier of a known profile, or no such profile
├── ReceiptInvalid     a receipt, or a value meant for one, that breaks its form; names the field
├── ReportInvalid      a report, or a value meant for one, that breaks its form
├── MerkleInvalid      hashes that make no such tree, or a proof that does not lead where it should
│   └── TreesDisagree  two implementations made different trees of the same leaves
├── OriginInvalid      not the name of a log
├── EntryInvalid       a leaf of a log that is no receipt and no other entry, or breaks its form
├── ManifestInvalid    a batch manifest that breaks its form or contradicts itself
├── TlogProofInvalid   a proof file that breaks its form
├── KeyInvalid         not an Ed25519 key of OpenSSH's form
│   ├── PassphraseNeeded   the private key is encrypted and nothing unlocks it
│   └── PassphraseWrong    the passphrase does not unlock it
├── SignatureInvalid   a signature that is malformed, of another key or over other bytes
├── AllowedSignersInvalid  a file of allowed signers that cannot be relied on; names the line
├── SignerRefused      a good signature by a key that may not make it
├── NoteInvalid        not a signed note, or not a key of one
│   └── CheckpointInvalid  a note whose text is not the head of a log
├── PolicyInvalid      a witness policy that cannot be relied on; names the line
├── LogUnlisted        a checkpoint of a log that the policy does not list
├── QuorumMissing      a checkpoint that too few witnesses have cosigned
├── RevocationInvalid  not the revocation of a key
├── WitnessRequestInvalid  not a request to a witness that can be read
├── CosignatureInvalid     an answer of a witness without its good cosignature
├── IpfsError          the IPFS node did not do what was asked
│   ├── IpfsAddressInvalid  not the address of a node
│   ├── IpfsUnavailable     it cannot be reached, or breaks off
│   ├── IpfsTimeout         no whole answer within the time
│   ├── IpfsRedirected      it sends us elsewhere, which is never followed
│   ├── IpfsRefused         it answers that it will not
│   └── IpfsAnswerInvalid   its answer is not a node's
├── EncryptionFailed   bytes that could not be encrypted or decrypted
│   └── RecipientInvalid    not a key that can be encrypted to
├── FileUnreadable     a file that the command line was given cannot be read
├── FileTooLarge       it has more bytes than its kind can have
├── ExtraMissing       an optional package that is needed for this is not installed
└── CheckFailed        well-formed, but not what the receipt vouches for
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ProofError(Exception):
    """Something wrong with a proof; `code` is stable, the message is for people."""

    code = "PROOF_ERROR"
    retriable = False
    http_status = 500
    exit_code = 1

    def __init__(
        self, message: str, *, suggested_action: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.suggested_action = suggested_action
        self.details = dict(details or {})


class CanonicalError(ProofError):
    """The value has no RFC 8785 form, or the bytes are not strict JSON."""

    code = "CANONICAL_INVALID"
    http_status = 400


class SaltInvalid(ProofError):
    """The salt is too short to keep a guessable text from being guessed."""

    code = "SALT_INVALID"


class CidError(ProofError):
    """The text is no content identifier that these profiles make, or the profile is unknown."""

    code = "CID_INVALID"
    http_status = 400


class ReceiptInvalid(ProofError):
    """The receipt breaks its form; `details["field"]` names the field where there is one."""

    code = "RECEIPT_INVALID"
    http_status = 400


class ReportInvalid(ProofError):
    """The report breaks its form; `details["field"]` names the member where there is one."""

    code = "REPORT_INVALID"
    http_status = 400


class MerkleInvalid(ProofError):
    """The hashes make no such tree, or the proof does not lead where it should."""

    code = "MERKLE_INVALID"
    http_status = 409


class TreesDisagree(MerkleInvalid):
    """Two implementations made different trees of the same leaves; neither may be signed."""

    code = "TREES_DISAGREE"
    http_status = 500


class OriginInvalid(ProofError):
    """The text is not the name of a log: a worker's name, a slash and a UUID."""

    code = "ORIGIN_INVALID"
    http_status = 400


class EntryInvalid(ProofError):
    """The leaf breaks the form of its type; `details["field"]` names the member if there is one."""

    code = "ENTRY_INVALID"
    http_status = 400


class ManifestInvalid(ProofError):
    """The batch manifest breaks its form or contradicts itself; `details["field"]` says where."""

    code = "MANIFEST_INVALID"
    http_status = 400


class TlogProofInvalid(ProofError):
    """The proof file breaks the form of C2SP tlog-proof."""

    code = "TLOG_PROOF_INVALID"
    http_status = 400


class FileUnreadable(ProofError):
    """A file that the command line was given cannot be opened or read."""

    code = "FILE_UNREADABLE"
    http_status = 400


class FileTooLarge(ProofError):
    """A file that the command line was given has more bytes than its kind can have."""

    code = "FILE_TOO_LARGE"
    http_status = 413


class CheckFailed(ProofError):
    """What was handed in is not what the receipt vouches for."""

    code = "CHECK_FAILED"
    http_status = 409


class KeyInvalid(ProofError):
    """The bytes or the text are not an Ed25519 key of OpenSSH's form."""

    code = "KEY_INVALID"
    http_status = 400


class PassphraseNeeded(KeyInvalid):
    """The private key is encrypted, and nothing was given that unlocks it."""

    code = "PASSPHRASE_NEEDED"


class PassphraseWrong(KeyInvalid):
    """The passphrase does not unlock the private key."""

    code = "PASSPHRASE_WRONG"


class SignatureInvalid(ProofError):
    """The signature is malformed, was made by another key, or is over other bytes."""

    code = "SIGNATURE_INVALID"
    http_status = 409


class AllowedSignersInvalid(ProofError):
    """The file of allowed signers cannot be relied on; `details["line"]` is where."""

    code = "ALLOWED_SIGNERS_INVALID"
    http_status = 400


class SignerRefused(ProofError):
    """The signature is good, but its key may not make it; `details["reason"]` says why."""

    code = "SIGNER_REFUSED"
    http_status = 409


class NoteInvalid(ProofError):
    """The bytes are no signed note, or the text is no verifier key."""

    code = "NOTE_INVALID"
    http_status = 400


class CheckpointInvalid(NoteInvalid):
    """The note's text is not origin, size and root of a log."""

    code = "CHECKPOINT_INVALID"


class PolicyInvalid(ProofError):
    """The witness policy cannot be relied on; `details["line"]` is where."""

    code = "POLICY_INVALID"
    http_status = 400


class LogUnlisted(ProofError):
    """The checkpoint is signed by none of the logs that the policy lists."""

    code = "LOG_UNLISTED"
    http_status = 409


class QuorumMissing(ProofError):
    """Fewer witnesses have cosigned the checkpoint than the policy asks for."""

    code = "QUORUM_MISSING"
    http_status = 409


class RevocationInvalid(ProofError):
    """The revocation of a key breaks its form; `details["field"]` names the member."""

    code = "REVOCATION_INVALID"
    http_status = 400


class WitnessRequestInvalid(ProofError):
    """The bytes are no request to add a checkpoint."""

    code = "WITNESS_REQUEST_INVALID"
    http_status = 400


class CosignatureInvalid(ProofError):
    """The witness's answer holds no cosignature of its key over this checkpoint."""

    code = "COSIGNATURE_INVALID"
    http_status = 409


class IpfsError(ProofError):
    """The IPFS node did not do what was asked; nothing is lost, and it can be asked again."""

    code = "IPFS_FAILED"
    http_status = 502


class IpfsAddressInvalid(IpfsError):
    """The text is not the address of an IPFS node."""

    code = "IPFS_ADDRESS_INVALID"
    http_status = 400


class IpfsUnavailable(IpfsError):
    """The IPFS node cannot be reached, or breaks off in the middle of its answer."""

    code = "IPFS_UNAVAILABLE"


class IpfsTimeout(IpfsError):
    """The IPFS node gave no whole answer within the time."""

    code = "IPFS_TIMEOUT"
    http_status = 504


class IpfsRedirected(IpfsError):
    """The IPFS node answers with a redirect; following it would lose the file without a word."""

    code = "IPFS_REDIRECTED"


class IpfsRefused(IpfsError):
    """The IPFS node answers with an error; `details["status"]` is its HTTP status."""

    code = "IPFS_REFUSED"


class IpfsAnswerInvalid(IpfsError):
    """The answer is not one of an IPFS node, or is longer than one may be."""

    code = "IPFS_ANSWER_INVALID"


class EncryptionFailed(ProofError):
    """The bytes could not be encrypted, or not be decrypted with the keys given."""

    code = "ENCRYPTION_FAILED"


class RecipientInvalid(EncryptionFailed):
    """The text is not a public key that can be encrypted to."""

    code = "RECIPIENT_INVALID"
    http_status = 400


class ExtraMissing(ProofError):
    """An optional package that is needed for this is not installed."""

    code = "EXTRA_MISSING"
