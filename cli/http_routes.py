"""What a small HTTP server is asked and answers, and the table of what it answers to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

TEXT_TYPE = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose body has arrived; header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a route answers."""

    status: int
    body: bytes
    content_type: str = TEXT_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


Route = tuple[str, str]
"""A method and a path."""

Routes = Mapping[Route, Callable[[Request], Answer]]


def text_answer(status: int, sentence: str, **headers: str) -> Answer:
    """A sentence, as plain text."""
    return Answer(status=status, body=f"{sentence}\n".encode(), headers=headers)
