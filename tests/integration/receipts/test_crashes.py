"""Whatever moment a worker's process ends at, its receipts and its log go on whole."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import pytest

from ledger import Ledger, LogRow, batches, log_entries, logs, receipts, trees
from proofs import merkle
from proofs.checkpoint import Checkpoint
from proofs.entry import EntryType, KeyHandoverEntry
from proofs.note import Note
from tasks import bee_key
from tasks.audit import audit
from tasks.key_folder import NEXT
from tasks.rotation import RETIRED
from tests.chaos.scale import THOROUGH, scaled
from tests.integration.receipts.crashing import Processes
from tests.integration.receipts.issuing import WORKER
from tests.integration.receipts.lives import Home, job_ids

FEW = job_ids(5)
TURNS = ("commit", "link", "replace", "rmdir")
"""Where one state becomes another; a quick run ends a process at all of these."""


@pytest.fixture(scope="module")
def processes(sqlite_template: Path) -> Iterator[Processes]:
    """What does the deeds."""
    with Processes(sqlite_template) as started:
        yield started


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder in memory, where there is one: what a process wrote outlives it there as well."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def chosen(places: Sequence[str], *, every: int, turns: tuple[str, ...] = TURNS) -> list[int]:
    """The boundaries to end a process at, from 1: all, or a sample of the different ones."""
    if THOROUGH:
        return list(range(1, len(places) + 1))
    first = {place: number for number, place in reversed(list(enumerate(places, start=1)))}
    always = [number for place, number in first.items() if place.startswith(turns)]
    return sorted({*always, *sorted(first.values())[::every]})


def require_whole(
    home: Home, wanted: Sequence[str], *, seen: Mapping[Path, bytes], what: str
) -> None:
    """Nothing is lost, nothing is doubled, all is sealed, and what was published has not changed.

    `seen` is what somebody may have read before.
    """
    with home.open() as ledger:
        with ledger.read() as tx:
            (log,) = logs.list(tx)
            rows = {job_id: receipts.get(tx, job_id) for job_id in wanted}
            leaves = trees.leaves(tx, log.number, 0, log.size)
            unpublished = batches.unpublished(tx, log.number)
        found = audit(ledger, log, published=home.settings.receipts_dir)
    digests = {job_id: row.digest for job_id, row in rows.items() if row is not None}
    assert digests == digests | home.told(), what
    assert Counter(leaf.job_id for leaf in leaves if leaf.job_id) == Counter(wanted), what
    assert (found.receipts, found.waiting) == (len(wanted), 0), what
    assert (log.size, log.state, unpublished) == (log.sealed_size, "open", []), what
    published = home.published()
    for path, data in seen.items():
        assert published[path] == data, f"{what}: {path} has changed"
    assert len(published) == 3 * log.batches, what
    assert newest(home, log) == max(heads(home, log), key=lambda head: head.size), what
    assert not list(home.settings.receipts_dir.rglob("*.tmp")), what


def heads(home: Home, log: LogRow) -> list[Checkpoint]:
    """All checkpoints that were published."""
    folder = home.settings.receipts_dir / log.log_id / "checkpoints"
    return [head_in(file) for file in sorted(folder.iterdir())]


def newest(home: Home, log: LogRow) -> Checkpoint:
    """The one that says that it is the newest."""
    return head_in(home.settings.receipts_dir / log.log_id / "checkpoint")


def head_in(file: Path) -> Checkpoint:
    """The head that a file names."""
    return Checkpoint.from_note(Note.parse(file.read_bytes()))


def test_a_process_may_end_before_anything_it_does(
    processes: Processes, sqlite_template: Path, scratch: Path
) -> None:
    """From making the key to publishing the last batch; the next one goes on."""
    whole = processes.do("work", Home.make(scratch / "whole", sqlite_template), FEW)
    assert whole.status == 0
    assert len(whole.places) > 300
    for at in chosen(whole.places, every=24):
        what = f"ended before {whole.places[at - 1]}, number {at}"
        home = Home.make(scratch / str(at), sqlite_template)
        assert processes.do("work", home, FEW, at=at).killed, what
        seen = home.published()
        assert processes.do("work", home, FEW, seed=1).status == 0, what
        require_whole(home, FEW, seen=seen, what=what)


@pytest.mark.parametrize("before", ["work", "leave_unsigned", "leave_queued"])
def test_a_handover_may_end_before_anything_it_does(
    processes: Processes, sqlite_template: Path, scratch: Path, before: str
) -> None:
    """From making the next key to its being in place; also where a batch was begun, not signed."""
    ready = Home.make(scratch / "ready", sqlite_template)
    assert processes.do(before, ready, FEW[:3]).status == 0
    whole = ready.copy(scratch / "whole")
    done = processes.do("hand_over", whole, [])
    assert done.status == 0
    assert len(done.places) > 100
    require_handed_over(whole, what="not ended")
    if before == "work":
        ends = chosen(done.places, every=24)
    else:
        ends = chosen(done.places, every=24, turns=("commit",))
    for at in ends:
        what = f"after {before}, ended before {done.places[at - 1]}, number {at}"
        home = ready.copy(scratch / str(at))
        assert processes.do("hand_over", home, [], at=at).killed, what
        seen = home.published()
        assert processes.do("hand_over", home, FEW).status == 0, what
        require_whole(home, FEW, seen=seen, what=what)
        require_handed_over(home, what=what)


def require_handed_over(home: Home, *, what: str) -> None:
    """One key follows the other: in the log, and in both files of the folder."""
    with home.open() as ledger, ledger.read() as tx:
        (log,) = logs.list(tx)
        (row,) = log_entries.of_type(tx, log.number, EntryType.KEY_HANDOVER)
    entry = KeyHandoverEntry.from_bytes(row.data)
    assert (log.key, row.leaf_index is None) == (entry.new_key, False), what
    folder = home.key_folder
    assert key_in(folder) == entry.new_key, what
    (retired,) = (folder / RETIRED).iterdir()
    assert key_in(retired) == entry.old_key, what
    assert bee_key.is_missing(folder / NEXT), what
    # A file that was left half written may be, or be a link to, a private key.
    assert not list(folder.glob("*.tmp")), what


def key_in(folder: Path) -> str:
    """The key in a folder, whose halves belong together."""
    private = bee_key.read_private(folder / bee_key.PRIVATE).public_key
    assert bee_key.read_public(folder) == private
    return private.to_openssh()


def test_a_worker_may_be_killed_at_any_time(
    processes: Processes, sqlite_template: Path, tmp_path: Path
) -> None:
    """Again and again, until all its jobs are there: every head ever published goes on."""
    wanted = job_ids(scaled(300, 2000))
    home = Home.make(tmp_path / "home", sqlite_template, batch=8)
    chance, seed, kills = random.Random(20_261_121), 0, 0
    seen: dict[Path, bytes] = {}
    shown: list[Checkpoint] = []
    while True:
        seed += 1
        ended = processes.do("work", home, wanted, after_s=chance.uniform(0.0, 0.25), seed=seed)
        assert ended.killed or ended.status == 0
        kills += ended.killed
        for path, data in home.published().items():
            assert seen.setdefault(path, data) == data, path
        shown += [head_in(file) for file in home.settings.receipts_dir.glob("*/checkpoint")]
        if not ended.killed:
            break
    assert kills >= 10
    require_whole(home, wanted, seen=seen, what=f"killed {kills} times")
    with home.open() as ledger:
        require_consistent(ledger, home, shown)


def require_consistent(ledger: Ledger, home: Home, shown: Sequence[Checkpoint]) -> None:
    """Each head goes on from each smaller one, and none was shown that was not kept."""
    with ledger.read() as tx:
        (log,) = logs.of_worker(tx, WORKER)
        leaves = [leaf.hash for leaf in trees.leaves(tx, log.number, 0, log.size)]
    kept = heads(home, log)
    assert {head.size for head in shown} <= {head.size for head in kept}
    assert all(head in kept for head in shown)
    for old, new in combinations(kept, 2):
        merkle.verify_consistency(
            old_size=old.size,
            old_root=old.root,
            new_size=new.size,
            new_root=new.root,
            proof=merkle.consistency_proof(leaves[: new.size], old.size),
        )
