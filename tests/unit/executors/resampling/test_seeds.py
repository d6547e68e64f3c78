"""Seeds of samples."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from executors.resampling import sample_seed


def test_a_seed_is_the_hash_that_the_docstring_states() -> None:
    """Computed here from the bytes written out."""
    stated = b"honeyflow/sample-seed/v1\x00str\x00job\x003"
    first = int.from_bytes(hashlib.sha256(stated).digest()[:8], "big")
    assert sample_seed("job", 3) == first % 2**53


def test_seeds_never_change() -> None:
    """A stored job must draw the same samples after an upgrade."""
    assert sample_seed("5b0c7a52-6f0e-4ad5-9d53-7a8f0f7f3c11", 0) == 611_574_328_788_377
    assert sample_seed(7, 0) == 825_251_156_480_305


def test_a_number_and_its_spelling_are_different_bases() -> None:
    """A request's seed never meets a job id."""
    assert sample_seed(7, 1) != sample_seed("7", 1)


@given(st.integers() | st.text())
def test_the_seeds_of_a_job_differ_and_fit_every_reader(base: int | str) -> None:
    """Equal seeds would be one sample counted twice; JSON numbers are exact up to 2**53."""
    seeds = [sample_seed(base, index) for index in range(40)]
    assert len(set(seeds)) == 40
    assert all(0 <= seed < 2**53 for seed in seeds)
