"""JSON that strangers wrote is read as kombu reads it, also where that is told apart quickly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.json import dumps, loads

from tasks import json_text

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.datetimes() | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@given(values)
def test_what_kombu_writes_is_read_as_kombu_reads_it(value: Any) -> None:
    """Types come back as such, everything else as it is."""
    text = dumps(value)
    assert json_text.read(text, "it") == loads(text)


@pytest.mark.parametrize("name", ["__type__", r"\u005f_type__", r"__type\u005f_", r"__t\u0079pe__"])
def test_a_type_is_seen_however_its_name_is_written(name: str) -> None:
    """kombu refuses a type that it does not know; so must whoever looks before kombu."""
    text = f'{{"{name}": "nothing", "__value__": 1}}'
    assert json.loads(text) == {"__type__": "nothing", "__value__": 1}
    with pytest.raises(json_text.Flawed, match="Unsupported type") as caught:
        json_text.read(text.encode(), "the message")
    assert caught.value.reason == "MESSAGE_NOT_JSON"
