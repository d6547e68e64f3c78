"""Opening a ledger: who may make it, which one it is, and where it cannot be."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from ledger import (
    Ledger,
    LedgerError,
    LedgerForeign,
    LedgerGone,
    LedgerNotMigrated,
    LedgerOnNetworkFilesystem,
    LedgerRefused,
    LedgerTooNew,
    LedgerUnavailable,
    LedgerUrlInvalid,
    filesystems,
    schema,
    tables,
)
from tests.integration.ledger.support import enter
from tests.postgres import PostgresServer


def test_a_ledger_keeps_its_name(url: str) -> None:
    """Whoever opens it, with or without migrating."""
    first, second = Ledger.open(url), Ledger.open(url, migrate=True)

    assert first.uuid == second.uuid
    assert first.place == second.place
    assert first.dialect in first.place
    first.close()
    second.close()


def test_the_tables_are_those_of_the_migrations(url: str) -> None:
    """Nothing was changed in one and forgotten in the other."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "ledger_version"})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def test_the_known_revisions_are_those_of_the_migrations() -> None:
    """In their order, so that an older schema is told from a newer one."""
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    script = ScriptDirectory.from_config(config)

    assert tuple(reversed([step.revision for step in script.walk_revisions()])) == (
        schema.REVISIONS
    )


def test_a_client_never_makes_a_ledger(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """Nor does a wrong path leave anything behind."""
    with pytest.raises(LedgerNotMigrated, match=r"sub/ledger.db") as caught:
        Ledger.open(f"sqlite:///{tmp_path}/sub/ledger.db")
    assert "honeyflow up" in caught.value.suggested_action
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    with pytest.raises(LedgerNotMigrated):
        Ledger.open(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(LedgerNotMigrated):
        Ledger.open(postgres_server.url(postgres_server.create_database()))


def test_an_older_or_newer_schema_is_refused(url: str) -> None:
    """A client waits for a worker to migrate, or has to be upgraded itself."""
    ledger = Ledger.open(url)
    with ledger.write() as tx:
        tx.execute(sa.text("UPDATE ledger_version SET version_num = 'r9999'"))
    for migrate in (False, True):
        with pytest.raises(LedgerTooNew, match="r9999"):
            Ledger.open(url, migrate=migrate)
    with ledger.write() as tx:
        tx.execute(sa.text("DELETE FROM ledger_version"))
    with pytest.raises(LedgerNotMigrated):
        Ledger.open(url)
    with ledger.write() as tx:
        insert = "INSERT INTO ledger_version (version_num) VALUES (:newest)"
        tx.execute(sa.text(insert), {"newest": schema.REVISIONS[-1]})
    ledger.close()


def test_a_new_file_is_its_owners_only(tmp_path: Path) -> None:
    """It holds prompts."""
    path = tmp_path / "data" / "ledger.db"
    Ledger.open(f"sqlite:///{path}", migrate=True).close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def _open(url: str, names: multiprocessing.Queue[str]) -> None:
    with Ledger.open(url, migrate=True) as ledger:
        names.put(ledger.uuid)


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_many_processes_may_migrate_at_once(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    """One of them does; all find the same ledger."""
    if store == "sqlite":
        url = f"sqlite:///{tmp_path}/new/ledger.db"
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.url(server.create_database())
    context = multiprocessing.get_context("spawn")
    names: multiprocessing.Queue[str] = context.Queue()
    processes = [context.Process(target=_open, args=(url, names)) for _ in range(4)]
    for process in processes:
        process.start()
    found = {names.get(timeout=150) for _ in processes}
    for process in processes:
        process.join()

    with Ledger.open(url) as ledger:
        assert found == {ledger.uuid}


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://host/db", "sqlite://", "sqlite:///:memory:", "sqlite:///x?a=b"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Without repeating it: it may hold a password."""
    with pytest.raises(LedgerUrlInvalid):
        Ledger.open(url, migrate=True)


def test_a_network_filesystem_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made there; the mount table is a text like the kernel's."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(filesystems, "_MOUNTS", mounts)
    with pytest.raises(LedgerOnNetworkFilesystem, match="nfs4"):
        Ledger.open(f"sqlite:///{tmp_path}/sub/ledger.db", migrate=True)

    assert list(tmp_path.iterdir()) == [mounts]


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """And so is a file that is no database, and a folder that cannot be written."""
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(LedgerForeign):
        Ledger.open(f"sqlite:///{path}", migrate=True)
    assert path.read_bytes() == before
    (tmp_path / "text.db").write_text("not a database at all, only text " * 100)
    with pytest.raises(LedgerError, match="not a database"):
        Ledger.open(f"sqlite:///{tmp_path}/text.db", migrate=True)
    with pytest.raises(LedgerRefused):
        Ledger.open("sqlite:////proc/no/ledger.db", migrate=True)


def test_a_file_that_vanished_is_noticed(sqlite_url: str) -> None:
    """Nothing is written into a file that nobody can find any more."""
    ledger = Ledger.open(sqlite_url)
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    kept = path.rename(path.with_suffix(".away"))
    with pytest.raises(LedgerGone):
        enter(ledger)
    kept.rename(path)
    enter(ledger)
    ledger.close()


def test_a_server_that_does_not_answer_is_unavailable(postgres_server: PostgresServer) -> None:
    """A wrong database or user is refused; the password is never told."""
    with pytest.raises(LedgerUnavailable) as caught:
        Ledger.open("postgresql+psycopg://me:secret@127.0.0.1:1/db?sslpassword=secret")
    assert caught.value.details["place"] == "postgresql+psycopg://me@127.0.0.1:1/db"
    assert caught.value.retriable
    assert "secret" not in f"{caught.value} {caught.value.details}"
    with pytest.raises(LedgerRefused, match="does not exist"):
        Ledger.open(postgres_server.url("no_such_database"))
    with pytest.raises(LedgerRefused, match="does not exist"):
        Ledger.open(postgres_server.url("postgres").replace("honeyflow@", "nobody_known@"))


def test_a_client_does_not_import_alembic(sqlite_url: str) -> None:
    """Nor the driver of the store that it does not use."""
    code = (
        "import sys; from ledger import Ledger; Ledger.open(sys.argv[1]).close();"
        "print([name for name in ('alembic', 'psycopg') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, sqlite_url]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
