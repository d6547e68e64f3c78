"""A failed start is explained by what the child wrote."""

from __future__ import annotations

import pytest

from executors.errors import EngineStartFailed, OutOfMemory
from executors.start_reason import death_by_signal, last_words, root_cause, start_error

GIB = 1024**3
WRAPPED = "Engine core initialization failed. See root cause above. Failed core proc(s): {}"
TRACE = [
    "(EngineCore pid=7) INFO 11-21 11:03:41 [core.py:133] Initializing a V1 LLM engine",
    "FutureWarning: `torch.distributed.reduce_op` is deprecated",
    "(Worker pid=8) ERROR 11-21 11:03:42 [worker.py:9] Traceback (most recent call last):",
    "(Worker pid=8) ERROR 11-21 11:03:42 [worker.py:9] ValueError: heads must divide 3",
    "(EngineCore pid=7) ERROR 11-21 11:03:43 [c.py:1] Exception: WorkerProc initialization failed",
    "(EngineCore pid=7) RuntimeError: Engine core initialization failed. See root cause above.",
]


def failed(lines: list[str], raised: str = WRAPPED, **exit_codes: int) -> Exception:
    return start_error(engine="vllm", lines=lines, raised=raised, exit_codes=exit_codes)


def test_the_first_exception_is_the_root_cause() -> None:
    """Wrappers, warnings and prefixes are left out."""
    assert root_cause(TRACE) == "ValueError: heads must divide 3"


def test_a_wrapper_is_better_than_nothing() -> None:
    """Where only wrappers were written, one of them is given."""
    assert root_cause(TRACE[-1:]) == (
        "RuntimeError: Engine core initialization failed. See root cause above."
    )
    assert root_cause(["all is well"]) is None


def test_the_childs_reason_replaces_the_parents() -> None:
    """`See root cause above` helps nobody."""
    error = failed(TRACE, EngineCore=1)

    assert isinstance(error, EngineStartFailed)
    assert "heads must divide 3" in error.message
    assert error.details["exit_codes"] == {"EngineCore": 1}


def test_the_parents_own_reason_stays() -> None:
    """What the parent raised before any child was there is the reason, without its wrapping."""
    raised = (
        "1 validation error for ModelConfig Value error, max_model_len (9) is too large. "
        "[type=value_error, input_value=ArgsKwargs(()), input_type=ArgsKwargs] For further ..."
    )
    error = failed([], raised)

    assert isinstance(error, EngineStartFailed)
    assert error.details["reason"] == "max_model_len (9) is too large."


def test_a_killed_child_names_the_signal() -> None:
    """The kernel's killer leaves no words."""
    error = failed(["(EngineCore pid=7) INFO 11-21 11:03:41 [core.py:133] loading"], EngineCore=-9)

    assert "SIGKILL" in str(error)
    assert "out-of-memory killer" in str(error)
    assert death_by_signal({"EngineCore": 1}) is None


@pytest.mark.parametrize(
    ("line", "required", "available"),
    [
        (
            "ValueError: Free memory on device cuda:0 (3.5/24.0 GiB) on startup is less than "
            "desired GPU memory utilization (0.9, 21.6 GiB). Decrease GPU memory utilization",
            21.6,
            3.5,
        ),
        (
            "ValueError: To serve at least one request with the model's max seq len (8192), "
            "(2.5 GiB KV cache is needed, which is larger than the available KV cache memory "
            "(1.25 GiB). Based on the available memory,",
            2.5,
            1.25,
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a "
            "total capacity of 23.6 GiB of which 1.50 GiB is free. Including",
            2.0,
            1.5,
        ),
        (
            "ValueError: Available memory on node 0 (8.44/10.84 GiB) on kv cache allocation is "
            "less than requested memory for kv (1000.0 GiB). Decrease",
            1000.0,
            8.44,
        ),
        (
            "ValueError: Available memory on node 0 (2.0/16.0 GiB) on startup is less than desired "
            "CPU memory utilization (0.9, 14.4 GiB). On the CPU backend,",
            14.4,
            2.0,
        ),
        ("ValueError: No available memory for the cache blocks. Try", None, None),
        ("Failed to load model - not enough GPU memory. Try", None, None),
    ],
)
def test_missing_memory_is_told_with_its_figures(
    line: str, required: float | None, available: float | None
) -> None:
    """Each known sentence becomes OutOfMemory with bytes."""
    error = failed([f"(Worker pid=8) ERROR 11-21 11:03:42 [worker.py:9] {line}"], EngineCore=1)

    assert isinstance(error, OutOfMemory)
    assert error.details.get("required_bytes") == (required and int(required * GIB))
    assert error.details.get("available_bytes") == (available and int(available * GIB))
    assert error.http_status == 507


def test_a_start_that_says_nothing_is_still_an_error() -> None:
    """The last words are used, or the lack of any is told."""
    assert "goodbye" in str(failed(["goodbye"], ""))
    assert "no reason was given" in str(failed([], ""))
    assert last_words([]) is None
