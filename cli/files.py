"""`honeyflow hash`: the input hash of a request file, as the receipt has it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proofs import parse_json, sha256_digest
from tasks import payloads
from tasks.errors import RequestInvalid


def hash_request(
    file: Annotated[Path, typer.Argument(help="A JSON file with the request's fields.")],
) -> None:
    """Print the `input_hash` that a job with this request has."""
    try:
        fields = parse_json(file.read_bytes())
    except OSError as error:
        raise RequestInvalid(f"{file} cannot be read: {error.strerror}.") from error
    if not isinstance(fields, dict):
        raise RequestInvalid(f"{file} holds no JSON object.")
    typer.echo(sha256_digest(payloads.parse_request(fields).to_bytes()))
