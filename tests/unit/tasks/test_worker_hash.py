"""The copy of a heartbeat for `redis-cli`, and the meter of tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasks import worker_hash
from tasks.token_meter import TokenMeter

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=20,
)


def test_facts_are_one_text_each() -> None:
    """Tables and rows by their path, lists of texts in a line, nothing for what is not known."""
    facts = {
        "model": "m",
        "tags": ["a", "b"],
        "host": {"load": 0.5, "disk": None},
        "readings": [{"gpu": "0", "xid": {"79": 1}}],
        "engine_up": True,
        "progress_at": None,
    }
    assert {
        "model": "m",
        "tags": "a,b",
        "host.load": "0.5",
        "readings.0.gpu": "0",
        "readings.0.xid.79": "1",
        "engine_up": "1",
    } == worker_hash.flattened(facts)


@given(st.dictionaries(st.text(max_size=5), plain, max_size=4))
def test_whatever_is_told_is_flat(facts: dict[str, object]) -> None:
    """Only texts, which is what a hash holds."""
    flat = worker_hash.flattened(facts)
    assert all(isinstance(part, str) for row in flat.items() for part in row)


def test_a_hash_outlives_four_heartbeats_and_two_minutes() -> None:
    """Whichever is longer."""
    assert [120, 120, 240] == [worker_hash.ttl_s(seconds) for seconds in (1.0, 30.0, 60.0)]


def test_tokens_are_a_rate_since_the_mark() -> None:
    """Asking does not begin anew; a heartbeat that was sent does."""
    moments = iter([0.0, 2.0, 4.0, 4.0, 6.0])
    meter = TokenMeter(clock=lambda: next(moments))
    assert meter.added_at is None
    meter.add(30)
    meter.add(10)
    assert (20.0, 10.0) == (meter.rate(), meter.rate())
    meter.mark()
    assert 0.0 == meter.rate()
    assert meter.added_at is not None
