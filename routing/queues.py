"""The names of queues and the steps of priority, in one place.

Names only: nothing here talks to a broker or looks at the machine. Who consumes what:

- `model.<name>`: every worker that serves the model.
- `gpu.<node>.<a>+<b>`: the worker pinned to exactly these GPUs.
- `celery`: every worker; what stock Celery programs send.
- `control`: the maintenance worker; what beat sends.

Priorities are those of kombu's Redis transport: 0 is served first, a number is rounded down to one
of four steps, and each step but the first has a list of its own beside the queue's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum

from routing.errors import NameInvalid, PriorityInvalid, QueueInvalid

INGEST = "celery"
CONTROL = "control"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# No dot and no plus: so that a node with dots in its name stays separable from its GPUs.
_GPU_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LOWEST_PRIORITY = 9
_SHOWN_CHARACTERS = 80
_STEP_SEPARATOR = "\x06\x16"


class Priority(IntEnum):
    """How soon a job is served; the value is the step on Redis, lower first."""

    INTERACTIVE = 0
    NORMAL = 3
    BATCH = 6
    IDLE = 9


def parse_priority(value: object) -> Priority:
    """Return the priority of a name, or of a number from 0 to 9 rounded down to its step.

    None is `Priority.NORMAL`: Redis would serve a message without a priority first, before
    everyone who asked for it.

    Raises:
        PriorityInvalid: if it is neither.
    """
    if value is None:
        return Priority.NORMAL
    if isinstance(value, str):
        word = value.strip()
        for priority in Priority:
            if word.lower() == priority.name.lower():
                return priority
        if len(word) == 1 and word in "0123456789":
            return _step(int(word))
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LOWEST_PRIORITY:
        return _step(value)
    names = ", ".join(f"{priority.name.lower()} ({priority.value})" for priority in Priority)
    raise PriorityInvalid(
        f"There is no priority {value!r}.",
        suggested_action=f"Use one of {names}, or a number from 0 (first) to 9 (last).",
        details={"priority": value if isinstance(value, int | str) else repr(value)},
    )


def _step(number: int) -> Priority:
    return max(priority for priority in Priority if priority <= number)


def validate_model_name(name: str) -> str:
    """Return the model's name unchanged.

    Raises:
        NameInvalid: if it cannot be part of a queue's name.
    """
    return _validated(name, kind="model", pattern=_NAME)


def validate_node_name(name: str) -> str:
    """Return the node's name unchanged.

    Raises:
        NameInvalid: if it cannot be part of a queue's name.
    """
    return _validated(name, kind="node", pattern=_NAME)


def _validated(name: object, *, kind: str, pattern: re.Pattern[str]) -> str:
    if isinstance(name, str) and pattern.fullmatch(name):
        return name
    letters = "lower-case letters" if pattern is _NAME else "letters"
    marks = "dots, underscores and hyphens" if pattern is _NAME else "underscores and hyphens"
    shown = repr(name)
    if len(shown) > _SHOWN_CHARACTERS:
        shown = f"{shown[:_SHOWN_CHARACTERS]}…"
    raise NameInvalid(
        f"{shown} is not a {kind} name.",
        suggested_action=(
            f"Use 1 to 64 {letters}, digits, {marks}, beginning with a letter or a digit."
        ),
        details={"kind": kind, "pattern": f"^{pattern.pattern}$"},
    )


def model_queue(model: str) -> str:
    """Return the name of the queue of a model's jobs.

    Raises:
        NameInvalid: if the model's name cannot be part of a queue's name.
    """
    return f"model.{validate_model_name(model)}"


def gpu_queue(node: str, gpus: Sequence[str]) -> str:
    """Return the name of the queue of one GPU, or of a group that one engine runs on.

    The order of the group does not matter: whoever names the same GPUs means the same queue.

    Raises:
        NameInvalid: if a name cannot be part of a queue's name, or no GPU is named.
    """
    if isinstance(gpus, str) or not gpus:
        raise NameInvalid(
            f"{gpus!r} is not a list of GPU names.",
            suggested_action='Name at least one GPU, as a list: ["GPU-5fd4f087"].',
            details={"kind": "gpu"},
        )
    names = {_validated(gpu, kind="GPU", pattern=_GPU_NAME) for gpu in gpus}
    # By length first, so that the indexes of a large machine are counted as people do.
    group = "+".join(sorted(names, key=lambda name: (len(name), name)))
    return f"gpu.{validate_node_name(node)}.{group}"


def job_queue(name: object, *, model: str) -> str:
    """Return the name of a queue that a job of the model may be put into, in its one spelling.

    Raises:
        QueueInvalid: if it is neither the model's own queue nor that of a GPU or a group of them.
    """
    if name == model_queue(model):
        return model_queue(model)
    kind, _, place = name.partition(".") if isinstance(name, str) else ("", "", "")
    node, dot, gpus = place.rpartition(".")
    try:
        if kind == "gpu" and dot:
            return gpu_queue(node, gpus.split("+"))
    except NameInvalid:
        pass
    raise QueueInvalid(
        f"{name!r:.80} is no queue for a job of the model {model!r}.",
        suggested_action=f"Use {model_queue(model)} or gpu.<node>.<gpu>, or name no queue.",
        details={"field": "queue", "queue": f"{name!s:.80}", "model": model},
    )


def worker_queues(
    model: str, node: str, gpus: Sequence[str] = (), *, aliases: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the queues that a worker consumes, its own GPU's first.

    Args:
        model: the model that it serves.
        node: the machine that it runs on.
        gpus: the short names of the GPUs that it is pinned to; none on a CPU.
        aliases: other names of the same GPUs, for example their indexes on the host.

    Raises:
        NameInvalid: if a name cannot be part of a queue's name.
    """
    validate_node_name(node)
    groups = [group for group in (gpus, aliases) if group]
    pinned = dict.fromkeys(gpu_queue(node, group) for group in groups)
    return (*pinned, model_queue(model), INGEST)


def list_keys(queue: str) -> tuple[str, ...]:
    """Return the Redis keys of a queue's lists, one for each priority, first served first.

    kombu puts its `global_keyprefix`, if one is set, before each of them.
    """
    return tuple(
        queue if priority == 0 else f"{queue}{_STEP_SEPARATOR}{priority.value}"
        for priority in Priority
    )
