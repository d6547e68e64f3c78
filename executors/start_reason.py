"""Why an engine's child process ended, read from what it wrote.

vLLM's parent process learns only that a child failed; the reason stands in the child's own log, in
prose. The root cause is the first exception there, the later ones are wrappers around it. Shortage
of memory has a few known sentences, with figures in GiB.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from executors.errors import EngineStartFailed, ExecutorError, OutOfMemory

GIB = 1024**3
MAX_REASON = 1000

# Which process wrote the line, and vLLM's level, time and place; neither belongs to the reason.
_PREFIX = re.compile(r"^\(\w[\w.-]* pid=\d+\)\s*")
_STAMP = re.compile(r"^[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\]\s?")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_EXCEPTION = re.compile(r"^(?:[a-zA-Z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit|Interrupt): .+")
_WRAPPERS = (
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "EngineCore failed to start",
    "EngineCore encountered an issue",
)
# How pydantic wraps a sentence about a setting.
_VALIDATION = re.compile(r"\d+ validation errors? for \w+ .*?Value error, (.*?) \[type=", re.DOTALL)
_NUMBER = r"(\d+(?:\.\d+)?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPattern:
    """A known sentence about missing memory, with the groups that hold the figures in GiB."""

    pattern: re.Pattern[str]
    required: int | None = None
    available: int | None = None


MEMORY_PATTERNS = (
    MemoryPattern(
        pattern=re.compile(
            rf"Free memory on device \S+ \({_NUMBER}/{_NUMBER} GiB\) on startup is less than "
            rf"desired GPU memory utilization \({_NUMBER}, {_NUMBER} GiB\)"
        ),
        required=4,
        available=1,
    ),
    MemoryPattern(
        pattern=re.compile(
            rf"\(?{_NUMBER} GiB KV cache is needed, which is larger than the available KV cache "
            rf"memory \({_NUMBER} GiB\)"
        ),
        required=1,
        available=2,
    ),
    MemoryPattern(
        pattern=re.compile(
            rf"Tried to allocate {_NUMBER} GiB\..*?of which {_NUMBER} GiB is free", re.DOTALL
        ),
        required=1,
        available=2,
    ),
    MemoryPattern(
        pattern=re.compile(
            rf"Available memory on node \S+ \({_NUMBER}/{_NUMBER} GiB\).*?"
            rf"less than [^(]*\((?:{_NUMBER}, )?{_NUMBER}(?:/{_NUMBER})? GiB\)",
            re.DOTALL,
        ),
        required=4,
        available=1,
    ),
    MemoryPattern(pattern=re.compile(r"No available memory for the cache blocks")),
    MemoryPattern(pattern=re.compile(r"not enough GPU memory")),
    MemoryPattern(pattern=re.compile(r"(?:CUDA|HIP) out of memory")),
    MemoryPattern(pattern=re.compile(r"can't allocate memory")),
)


def root_cause(lines: Iterable[str]) -> str | None:
    """The first exception that the children wrote and that wraps no other, if there is one."""
    wrapper = None
    for line in lines:
        text = _bare(line)
        if not _EXCEPTION.match(text):
            continue
        if not any(words in text for words in _WRAPPERS):
            return text[:MAX_REASON]
        wrapper = wrapper or text[:MAX_REASON]
    return wrapper


def last_words(lines: list[str]) -> str | None:
    """The last line that a child wrote, if any."""
    return _bare(lines[-1])[:MAX_REASON] if lines else None


def death_by_signal(exit_codes: dict[str, int]) -> str | None:
    """Say which signal ended a child, for exit codes as `multiprocessing` gives them."""
    for name, code in exit_codes.items():
        if code >= 0:
            continue
        try:
            number = signal.Signals(-code).name
        except ValueError:
            number = str(-code)
        hint = ", often the kernel's out-of-memory killer" if number == "SIGKILL" else ""
        return f"{name} was ended by {number}{hint}"
    return None


def start_error(
    *, engine: str, lines: list[str], raised: str, exit_codes: dict[str, int]
) -> ExecutorError:
    """Build the error of a failed start from what is known.

    `lines` is what the children wrote, `raised` what the parent raised.
    """
    if validation := _VALIDATION.search(raised):
        raised = validation[1]
    written = "\n".join(_bare(line) for line in lines)
    for known in MEMORY_PATTERNS:
        match = known.pattern.search(f"{written}\n{raised}")
        if match:
            return _out_of_memory(engine, known, match, root_cause(lines) or raised)
    reason = (
        (root_cause(lines) if any(words in raised for words in _WRAPPERS) else None)
        or death_by_signal(exit_codes)
        or raised
        or last_words(lines)
        or "no reason was given"
    )
    return EngineStartFailed(
        f"the {engine} engine did not start: {reason}",
        suggested_action="Correct what the reason names; the engine's log has the whole story.",
        details={"reason": reason, "exit_codes": exit_codes, "log_tail": lines[-20:]},
    )


def _out_of_memory(
    engine: str, known: MemoryPattern, match: re.Match[str], reason: str
) -> OutOfMemory:
    details: dict[str, object] = {"reason": reason[:MAX_REASON]}
    for name, group in (("required_bytes", known.required), ("available_bytes", known.available)):
        if group is not None:
            details[name] = int(float(match.group(group)) * GIB)
    return OutOfMemory(
        f"the {engine} engine did not start for want of memory: {reason[:MAX_REASON]}",
        suggested_action=(
            "Free memory, lower gpu_memory_utilization or max_model_len, use a smaller or "
            "quantised model, or more GPUs (tensor_parallel)."
        ),
        details=details,
    )


def _bare(line: str) -> str:
    text = _COLOUR.sub("", line).strip()
    while _PREFIX.match(text):
        text = _PREFIX.sub("", text, count=1)
    return _STAMP.sub("", text, count=1).strip()
