"""The receipt of one job: twelve fields, one sequence of bytes, one id.

A receipt is the RFC 8785 form of a JSON object with exactly these fields. It holds no floats, so
every implementation writes the same bytes.

- `job_id`: the job's id in the ledger, which is its Celery task id: a UUID, lower case, hyphenated.
- `worker_ens`: the name of the worker that answered, the one its key is published under.
- `model`: the name of the model that answered.
- `input_hash`: digest of the UTF-8 bytes of the RFC 8785 request as entered in the ledger;
  `python -m proofs hash --request FILE` reproduces it from the caller's own file, in which `v` may
  be left out (see `proofs.request`).
- `output_hash`: digest of the text, in UTF-8, of the accepted representative: the answer.
- `report_hash`: digest of the stored report's exact bytes. The companion (model digest, sampler
  settings, digests of all samples, policy, profile, fence) is a member of the report, so that this
  one hash covers it.
- `inference_time_ms`: wall time from claim to commit, in whole milliseconds.
- `confidence_score`: floor(100 x confidence), 0 to 100.
- `k_samples`: how many samples were counted for the answer, invalid ones included.
- `timestamp`: the store's clock at the commit, in UTC: `YYYY-MM-DDTHH:MM:SSZ`.
- `epoch`: the configured settlement epoch, an integer, 0 unless configured.
- `ipfs_cid`: the CID of exactly the stored report's bytes, computed before the receipt is written
  and whether or not the report is ever uploaded.

The receipt's id is `sha256:` of its bytes; its leaf in a Merkle log (RFC 9162) is SHA-256 of a zero
byte and its bytes. Signatures and the log do not live here, and add no field.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Self

from proofs.canonical import MAX_SAFE_INTEGER, parse_canonical
from proofs.cid import cid_bytes
from proofs.errors import CanonicalError, CidError, ReceiptInvalid
from proofs.hashing import is_digest, sha256_digest

# An entry of a tiled transparency log carries its length in two bytes.
MAX_RECEIPT_BYTES = 65_535
MAX_NAME_CHARACTERS = 255

# With string and integer members alone, in the order of their names, this is RFC 8785's form, at a
# third of the cost of the encoder that knows every case.
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was asked, what was answered, by whom and when. The module defines each field.

    Raises:
        ReceiptInvalid: A field breaks its form; the message begins with the field's name.
    """

    job_id: str
    worker_ens: str
    model: str
    input_hash: str
    output_hash: str
    report_hash: str
    inference_time_ms: int
    confidence_score: int
    k_samples: int
    timestamp: str
    epoch: int
    ipfs_cid: str

    def __post_init__(self) -> None:
        """Refuse a value that is not of its field's form."""
        _check_uuid("job_id", self.job_id)
        _check_origin("worker_ens", self.worker_ens)
        _check_name("model", self.model)
        _check_digest("input_hash", self.input_hash)
        _check_digest("output_hash", self.output_hash)
        _check_digest("report_hash", self.report_hash)
        _check_integer("inference_time_ms", self.inference_time_ms, least=0)
        _check_integer("confidence_score", self.confidence_score, least=0, most=100)
        _check_integer("k_samples", self.k_samples, least=1)
        _check_timestamp("timestamp", self.timestamp)
        _check_integer("epoch", self.epoch, least=0)
        _check_cid("ipfs_cid", self.ipfs_cid)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read a receipt from exactly the bytes that `to_bytes` makes.

        Raises:
            ReceiptInvalid: The bytes are not canonical JSON, hold another set of fields than the
                twelve, or a field breaks its form.
        """
        if len(data) > MAX_RECEIPT_BYTES:
            raise _invalid(f"a receipt has at most {MAX_RECEIPT_BYTES} bytes, not {len(data)}")
        try:
            value = parse_canonical(data)
        except CanonicalError as exc:
            raise _invalid(f"the receipt cannot be read: {exc.message}") from exc
        if not isinstance(value, dict):
            raise _invalid("a receipt is a JSON object")
        missing = [name for name in RECEIPT_FIELDS if name not in value]
        if missing:
            raise _invalid("the receipt lacks " + ", ".join(missing))
        unknown = sorted(value.keys() - set(RECEIPT_FIELDS))
        if unknown:
            raise _invalid("a receipt has no field " + ", ".join(_shown(name) for name in unknown))
        # Types are what __post_init__ checks, so that both ways in give the same messages.
        return cls(**value)  # type: ignore[arg-type]

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: what is stored, signed, hashed and logged."""
        return _ENCODER.encode({name: getattr(self, name) for name in RECEIPT_FIELDS}).encode()

    @property
    def digest(self) -> str:
        """The receipt's id: `sha256:` of its bytes."""
        return sha256_digest(self.to_bytes())

    @property
    def leaf_hash(self) -> bytes:
        """The 32-byte RFC 9162 leaf hash: SHA-256 of 0x00 and the receipt's bytes."""
        return hashlib.sha256(b"\x00" + self.to_bytes()).digest()


RECEIPT_FIELDS = tuple(field.name for field in fields(Receipt))


def confidence_score(confidence: float) -> int:
    """Return floor(100 x confidence) for a confidence in 0..1.

    The product is taken in decimal, from the shortest text that names the float. In binary
    100 * 0.29 is 28.999999999999996, and a floor of that would report 28.

    Raises:
        ReceiptInvalid: `confidence` is not within 0..1.
    """
    if not 0 <= confidence <= 1:
        raise _invalid(f"confidence_score: {confidence!r} is not a confidence within 0..1")
    return math.floor(Decimal(repr(float(confidence))) * 100)


def timestamp(epoch_seconds: float) -> str:
    """Return a time given in seconds since 1970 (UTC) as `YYYY-MM-DDTHH:MM:SSZ`, rounded down.

    Raises:
        ReceiptInvalid: The time is not a finite number within the years 1 to 9999.
    """
    try:
        moment = datetime.fromtimestamp(math.floor(epoch_seconds), UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise _invalid(f"timestamp: {epoch_seconds!r} is not a time in seconds") from exc
    # %Y does not pad years below 1000 on every platform; isoformat does.
    return moment.replace(tzinfo=None).isoformat() + "Z"


def require_worker_name(name: str) -> str:
    """Return a name that can be a receipt's `worker_ens`, unchanged.

    Raises:
        ReceiptInvalid: It cannot; a receipt under it would break its form.
    """
    _check_origin("worker_ens", name)
    return name


def _check_uuid(field: str, value: object) -> None:
    try:
        if isinstance(value, str) and str(uuid.UUID(value)) == value:
            return
    except ValueError:
        pass
    raise _broken(field, value, "is not a UUID in its lower-case, hyphenated form")


def _check_name(field: str, value: object) -> None:
    if (
        isinstance(value, str)
        and 0 < len(value) <= MAX_NAME_CHARACTERS
        and value.isprintable()
        and value == value.strip()
    ):
        return
    raise _broken(field, value, f"is not a name of 1 to {MAX_NAME_CHARACTERS} printable characters")


def _check_origin(field: str, value: object) -> None:
    _check_name(field, value)
    # The name begins the origin line of a checkpoint and the name of its key, which exclude these.
    if any(character in str(value) for character in " +/"):
        raise _broken(field, value, "contains a space, a plus sign or a slash")


def _check_digest(field: str, value: object) -> None:
    if not is_digest(value):
        raise _broken(field, value, "is not sha256: and 64 lower-case hexadecimal digits")


def _check_integer(field: str, value: object, *, least: int, most: int = MAX_SAFE_INTEGER) -> None:
    # bool is an int in Python, but true is not a number in JSON.
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _broken(field, value, f"is not an integer from {least} to {most}")


def _check_timestamp(field: str, value: object) -> None:
    if not isinstance(value, str) or _TIMESTAMP.fullmatch(value) is None:
        raise _broken(field, value, "is not of the form YYYY-MM-DDTHH:MM:SSZ")
    try:
        datetime.fromisoformat(value)
    except ValueError as exc:
        raise _broken(field, value, "is not a date and time that exist") from exc


def _check_cid(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise _broken(field, value, "is not a CID")
    try:
        cid_bytes(value)
    except CidError as exc:
        raise _invalid(f"{field}: {exc.message}", field=field) from exc


def _shown(value: object) -> str:
    if isinstance(value, str):
        return ascii(value[:80])
    # A huge integer cannot be written out, and what a container holds is no help here.
    if value is None or isinstance(value, float) or (isinstance(value, int) and _is_short(value)):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _is_short(value: int) -> bool:
    return abs(value) < 10**20


def _broken(field: str, value: object, reason: str) -> ReceiptInvalid:
    return _invalid(f"{field}: {_shown(value)} {reason}", field=field)


def _invalid(message: str, *, field: str | None = None) -> ReceiptInvalid:
    return ReceiptInvalid(
        message,
        suggested_action="Use the receipt exactly as it was issued.",
        details={"field": field} if field else None,
    )
