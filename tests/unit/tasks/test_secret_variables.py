"""Addresses with passwords can be told by a file, as Compose and systemd hand secrets out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks import settings
from tasks.errors import KeyUnusable, SettingsInvalid

PLACES = [
    ("HONEYFLOW_REDIS_URL", "redis_url", "redis://bee:word@redis:6379/0"),
    ("HONEYFLOW_LEDGER_URL", "ledger_url", "postgresql+psycopg://bee:word@db/honeyflow"),
    ("IPFS_API_URL", "ipfs_api_url", "http://bee:word@ipfs:5001"),
]


def kept(tmp_path: Path, text: str, mode: int = 0o600) -> str:
    """A file with that text."""
    file = tmp_path / "secret"
    file.write_text(text)
    file.chmod(mode)
    return str(file)


@pytest.mark.parametrize(("variable", "field", "url"), PLACES, ids=[one[0] for one in PLACES])
def test_an_address_is_read_from_the_file_that_is_named(
    tmp_path: Path, variable: str, field: str, url: str
) -> None:
    """Without the newline that editors put there; it shows in no repr."""
    read = settings.read({f"{variable}_FILE": kept(tmp_path, f"{url}\n")})

    assert url == getattr(read, field)
    assert "word" not in repr(read)


def test_a_file_and_a_variable_contradict_each_other(tmp_path: Path) -> None:
    """Neither wins silently."""
    variable = "HONEYFLOW_REDIS_URL"
    environ = {variable: "redis://a/0", f"{variable}_FILE": kept(tmp_path, "redis://b/0")}

    with pytest.raises(SettingsInvalid, match="are both set"):
        settings.read(environ)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """It holds a password."""
    file = kept(tmp_path, "redis://a/0", mode=0o644)

    with pytest.raises(KeyUnusable, match="open to others"):
        settings.read({"HONEYFLOW_REDIS_URL_FILE": file})


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    """Rather than the embedded Redis taken in its place."""
    with pytest.raises(KeyUnusable, match="is empty"):
        settings.read({"HONEYFLOW_REDIS_URL_FILE": kept(tmp_path, text)})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(KeyUnusable, match="missing cannot be read"):
        settings.read({"HONEYFLOW_REDIS_URL_FILE": str(tmp_path / "missing")})
