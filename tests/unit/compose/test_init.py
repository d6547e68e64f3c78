"""compose/init: passwords of its own for every installation, and nothing overwritten."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest

from tests import compose_file

PASSWORDS = (
    *("redis_password", "postgres_password", "bee_passphrase"),
    *("flower_password", "grafana_password", "alerts_token"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """compose/ after its init."""
    return compose_file.init(tmp_path)


def read(folder: Path, name: str) -> str:
    """A secret without its last newline."""
    return (folder / "secrets" / name).read_text().removesuffix("\n")


def test_it_makes_every_secret_of_the_file(folder: Path) -> None:
    """And none besides."""
    file = compose_file.load(folder, compose_file.read_env(folder))

    assert set(file["secrets"]) == {path.name for path in (folder / "secrets").iterdir()}


def test_no_two_installations_share_a_password(folder: Path, tmp_path: Path) -> None:
    """Nor two services of one."""
    other = compose_file.init(tmp_path / "other")
    made = [read(place, name) for place in (folder, other) for name in PASSWORDS]

    assert len(made) == len(set(made))
    assert all(len(one) >= 32 for one in made)


def test_redis_knows_the_password_by_its_digest_alone(folder: Path) -> None:
    """The list of users holds no password, and lets nobody in without one."""
    users = read(folder, "redis_users").splitlines()
    password = read(folder, "redis_password")

    assert users[0] == "user default off resetkeys resetchannels -@all"
    assert f"#{hashlib.sha256(password.encode()).hexdigest()}" in users[1].split()
    assert "nopass" not in "".join(users)


def test_the_addresses_hold_the_same_passwords(folder: Path) -> None:
    """Of Redis and of the ledger."""
    redis = f"redis://honeyflow:{read(folder, 'redis_password')}@redis:6379/0"
    ledger = f"honeyflow:{read(folder, 'postgres_password')}@postgres:5432/honeyflow"

    assert redis == read(folder, "redis_url")
    assert f"postgresql+psycopg://{ledger}" == read(folder, "ledger_url")


def test_nobody_else_can_read_what_it_makes(folder: Path) -> None:
    """Files 0600 and folders 0700, of the user that the containers run as."""
    env = compose_file.read_env(folder)
    secrets = [folder / "secrets", *(folder / "secrets").iterdir()]
    kept = [path for path in (folder / "data").rglob("*") if path.is_dir()]

    assert 0o600 == stat.S_IMODE((folder / ".env").stat().st_mode)
    assert {0o600, 0o700} == {stat.S_IMODE(path.stat().st_mode) for path in secrets}
    assert {0o700} == {stat.S_IMODE(path.stat().st_mode) for path in kept}
    assert {int(env["HONEYFLOW_UID"])} == {path.stat().st_uid for path in (*secrets, *kept)}
    assert env["HONEYFLOW_UID"] != "0"


def test_the_environment_holds_no_password(folder: Path) -> None:
    """`.env` is read by every command of Compose."""
    text = (folder / ".env").read_text()

    assert [] == [name for name in PASSWORDS if read(folder, name) in text]


@pytest.mark.parametrize("there", [".env", "secrets"])
def test_it_overwrites_nothing(folder: Path, there: str) -> None:
    """One of the two is enough for it to stop, and it leaves nothing behind."""
    for name in {".env", "secrets"} - {there}:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = sorted(path for path in folder.rglob("*"))

    done = compose_file.run_init(folder)

    assert done.returncode == 1
    assert f"{there} is there already; nothing was changed" in done.stderr
    assert before == sorted(path for path in folder.rglob("*"))


def test_every_gpu_gets_its_worker(tmp_path: Path) -> None:
    """As nvidia-smi lists them; a card too many is named."""
    tools = tmp_path / "tools"
    tools.mkdir()
    smi = tools / "nvidia-smi"
    lines = "\\n".join(f"{index}, GPU-{index}{index}" for index in (0, 1, 8))
    smi.write_text(f"#!/bin/sh\nprintf '{lines}\\n'\n")
    smi.chmod(0o755)

    folder = compose_file.init(tmp_path, PATH=f"{tools}:/usr/bin:/bin")
    env = compose_file.read_env(folder)

    assert "gpu0,gpu1" == env["COMPOSE_PROFILES"]
    assert ("GPU-00", "GPU-11") == (env["HONEYFLOW_GPU0_UUID"], env["HONEYFLOW_GPU1_UUID"])
    assert "HONEYFLOW_GPU8_UUID" not in env


def test_without_a_gpu_the_cpu_is_used(folder: Path) -> None:
    """The profile is written where people can change it."""
    assert "cpu" == compose_file.read_env(folder)["COMPOSE_PROFILES"]


def test_the_data_may_lie_elsewhere(tmp_path: Path) -> None:
    """All stores' folders are made there."""
    folder = compose_file.init(tmp_path, HONEYFLOW_DATA=str(tmp_path / "srv"))
    file = compose_file.load(folder, compose_file.read_env(folder))
    sources = {
        Path(volume["source"])
        for service in file["services"].values()
        for volume in service.get("volumes", ())
        if not volume.get("read_only")
    }

    assert not (folder / "data").exists()
    assert [] == [path for path in sources if not path.is_dir()]
    assert all(str(path).startswith(str(tmp_path / "srv")) for path in sources)


def test_git_sees_none_of_it(folder: Path) -> None:
    """What it makes is ignored where it is made."""
    ignored = (folder / ".gitignore").read_text().split()

    assert {"/.env", "/secrets/", "/data/"} <= set(ignored)
    assert os.access(folder / "init", os.X_OK)
