"""JSON that is made to hurt its reader: refused with a code, and at once, where we read it."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from proofs import parse_json
from tasks import payloads
from tests.chaos.reporting import Report, fault

DEPTHS = (33, 100, 1_000, 100_000)
REQUEST = {"model": "fake-a", "prompt": "x"}


def nested(depth: int) -> Any:
    """Lists in lists."""
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


def shared() -> Any:
    """A value of a few kilobytes that is as wide as the world when it is written out."""
    made: Any = [1]
    for _ in range(30):
        made = [made] * 10
    return made


def looped() -> Any:
    """A list that holds itself."""
    made: list[Any] = []
    made.append(made)
    return made


TEXTS: dict[str, Callable[[], bytes]] = {
    **{f"lists {n} deep": lambda n=n: b"[" * n + b"]" * n for n in DEPTHS},
    **{f"objects {n} deep": lambda n=n: b'{"a":' * n + b"1" + b"}" * n for n in DEPTHS},
    "unclosed": lambda: b"[" * 100_000,
    "a million keys": lambda: b"{" + b",".join(b'"%d":1' % i for i in range(10**6)) + b"}",
    "a million objects": lambda: b"[" + b'{"k":1},' * 10**6 + b"1]",
    "a key twice": lambda: b'{"model": "a", "model": "b"}',
    "NaN": lambda: b'{"a": NaN}',
    "Infinity": lambda: b'{"a": -Infinity}',
    "4,000 digits": lambda: b'{"a": ' + b"9" * 4_000 + b"}",
    "a million digits": lambda: b"9" * 10**6,
    "a huge exponent": lambda: b'{"a": 1e309}',
    "quotes without end": lambda: b'"' * 99_999,
    "escapes without end": lambda: b'"' + b"\\" * 99_999,
}
VALUES: dict[str, tuple[Callable[[], Any], str]] = {
    **{
        f"{n} deep": (lambda n=n: {"agreement": {"a": nested(n)}}, "REQUEST_TOO_DEEP")
        for n in (31, 100, 1_000, 100_000)
    },
    "looped": (lambda: {"agreement": looped()}, "REQUEST_TOO_DEEP"),
    "shared": (lambda: {"agreement": {"a": shared()}}, "REQUEST_TOO_LARGE"),
    "a million keys": (
        lambda: {"metadata": {str(i): "" for i in range(10**6)}},
        "REQUEST_TOO_MANY_KEYS",
    ),
    "10,000 keys": (
        lambda: {"metadata": {str(i): "" for i in range(10**4)}},
        "REQUEST_TOO_MANY_KEYS",
    ),
    "NaN": (lambda: {"temperature": float("nan")}, "REQUEST_INVALID"),
}


def refusal(read: Callable[[Any], Any], value: Any) -> tuple[str, float, float]:
    """The code of what refuses it, after how many milliseconds, and with how many megabytes."""
    began = time.perf_counter()
    code = code_of(read, value)
    took = 1000 * (time.perf_counter() - began)
    tracemalloc.start()
    code_of(read, value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return code, took, peak / 2**20


def code_of(read: Callable[[Any], Any], value: Any) -> str:
    """What an error calls itself."""
    try:
        read(value)
    except Exception as error:
        return str(getattr(error, "code", type(error)))
    return "accepted"


@fault("T72", "JSON too deep, too wide, doubtful or endless", required="a code, < 50 ms, < 20 MB")
def test_hostile_json_is_refused_at_once(report: Report) -> None:
    """By the one parser that reads JSON for us."""
    told = {name: refusal(parse_json, make()) for name, make in TEXTS.items()}

    slowest = max(told.values(), key=lambda one: one[1])
    # A text of a million keys is decoded as a whole before it is looked at: that is its own size.
    sizes = {name: len(make()) / 2**20 for name, make in TEXTS.items()}
    most = max(peak - sizes[name] for name, (_, _, peak) in told.items())
    report(f"{len(told)} refused, {slowest[1]:.0f} ms and {most:.0f} MB at most")
    assert {"CANONICAL_INVALID"} == {code for code, _, _ in told.values()}
    assert slowest[1] < 50
    assert most < 20


@fault("T72", "requests too deep, too wide or without end", required="a code, < 50 ms, < 20 MB")
def test_hostile_requests_are_refused_at_once(report: Report) -> None:
    """Also where no JSON was read: a program's own values."""
    told = {}
    for name, (make, code) in VALUES.items():
        fields = {**REQUEST, **make()}
        told[name] = (code, *refusal(payloads.parse_request, fields))

    slowest, most = max(one[2] for one in told.values()), max(one[3] for one in told.values())
    report(f"{len(told)} refused, {slowest:.0f} ms and {most:.0f} MB at most")
    assert {} == {name: one for name, one in told.items() if one[0] != one[1]}
    assert slowest < 50
    assert most < 20


def test_what_is_entered_can_be_read_again() -> None:
    """The limits of a request are those of its stored bytes."""
    deepest = {**REQUEST, "agreement": {"a": nested(30)}}
    widest = {**REQUEST, "metadata": {str(i): "" for i in range(9_996)}}

    for fields in (deepest, widest):
        request = payloads.parse_request(fields)
        assert request == payloads.request_from_bytes(request.to_bytes())


@pytest.mark.parametrize("name", ["lists 100000 deep", "a million keys", "a key twice"])
def test_a_hostile_file_is_refused_by_the_command(name: str, tmp_path: Path) -> None:
    """`honeyflow hash` reads the file that somebody else wrote."""
    file = tmp_path / "request.json"
    file.write_bytes(TEXTS[name]())

    told = CliRunner().invoke(app, ["hash", str(file)])

    assert ("", "CANONICAL_INVALID") == (told.stdout, getattr(told.exception, "code", None))
