"""The names of queues and the steps of priority."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.redis import Channel

from routing import (
    CONTROL,
    INGEST,
    NameInvalid,
    Priority,
    PriorityInvalid,
    gpu_queue,
    list_keys,
    model_queue,
    parse_priority,
    validate_model_name,
    validate_node_name,
    worker_queues,
)

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
GPU_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True)
WRONG_NAMES = [
    "",
    "Queenbee",
    "-spine",
    ".spine",
    "queen bee",
    "spine\n",
    "a/b",
    "a+b",
    "spïne",
    "x" * 65,
    "model\x06\x163",
]


def test_queues_are_named_as_documented() -> None:
    """The names are wire format: workers and clients of different releases share them."""
    assert model_queue("queenbee-spine") == "model.queenbee-spine"
    assert gpu_queue("hive-1", ["GPU-5fd4f087"]) == "gpu.hive-1.GPU-5fd4f087"
    assert gpu_queue("hive-1", ["0", "1"]) == "gpu.hive-1.0+1"
    assert (INGEST, CONTROL) == ("celery", "control")


@pytest.mark.parametrize("name", WRONG_NAMES)
def test_a_name_that_no_queue_can_have_is_refused(name: str) -> None:
    """Spaces, separators, capitals and length are all refused, with what would do."""
    for named in (model_queue, validate_model_name, validate_node_name):
        with pytest.raises(NameInvalid) as caught:
            named(name)
        assert caught.value.code == "NAME_INVALID"
        assert "1 to 64" in caught.value.suggested_action


def test_a_name_that_is_no_text_is_refused() -> None:
    """A number from a configuration file is told as what it is."""
    with pytest.raises(NameInvalid, match=r"^7 is not a model name"):
        model_queue(7)  # type: ignore[arg-type]


def test_a_very_long_name_is_not_repeated_in_the_message() -> None:
    """A message stays readable whatever was sent."""
    with pytest.raises(NameInvalid) as caught:
        model_queue("x" * 1_000_000)
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("gpus", [[], "0", ["0.1"], ["0+1"], [""], ["GPU 0"]])
def test_a_gpu_queue_needs_names_of_gpus(gpus: list[str] | str) -> None:
    """No GPU, one text instead of a list, and separators inside of a name are refused."""
    with pytest.raises(NameInvalid):
        gpu_queue("hive-1", gpus)


@given(node=NAMES, gpus=st.lists(GPU_NAMES, min_size=1, max_size=4, unique=True))
def test_a_gpu_queue_tells_node_and_gpus_apart(node: str, gpus: list[str]) -> None:
    """The last dot separates them, whatever dots the node has, and the order does not matter."""
    queue = gpu_queue(node, gpus)
    head, _, group = queue.rpartition(".")
    assert head == f"gpu.{node}"
    assert sorted(group.split("+")) == sorted(gpus)
    assert queue == gpu_queue(node, list(reversed(gpus)))


def test_gpu_indexes_of_a_group_are_counted_as_people_do() -> None:
    """Ten comes after two."""
    assert gpu_queue("hive-1", ["10", "2"]) == "gpu.hive-1.2+10"


def test_a_gpu_worker_consumes_its_own_queues_first() -> None:
    """Explicit placement is listed before the model's queue and the ingest queue."""
    queues = worker_queues("queenbee-spine", "hive-1", ["GPU-5fd4f087"], aliases=["0"])
    assert queues == (
        "gpu.hive-1.GPU-5fd4f087",
        "gpu.hive-1.0",
        "model.queenbee-spine",
        "celery",
    )


def test_a_cpu_worker_consumes_no_gpu_queue() -> None:
    """Without a GPU there is the model's queue and the ingest queue."""
    assert worker_queues("queenbee-spine", "hive-1") == ("model.queenbee-spine", "celery")


def test_an_alias_that_is_the_name_itself_is_listed_once() -> None:
    """A queue is consumed once."""
    queues = worker_queues("m", "n", ["0"], aliases=["0"])
    assert queues == ("gpu.n.0", "model.m", "celery")


def test_a_worker_without_a_valid_node_is_refused() -> None:
    """Also on a CPU, where the node is in no queue's name but in the worker's."""
    with pytest.raises(NameInvalid):
        worker_queues("m", "Node")


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (None, Priority.NORMAL),
        ("interactive", Priority.INTERACTIVE),
        (" Batch ", Priority.BATCH),
        ("IDLE", Priority.IDLE),
        (0, Priority.INTERACTIVE),
        (2, Priority.INTERACTIVE),
        (3, Priority.NORMAL),
        (5, Priority.NORMAL),
        ("7", Priority.BATCH),
        (9, Priority.IDLE),
        (Priority.BATCH, Priority.BATCH),
    ],
)
def test_a_priority_is_read_from_a_name_or_a_number(
    given_value: object, expected: Priority
) -> None:
    """Numbers are rounded down to a step, and no priority at all is the normal one."""
    assert parse_priority(given_value) is expected


@pytest.mark.parametrize("wrong", [-1, 10, True, 3.0, "", "high", "10", "-1", "³", b"3", [3]])
def test_what_is_no_priority_is_refused(wrong: object) -> None:
    """The error lists the four names."""
    with pytest.raises(PriorityInvalid, match="There is no priority") as caught:
        parse_priority(wrong)
    assert "interactive (0), normal (3), batch (6), idle (9)" in caught.value.suggested_action


@given(st.integers(min_value=0, max_value=9), st.text(string.ascii_lowercase, min_size=1))
def test_steps_and_keys_are_those_of_kombu(number: int, queue: str) -> None:
    """The transport that puts messages into the lists rounds and names them in the same way."""
    channel = Channel.__new__(Channel)
    channel.priority_steps = [0, 3, 6, 9]
    step = max(step for step in channel.priority_steps if step <= number)
    assert parse_priority(number) == step
    assert channel._q_for_pri(queue, number) in list_keys(queue)
    assert list_keys(queue) == tuple(
        channel._q_for_pri(queue, step) for step in channel.priority_steps
    )
