"""The two models that ship: whole, safe to load, small, and able to answer."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.queenbee.grammar import GRAMMARS, TEMPLATE, prompt
from examples.queenbee.sampling import Loaded, draw, load
from examples.queenbee.shipping import MAX_PROMPT_CHARS, MODELS, SUMS, digest, shipped
from executors import model_digest
from executors.resampling import Thresholds, parse_agreement, parse_policy

SIX_MEGABYTES = 6 * 1024**2
CLEAR = {
    "queenbee-spine": (
        "L3-L4: mild disc bulge. L4-L5: severe central canal stenosis.",
        {"level": "L4-L5", "grade": "severe"},
    ),
    "queenbee-chest": (
        "Large right pleural effusion. No pneumothorax.",
        {"region": "right pleura", "finding": "effusion"},
    ),
}


@pytest.fixture(scope="module", params=sorted(GRAMMARS))
def model(request: pytest.FixtureRequest) -> str:
    """Name each shipped model in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def directory(model: str) -> Path:
    """Return the model's directory."""
    return MODELS / model


@pytest.fixture(scope="module")
def loaded(directory: Path) -> Loaded:
    """Load the model once."""
    return load(directory)


def profile_of(directory: Path) -> dict[str, object]:
    """Read the profile that comes with a model."""
    return tomllib.loads((directory / "profile.toml").read_text(encoding="utf-8"))


def test_checksums_match_and_cover_every_file(directory: Path) -> None:
    """`SHA256SUMS` names each file once, with its digest."""
    lines = (directory / SUMS).read_text(encoding="utf-8").splitlines()
    assert lines == [f"{digest(path)}  {path.name}" for path in shipped(directory)]


def test_a_threshold_may_be_edited_and_the_model_still_loads(
    directory: Path, tmp_path: Path
) -> None:
    """The weights are what they were, and so is the digest of the model."""
    copy = Path(shutil.copytree(directory, tmp_path / "copy"))
    profile = copy / "profile.toml"
    profile.write_text(profile.read_text().replace("accept_from = 0.75", "accept_from = 0.8"))
    (copy / "MODEL_CARD.md").write_text("Ours.")

    assert digest(profile) != digest(directory / "profile.toml")
    assert model_digest(copy) == model_digest(directory)


def test_the_directory_is_small_and_holds_no_code(directory: Path) -> None:
    """A model needs no foreign code to load, and under 6 MiB."""
    files = list(directory.rglob("*"))
    assert sum(path.stat().st_size for path in files) < SIX_MEGABYTES
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".toml", ".md", ""}
    for path in directory.glob("*.json"):
        assert "auto_map" not in path.read_text(encoding="utf-8")


def test_the_heads_are_wide_enough_for_every_engine(loaded: Loaded) -> None:
    """CPU attention kernels want heads of 32 or more."""
    assert (loaded.model.config.head_dim or 0) >= 32


def test_the_card_has_figures_and_says_what_the_model_is_not(directory: Path) -> None:
    """The card warns, and gives the commands and the measurements."""
    card = (directory / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "not a medical device" in card
    assert f"examples.queenbee.train --model {directory.name}" in card
    assert "Held-out figures" in card and "Calibration" in card


def test_the_profile_is_usable(model: str, directory: Path) -> None:
    """Template, policy, agreement, schema and thresholds all parse."""
    profile = profile_of(directory)
    assert profile["name"] == model
    assert profile["template"] == TEMPLATE
    assert profile["limits"] == {"max_prompt_chars": MAX_PROMPT_CHARS}
    assert parse_policy(str(profile["policy"])).max_k == 7
    assert json.loads(str(profile["schema_json"])) == GRAMMARS[model].schema()
    thresholds = profile["thresholds"]
    assert isinstance(thresholds, dict)
    assert Thresholds(**thresholds) == Thresholds(review_below=0.55, accept_from=0.75)


def test_a_clear_finding_is_answered_right_and_as_the_profile_wants_it(
    model: str, directory: Path, loaded: Loaded
) -> None:
    """At temperature 0 the answer is the right one, valid, and ended by the model itself."""
    text, expected = CLEAR[model]
    profile = profile_of(directory)
    ((sample,),) = draw(loaded, [text], samples=1, temperature=0.0, seed=0)
    rules = profile["agreement"]
    assert isinstance(rules, dict)
    agreement = parse_agreement({**rules, "schema": json.loads(str(profile["schema_json"]))})
    assert agreement.classify(sample.text).valid
    assert {name: json.loads(sample.text)[name] for name in expected} == expected
    assert sample.finish_reason == "stop"


@settings(deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_can_be_tokenised_and_comes_back(loaded: Loaded, text: str) -> None:
    """Every byte is in the vocabulary; the begin token comes first, once."""
    ids = loaded.tokenizer(prompt(text))["input_ids"]
    assert ids[0] == loaded.tokenizer.bos_token_id
    assert ids.count(loaded.tokenizer.bos_token_id) == 1 + text.count("<s>")
    assert loaded.tokenizer.decode(ids[1:]) == prompt(text)
