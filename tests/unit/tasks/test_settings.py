"""Settings: one file, one environment, clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks import settings
from tasks.errors import SettingsInvalid


def test_defaults_are_per_user_and_not_per_directory(tmp_path: Path) -> None:
    """A client finds the same ledger from every directory."""
    read = settings.read({"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})

    assert tmp_path / "honeyflow" == read.data_dir
    assert f"sqlite:///{tmp_path}/honeyflow/ledger.db" == read.ledger_url
    assert read.redis_embedded


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Both are read once."""
    file = tmp_path / "h.toml"
    file.write_text('redis_url = "redis://a/0"\nnode = "filenode"\n[timing]\nlease_s = 3\n')

    read = settings.read(
        {
            "HONEYFLOW_CONFIG": str(file),
            "HONEYFLOW_REDIS_URL": "redis://b/0",
            "HONEYFLOW_TIMING": "renew_s=0.5",
        }
    )

    assert ("redis://b/0", "filenode", 3.0, 0.5) == (
        read.redis_url,
        read.node,
        read.timing.lease_s,
        read.timing.renew_s,
    )


def test_gpu_assignments_are_read(tmp_path: Path) -> None:
    """`[gpu_model_assignments]` as the first users wrote it."""
    file = tmp_path / "h.toml"
    file.write_text('[gpu_model_assignments]\n0 = "queenbee-spine"\n"1" = "queenbee-chest"\n')

    read = settings.read({"HONEYFLOW_CONFIG": str(file)})

    assert {"0": "queenbee-spine", "1": "queenbee-chest"} == read.gpu_model_assignments


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("redis_ur = 1", "redis_ur"),
        ("[timing]\nlease = 1", "lease"),
        ('[timing]\nlease_s = "x"', "lease_s"),
        ("[timing\n", "TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, text: str, word: str) -> None:
    """A misspelt key is an error, not a silence."""
    file = tmp_path / "h.toml"
    file.write_text(text)

    with pytest.raises(SettingsInvalid, match=word):
        settings.read({"HONEYFLOW_CONFIG": str(file)})


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """A wrong path must not mean the defaults."""
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        settings.read({"HONEYFLOW_CONFIG": str(tmp_path / "none.toml")})
