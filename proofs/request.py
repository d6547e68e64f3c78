"""A request as the ledger holds it: the bytes that `input_hash` hashes.

`request_bytes` makes them from the caller's own file, however that is spelled:

1. `v`, the payload's version, is 1 where it is left out;
2. a null member is as good as none: in the request, its `response_format`, and its `json_schema`;
3. the rest is as the caller wrote it, in RFC 8785 form; no default of an issuer is written in.

Whether the issuer would accept such a request is not looked at.
"""

from __future__ import annotations

from proofs.canonical import JsonValue, canonical, parse
from proofs.errors import CanonicalError
from proofs.hashing import sha256_digest

REQUEST_VERSION = 1


def request_bytes(data: bytes) -> bytes:
    """Return the request's canonical bytes, made from the caller's JSON.

    Raises:
        CanonicalError: The data is not strict JSON, or no object.
    """
    given = parse(data)
    if not isinstance(given, dict):
        raise CanonicalError(
            "a request is a JSON object",
            suggested_action="Give the file with the request's fields, such as model and prompt.",
        )
    request = _without_nulls(given)
    answer_format = request.get("response_format")
    if isinstance(answer_format, dict):
        answer_format = _without_nulls(answer_format)
        schema = answer_format.get("json_schema")
        if isinstance(schema, dict):
            answer_format["json_schema"] = _without_nulls(schema)
        request["response_format"] = answer_format
    return canonical({"v": REQUEST_VERSION, **request})


def input_hash(data: bytes) -> str:
    """Return the `input_hash` of the request in the caller's JSON."""
    return sha256_digest(request_bytes(data))


def is_sensitive(data: bytes) -> bool:
    """Return whether the request in the caller's JSON asks for salted hashes."""
    given = parse(data)
    return isinstance(given, dict) and given.get("sensitive") is True


def _without_nulls(members: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {name: value for name, value in members.items() if value is not None}
