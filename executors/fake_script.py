"""What a fake engine does, as a value: read from Python or from JSON, the same words in both.

A script is a way to load and a list of rules. For each request the first rule that applies decides;
a rule applies to prompts with a marker in them, to a range of requests (counted from 0 since the
load), or to a time (seconds since the load). A rule with `once` applies a single time among all
processes that share its script: `once` names a file that marks it. Without a rule that applies, the
answer is `ok`.

```json
{"load": {"seconds": 0.5, "steps": 5},
 "rules": [{"marker": "poison", "do": "kill", "after_tokens": 3},
           {"until_s": 2.0, "do": "hang"},
           {"answers": [{"text": "A", "weight": 3}, {"text": "B"}], "token_s": 0.01}]}
```

| do | what happens |
| --- | --- |
| `answer` | one of `answers`, by weight and the sample's seed; the likeliest at temperature 0 |
| `garbage` | text that is no JSON and no language, drawn from the seed |
| `hang` | nothing, for ever |
| `error` | an `Error` event with `code`, `message` and `retriable` |
| `die` | the engine is dead, for this request and all others, now and later |
| `exit`, `kill` | the whole process ends: `os._exit(exit_code)`, or SIGKILL |

Everything but `answer` and `garbage` happens after `after_tokens` tokens of the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from executors.errors import EngineStartFailed


class Action(StrEnum):
    """What a rule does."""

    ANSWER = "answer"
    GARBAGE = "garbage"
    HANG = "hang"
    ERROR = "error"
    DIE = "die"
    EXIT = "exit"
    KILL = "kill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One possible answer; `weight` is its share of all answers' weights."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What to do with which requests.

    `first_token_s` passes before the first token and `token_s` before each further one.
    """

    do: Action = Action.ANSWER
    answers: tuple[Answer, ...] = (Answer(text="ok"),)
    marker: str | None = None
    once: str | None = None
    from_request: int = 0
    until_request: int | None = None
    from_s: float = 0.0
    until_s: float | None = None
    first_token_s: float = 0.0
    token_s: float = 0.0
    after_tokens: int = 0
    code: str = "FAKE_ERROR"
    message: str = "the script says so"
    retriable: bool = True
    exit_code: int = 1

    def applies(self, *, prompt: str, number: int, elapsed_s: float) -> bool:
        """Whether this rule decides about a request."""
        return (
            (self.marker is None or self.marker in prompt)
            and self.from_request <= number
            and (self.until_request is None or number < self.until_request)
            and self.from_s <= elapsed_s
            and (self.until_s is None or elapsed_s < self.until_s)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How the load goes: how long, in how many steps of progress, and how it fails.

    `fails` is None, `start` or `memory`; the sizes belong to `memory` and are bytes.
    """

    seconds: float = 0.0
    steps: int = 1
    fails: str | None = None
    message: str = "the script says so"
    required_bytes: int = 16 * 1024**3
    available_bytes: int = 8 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A fake engine's behaviour."""

    load: Load = Load()
    rules: tuple[Rule, ...] = ()


def read_script(path: Path) -> Script:
    """Read a script from a JSON file; `EngineStartFailed` names what is wrong with it."""
    try:
        return parse_script(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise EngineStartFailed(
            f"the fake engine's script {path} cannot be used: {error}",
            suggested_action="Correct the script; executors/fake_script.py says what it may hold.",
            details={"script": str(path)},
        ) from error


def parse_script(value: Any) -> Script:
    """Build a script from JSON values; raises `ValueError` or `TypeError`."""
    top = _known(Script, value)
    return Script(
        load=Load(**_known(Load, top.get("load", {}))),
        rules=tuple(_parse_rule(rule) for rule in top.get("rules", [])),
    )


def _parse_rule(value: Any) -> Rule:
    known = dict(_known(Rule, value))
    if "do" in known:
        known["do"] = Action(known["do"])
    if "answers" in known:
        known["answers"] = tuple(Answer(**_known(Answer, answer)) for answer in known["answers"])
    return Rule(**known)


def _known(kind: type[Any], value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{kind.__name__.lower()} is {value!r}; an object is needed")
    unknown = set(value) - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"{kind.__name__.lower()} does not know {', '.join(sorted(unknown))}")
    return value
