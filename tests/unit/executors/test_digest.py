"""A model is known by its bytes, and one that brings code is not loaded."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.config import EngineConfig
from executors.digest import check_model, engine_digest, examine_model, model_digest, weight_bytes
from executors.errors import ModelInvalid, ModelNotFound


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def config(path: Path, **changes: object) -> EngineConfig:
    plain = EngineConfig(model="m", path=path, device="cpu")
    return replace(plain, **changes)  # type: ignore[arg-type]  # any field by name


def sums(model: Path, **wrong: str) -> None:
    lines = []
    for file in sorted(file for file in model.iterdir() if file.is_file()):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        lines.append(f"{wrong.get(file.suffix[1:], digest)}  {file.name}\n")
    (model / "SHA256SUMS").write_text("".join(lines))


def test_a_complete_model_passes(model: Path) -> None:
    """Nothing is raised and the digest has its form."""
    check_model(model)

    assert model_digest(model).startswith("sha256:")
    assert weight_bytes(model) == len(b"weights")


def test_the_digest_is_the_published_one(model: Path) -> None:
    """One line per file, sorted by name: hash, size, name."""
    lines = "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_size} {file.name}\n"
        for file in sorted(model.iterdir())
    )

    assert model_digest(model) == f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def test_the_digest_follows_content_names_and_folders(model: Path) -> None:
    """Each change of a byte, a name or a place gives another digest."""
    digests = [model_digest(model)]
    (model / "model.safetensors").write_bytes(b"weightS")
    digests.append(model_digest(model))
    (model / "model.safetensors").rename(model / "other.safetensors")
    digests.append(model_digest(model))
    (model / "part").mkdir()
    (model / "other.safetensors").rename(model / "part" / "other.safetensors")
    digests.append(model_digest(model))

    assert len(set(digests)) == len(digests)


def test_hidden_files_and_the_checksums_are_no_part_of_the_model(model: Path) -> None:
    """A download's cache beside the model does not change it."""
    before = model_digest(model)
    (model / ".cache").mkdir()
    (model / ".cache" / "lock").write_text("x")
    (model / ".gitattributes").write_text("x")
    sums(model)

    assert model_digest(model) == before


OTHERS = ("profile.toml", "MODEL_CARD.md", "README.md", "LICENSE", "LICENSE.txt", "NOTICE")
ENGINE = ("generation_config.json", "merges.txt", "chat_template.jinja", "part/profile.toml")


@pytest.mark.parametrize("name", OTHERS)
def test_what_decides_no_answer_is_no_part_of_the_model(model: Path, name: str) -> None:
    """Added, edited or removed: the digest stays, and the list refuses nothing."""
    before = model_digest(model)
    (model / name).write_text("as shipped")
    sums(model)
    assert model_digest(model) == before
    (model / name).write_text("as edited")
    assert model_digest(model) == before
    (model / name).unlink()
    assert model_digest(model) == before


@pytest.mark.parametrize("name", ENGINE)
def test_every_other_file_is_part_of_it_and_held_to_the_list(model: Path, name: str) -> None:
    """Also one of a kind that nobody knows."""
    before = model_digest(model)
    (model / name).parent.mkdir(exist_ok=True)
    (model / name).write_text("{}")
    assert model_digest(model) != before
    (model / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(ModelInvalid, match="does not match SHA256SUMS"):
        model_digest(model)


def test_no_directory_is_not_found(tmp_path: Path) -> None:
    """Step 1."""
    with pytest.raises(ModelNotFound, match="nowhere"):
        check_model(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", None, "config.json is missing"),
        ("config.json", "{", "config.json is not JSON"),
        ("config.json", "[]", "config.json is not an object"),
        ("modeling_x.py", "print()", "modeling_x.py is code"),
        ("config.json", '{"auto_map": {}}', "auto_map"),
        ("tokenizer_config.json", '{"auto_map": {}}', "auto_map"),
        ("model.safetensors", None, "no weights"),
    ],
    ids=["2 missing", "2 damaged", "2 a list", "3 python", "3 config", "3 tokenizer", "4 weights"],
)
def test_what_is_wrong_is_named(model: Path, name: str, content: str | None, words: str) -> None:
    """Steps 2 to 4, each broken alone."""
    if content is None:
        (model / name).unlink()
    else:
        (model / name).write_text(content)

    with pytest.raises(ModelInvalid, match=words):
        check_model(model)


def test_pickled_weights_alone_are_refused_and_named(model: Path) -> None:
    """Step 4: a pickle runs code when it is read."""
    (model / "model.safetensors").rename(model / "pytorch_model.bin")

    with pytest.raises(ModelInvalid, match=r"only pytorch_model\.bin"):
        check_model(model)


def test_right_checksums_pass(model: Path) -> None:
    """Step 5: a list that agrees changes nothing."""
    before = model_digest(model)
    sums(model)

    assert model_digest(model) == before


def test_a_wrong_checksum_names_the_file(model: Path) -> None:
    """Step 5: the file that differs, with both hashes."""
    sums(model, safetensors="0" * 64)

    with pytest.raises(ModelInvalid, match=r"model\.safetensors does not match SHA256SUMS"):
        model_digest(model)


def test_a_listed_file_that_is_missing_is_named(model: Path) -> None:
    """Step 5: an incomplete copy is found."""
    sums(model)
    with (model / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64} *./extra.json\n")

    with pytest.raises(ModelInvalid, match=r"extra\.json is missing"):
        model_digest(model)


def test_a_checksum_file_cannot_point_outside(model: Path) -> None:
    """Step 5: nothing but the model's own files is read."""
    (model / "SHA256SUMS").write_text(f"{'0' * 64}  ../secret\n")

    with pytest.raises(ModelInvalid, match="points outside"):
        model_digest(model)


@given(text=st.text(max_size=200))
def test_any_checksum_file_passes_or_is_model_invalid(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """A damaged list raises no other error."""
    path = tmp_path_factory.mktemp("model")
    (path / "config.json").write_text("{}")
    (path / "SHA256SUMS").write_text(text, encoding="utf-8", errors="surrogateescape")
    with suppress(ModelInvalid):
        model_digest(path)


def test_a_configured_digest_has_to_be_met(model: Path) -> None:
    """The right one passes and gives itself; another is refused."""
    found = model_digest(model)

    assert examine_model(config(model, model_digest=found)) == found
    with pytest.raises(ModelInvalid, match="is configured"):
        examine_model(config(model, model_digest="sha256:" + "0" * 64))


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "cuda"},
        {"dtype": "bfloat16"},
        {"quantization": "awq"},
        {"attention_backend": "FLASH_ATTN"},
        {"tensor_parallel": 2},
        {"max_model_len": 128},
        {"seed": 1},
        {"options": {"temperature": 1}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_that_change_answers_change_the_engine_digest(
    model: Path, changes: dict[str, object]
) -> None:
    """A sample drawn under other settings is another sample."""
    plain = engine_digest(config(model), version="1")

    assert engine_digest(config(model, **changes), version="1") != plain
    assert engine_digest(config(model), version="2") != plain
    assert engine_digest(config(model), version="1", settings={"dtype": "float32"}) != plain


def test_settings_that_only_change_speed_do_not(model: Path) -> None:
    """Samples stay usable when a worker is tuned."""
    plain = engine_digest(config(model), version="1")
    tuned = config(
        model, max_num_seqs=8, gpu_memory_utilization=0.5, stuck_after_s=5.0, options={"threads": 2}
    )

    assert engine_digest(tuned, version="1") == plain


def test_a_damaged_tokenizer_file_is_named(model: Path) -> None:
    """Every JSON file beside the weights has to be readable."""
    (model / "generation_config.json").write_text(json.dumps({"a": 1})[:-1])

    with pytest.raises(ModelInvalid, match=r"generation_config\.json"):
        check_model(model)
