"""The report of one job: a JSON document for people whose exact stored bytes `report_hash` hashes.

The document is readable (indented, sorted keys, real characters) and deterministic: the same values
give the same bytes. Unlike a receipt it may hold floats, and nobody needs to write it a second time
to check it, so RFC 8785 is not asked of it. Members: `v` (1), `job_id`, `request` (as entered in
the ledger), `answer` (the text of the accepted representative), `samples` (what was drawn) and
`companion` (how it was drawn, see `proofs.companion`). HTML and storage do not live here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from proofs.canonical import MAX_DEPTH, MAX_KEYS, JsonValue, parse
from proofs.companion import Companion
from proofs.errors import CanonicalError, ReportInvalid
from proofs.hashing import sha256_digest

REPORT_VERSION = 1

# A request at its own limits must still fit, wrapped, with every sample beside it.
_MAX_DEPTH = MAX_DEPTH + 8
_MAX_KEYS = 4 * MAX_KEYS
_MEMBERS = ("v", "job_id", "request", "answer", "samples", "companion")


def build_report(
    *,
    job_id: str,
    request: Mapping[str, object],
    answer: str,
    samples: Sequence[Mapping[str, object]],
    companion: Companion,
) -> bytes:
    """Return the report's bytes: UTF-8, two spaces per level, sorted keys, newline at the end.

    A sample is any JSON object with an integer `index`; if it has a `text`, the companion must hold
    that text's digest under the same index.

    Raises:
        ReportInvalid: A value that JSON cannot hold, or samples the companion does not vouch for.
    """
    document = {
        "v": REPORT_VERSION,
        "job_id": job_id,
        "request": _plain(request),
        "answer": answer,
        "samples": _plain(samples),
        "companion": _plain(companion.to_json()),
    }
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=2)
        data = (text + "\n").encode("utf-8")
    except (ValueError, RecursionError) as exc:
        raise _invalid(f"the report cannot be written as JSON: {exc}") from exc
    check_sample_digests(parse_report(data))
    return data


def parse_report(data: bytes) -> dict[str, JsonValue]:
    """Read a report's bytes as strict JSON of this version.

    Raises:
        ReportInvalid: Not strict JSON, another version, or other members than a report has.
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
    unknown = sorted(document.keys() - set(_MEMBERS))
    if unknown:
        raise _invalid("a report has no member " + ", ".join(ascii(name[:80]) for name in unknown))
    return document


def check_sample_digests(document: Mapping[str, JsonValue]) -> int:
    """Compare every sample text in a report with the digest its companion holds.

    Returns:
        How many texts were compared; samples without a text are not.

    Raises:
        ReportInvalid: A sample without an index or a digest, or a text with another digest.
    """
    companion = document["companion"]
    recorded = companion.get("samples") if isinstance(companion, dict) else None
    samples = document["samples"]
    if not isinstance(recorded, list) or not isinstance(samples, list):
        raise _invalid(
            "the report and its companion must each hold a list of them", field="samples"
        )
    digests: dict[int, JsonValue] = {}
    for entry in recorded:
        digests[_index(entry)] = entry.get("digest") if isinstance(entry, dict) else None
    compared = 0
    for sample in samples:
        index = _index(sample)
        text = sample.get("text") if isinstance(sample, dict) else None
        if not isinstance(text, str):
            continue
        if digests.get(index) != sha256_digest(text.encode("utf-8")):
            raise _invalid(
                f"the companion does not hold the digest of sample {index}", field="samples"
            )
        compared += 1
    return compared


def _index(sample: JsonValue) -> int:
    index = sample.get("index") if isinstance(sample, dict) else None
    if isinstance(index, bool) or not isinstance(index, int):
        raise _invalid("every sample needs an integer index", field="samples")
    return index


def _plain(value: object, depth: int = 0) -> object:
    """Copy any mapping or sequence into what json.dumps writes without changing it."""
    if depth > _MAX_DEPTH:
        raise _invalid(f"the report is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _invalid(f"the report has a key of type {type(key).__name__}, not a string")
        return {key: _plain(member, depth + 1) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member, depth + 1) for member in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise _invalid(f"the report has a value of type {type(value).__name__}, which JSON lacks")


def _invalid(message: str, *, field: str | None = None) -> ReportInvalid:
    return ReportInvalid(
        f"{field}: {message}" if field else message,
        suggested_action="Build reports with build_report and keep their bytes as they are.",
        details={"field": field} if field else None,
    )
