"""The report of one job: a JSON document for people whose exact stored bytes `report_hash` hashes.

The document is readable (indented, sorted keys, real characters) and deterministic: the same values
give the same bytes. Unlike a receipt it may hold floats, and nobody needs to write it a second time
to check it, so RFC 8785 is not asked of it. Members: `v` (1), `job_id`, `request` (as entered in
the ledger), `answer` (the text of the accepted representative), `samples` (what was drawn) and
`companion` (how it was drawn, see `proofs.companion`). A report whose receipt has salted hashes
also has `salt`, 64 hexadecimal digits: `input_hash` and `output_hash` are then HMAC-SHA-256 under
those 32 bytes, and nobody can guess the report's own hash. HTML is `proofs.page`; storage does not
live here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from json.encoder import encode_basestring

from proofs.canonical import MAX_DEPTH, MAX_KEYS, JsonValue, is_exact_integer, parse
from proofs.companion import ENCRYPTIONS, Companion
from proofs.errors import CanonicalError, ReportInvalid
from proofs.hashing import sha256_digest

REPORT_VERSION = 1
SALT_BYTES = 32

# A request at its own limits must still fit, wrapped, with every sample beside it.
_MAX_DEPTH = MAX_DEPTH + 8
_MAX_KEYS = 4 * MAX_KEYS
_MEMBERS = ("v", "job_id", "request", "answer", "samples", "companion")
_SALT = re.compile(f"[0-9a-f]{{{2 * SALT_BYTES}}}")


def build_report(
    *,
    job_id: str,
    request: Mapping[str, object],
    answer: str,
    samples: Sequence[Mapping[str, object]],
    companion: Companion,
    salt: bytes | None = None,
) -> bytes:
    """Return the report's bytes: UTF-8, two spaces per level, sorted keys, newline at the end.

    A sample is any JSON object with an integer `index`; if it has a `text`, the companion must hold
    that text's digest under the same index. `salt` is what the receipt's hashes are salted with,
    None where they are plain.

    Raises:
        ReportInvalid: A value that JSON cannot hold, samples the companion does not vouch for, or a
            salt that is not 32 bytes long.
    """
    document: dict[str, object] = {
        "v": REPORT_VERSION,
        "job_id": job_id,
        "request": request,
        "answer": answer,
        "samples": [dict(sample) for sample in samples],
        "companion": companion.to_json(),
    }
    if salt is not None:
        if len(salt) != SALT_BYTES:
            raise _invalid(f"{len(salt)} bytes long, not {SALT_BYTES}", field="salt")
        document["salt"] = salt.hex()
    try:
        data = (written(document) + "\n").encode("utf-8")
    except UnicodeEncodeError as exc:
        raise _invalid(f"the report cannot be written as JSON: {exc}") from exc
    check_sample_digests(document)
    return data


def written(document: Mapping[str, object]) -> str:
    """Return JSON with two spaces per level and sorted keys, which `parse_report` can read.

    The same text as `json.dumps(document, ensure_ascii=False, sort_keys=True, indent=2)`, without
    its detours: every job waits for it.

    Raises:
        ReportInvalid: What JSON cannot hold, what not all readers see alike, or too much of it.
    """
    keys = 0

    def write(value: object, level: int) -> str:
        nonlocal keys
        if isinstance(value, str):
            return encode_basestring(value)
        if value is None or isinstance(value, bool | int | float):
            return _scalar(value)
        if level > _MAX_DEPTH:
            raise _invalid(f"the report is nested deeper than {_MAX_DEPTH}")
        if isinstance(value, Mapping):
            keys += len(value)
            _check_keys(value, keys)
            members = [
                f"{encode_basestring(key)}: {write(value[key], level + 1)}" for key in sorted(value)
            ]
            return _bracketed("{", members, "}", level)
        if isinstance(value, list | tuple):
            return _bracketed("[", [write(member, level + 1) for member in value], "]", level)
        raise _invalid(f"the report has a value of type {type(value).__name__}, which JSON lacks")

    return write(document, 1)


def _bracketed(opening: str, members: Sequence[str], closing: str, level: int) -> str:
    if not members:
        return opening + closing
    inner = "\n" + "  " * level
    return opening + inner + f",{inner}".join(members) + "\n" + "  " * (level - 1) + closing


def _scalar(value: object) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _invalid(f"the report cannot be written as JSON: it holds {value!r}")
        return float.__repr__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not is_exact_integer(value):
            raise _invalid("the report has an integer that does not fit a double exactly")
        return int.__repr__(value)
    return "null" if value is None else "true" if value else "false"


def _check_keys(value: Mapping[object, object], keys: int) -> None:
    if keys > _MAX_KEYS:
        raise _invalid(f"the report has more than {_MAX_KEYS} keys")
    for key in value:
        if not isinstance(key, str):
            raise _invalid(f"the report has a key of type {type(key).__name__}, not a string")


def parse_report(data: bytes) -> dict[str, JsonValue]:
    """Read a report's bytes as strict JSON of this version.

    Raises:
        ReportInvalid: Not strict JSON, another version, other members than a report has, or a salt
            out of form.
    """
    try:
        document = parse(data, max_depth=_MAX_DEPTH, max_keys=_MAX_KEYS)
    except CanonicalError as exc:
        raise _invalid(f"the report cannot be read: {exc.message}") from exc
    if not isinstance(document, dict):
        raise _invalid("a report is a JSON object")
    version = document.get("v")
    if type(version) is not int or version != REPORT_VERSION:
        raise _invalid(f"only reports of version {REPORT_VERSION} are known here")
    missing = [name for name in _MEMBERS if name not in document]
    if missing:
        raise _invalid("the report lacks " + ", ".join(missing))
    unknown = sorted(document.keys() - {*_MEMBERS, "salt"})
    if unknown:
        raise _invalid("a report has no member " + ", ".join(ascii(name[:80]) for name in unknown))
    salt_of(document)
    return document


def salt_of(document: Mapping[str, object]) -> bytes | None:
    """Return the salt of a report that was read; None where its receipt's hashes are plain.

    Raises:
        ReportInvalid: It has a salt, but not 64 lower-case hexadecimal digits.
    """
    if "salt" not in document:
        return None
    salt = document["salt"]
    if not isinstance(salt, str) or _SALT.fullmatch(salt) is None:
        raise _invalid(f"not {2 * SALT_BYTES} lower-case hexadecimal digits", field="salt")
    return bytes.fromhex(salt)


def encryption_of(document: Mapping[str, object]) -> str | None:
    """Return how a report that was read is published encrypted; None where it is not.

    Raises:
        ReportInvalid: Its companion names an encryption that is not known here.
    """
    companion = document["companion"]
    encryption = companion.get("report_encryption") if isinstance(companion, dict) else None
    if encryption is None:
        return None
    if not isinstance(encryption, str) or encryption not in ENCRYPTIONS:
        raise _invalid("the companion names no encryption known here", field="report_encryption")
    return encryption


def check_sample_digests(document: Mapping[str, object]) -> int:
    """Compare every sample text in a report with the digest its companion holds.

    Returns:
        How many texts were compared; samples without a text are not.

    Raises:
        ReportInvalid: A sample without an index or a digest, an index that is given twice, or a
            text with another digest.
    """
    companion = document["companion"]
    recorded = companion.get("samples") if isinstance(companion, dict) else None
    samples = document["samples"]
    if not isinstance(recorded, list) or not isinstance(samples, list):
        raise _invalid(
            "the report and its companion must each hold a list of them", field="samples"
        )
    digests: dict[int, object] = {}
    for entry in recorded:
        index = _index(entry)
        if index in digests:
            raise _invalid(f"the companion holds sample {index} twice", field="samples")
        digests[index] = entry.get("digest") if isinstance(entry, dict) else None
    compared = 0
    seen: set[int] = set()
    for sample in samples:
        index = _index(sample)
        if index in seen:
            raise _invalid(f"the report holds sample {index} twice", field="samples")
        seen.add(index)
        text = sample.get("text") if isinstance(sample, dict) else None
        if not isinstance(text, str):
            continue
        if digests.get(index) != sha256_digest(text.encode("utf-8")):
            raise _invalid(
                f"the companion does not hold the digest of sample {index}", field="samples"
            )
        compared += 1
    return compared


def _index(sample: object) -> int:
    index = sample.get("index") if isinstance(sample, dict) else None
    if isinstance(index, bool) or not isinstance(index, int):
        raise _invalid("every sample needs an integer index", field="samples")
    return index


def _invalid(message: str, *, field: str | None = None) -> ReportInvalid:
    return ReportInvalid(
        f"{field}: {message}" if field else message,
        suggested_action="Build reports with build_report and keep their bytes as they are.",
        details={"field": field} if field else None,
    )
