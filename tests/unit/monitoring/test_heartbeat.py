"""What a heartbeat says survives JSON; whatever else stands there makes no error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.heartbeat import Hardware, Heartbeat, Host, Reading

texts = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=40)
counts = st.integers(0, 2**50)
amounts = st.floats(0, 1e15)
words = st.lists(texts, max_size=4).map(tuple)


def known(cls: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Values of a class, each field as given or missing."""
    return st.builds(cls, **{name: st.none() | values for name, values in fields.items()})


readings = st.builds(
    Reading,
    gpu=texts,
    uuid=texts,
    utilization_percent=st.none() | amounts,
    temperature_celsius=st.none() | st.floats(-50, 200),
    memory_used_bytes=st.none() | counts,
    energy_joules=st.none() | amounts,
    xid=st.none() | st.dictionaries(texts, counts, max_size=3),
    throttle_seconds=st.none() | st.dictionaries(texts, amounts, max_size=3),
    ecc_errors=st.none() | st.dictionaries(texts, counts, max_size=3),
)
heartbeats = st.builds(
    Heartbeat,
    pid=st.none() | counts,
    queues=words,
    model=st.none() | texts,
    backend=texts,
    gpus=words,
    in_flight=st.none() | counts,
    tags=words,
    cost_per_hour=st.none() | amounts,
    hardware=known(Hardware, gpu_name=texts, driver=texts, cpus=counts, disk_total_bytes=counts),
    host=known(Host, memory_available_bytes=counts, load=amounts),
    engine_up=st.none() | st.booleans(),
    kv_cache_usage=st.none() | st.floats(0, 1),
    progress_at=st.none() | amounts,
    tokens_per_s=st.none() | amounts,
    logged_errors=st.none() | counts,
    machine_age_s=st.none() | amounts,
    readings=st.lists(readings, max_size=3).map(tuple),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(sorted(Heartbeat.__dataclass_fields__)), inner)
        | st.dictionaries(st.sampled_from(sorted(Reading.__dataclass_fields__)), inner)
    ),
    max_leaves=40,
)


@settings(max_examples=50)
@given(heartbeats)
def test_what_is_written_is_read_as_it_was(heartbeat: Heartbeat) -> None:
    """Through JSON text, as in the ledger."""
    assert heartbeat == Heartbeat.from_facts(json.loads(json.dumps(heartbeat.to_facts())))


@settings(max_examples=50)
@given(anything)
def test_whatever_stands_there_is_read_and_can_be_written(facts: object) -> None:
    """No error; what comes of it is finite, printable and reads as itself."""
    heartbeat = Heartbeat.from_facts(facts)
    told = json.dumps(heartbeat.to_facts(), allow_nan=False)
    assert heartbeat == Heartbeat.from_facts(json.loads(told))
    assert json.dumps(heartbeat.to_facts(), ensure_ascii=False).isprintable()


def test_what_is_not_known_is_left_out() -> None:
    """A missing sensor is neither 0 nor null."""
    facts = Heartbeat(readings=(Reading(gpu="0", uuid="GPU-1", xid={}),)).to_facts()
    assert {"gpu": "0", "uuid": "GPU-1", "xid": {}} == facts["readings"][0]
    assert "model" not in facts
    assert Heartbeat() == Heartbeat.from_facts({})


@pytest.mark.parametrize(
    ("facts", "field", "read"),
    [
        ({"in_flight": "many"}, "in_flight", None),
        ({"in_flight": -1}, "in_flight", None),
        ({"in_flight": 2.0}, "in_flight", 2),
        ({"in_flight": True}, "in_flight", None),
        ({"cost_per_hour": 10**400}, "cost_per_hour", None),
        ({"kv_cache_usage": 1.5}, "kv_cache_usage", None),
        ({"tags": ["a", 1, "\x1b[2J"]}, "tags", ("a", "\ufffd[2J")),
        ({"tags": ["t"] * 1000}, "tags", ("t",) * 64),
        ({"model": "m" * 1000}, "model", "m" * 200),
        ({"device": "cpu"}, "backend", "cpu"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_not_as_it_should_be_is_missing_or_made_safe(
    facts: dict[str, Any], field: str, read: object
) -> None:
    """Wrong kinds, impossible numbers, control characters, and more than anybody says."""
    assert read == getattr(Heartbeat.from_facts(facts), field)
