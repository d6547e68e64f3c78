"""Measure how long a job's whole story takes, out of a ledger with many others.

    python -m benchmarks.job_story [--quick]

The job told of had four attempts, 40 samples and a receipt; beside it are so many others, each with
three samples. The time is that within the process, from the question to the last character: what
Python needs to start and to import a command is not in it. The last line is one JSON object.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.bars import options, tell

QUICK, FULL = 5_000, 100_000
GROUP = 1000
SAMPLES = 40
RETRIES = 3
TIMES = 60


def configure(home: Path) -> None:
    """Write honeyflow.toml and make it this process's."""
    (home / "model").mkdir()
    (home / "model" / "config.json").write_text('{"model_type": "fake"}')
    (home / "honeyflow.toml").write_text(
        f'data_dir = "{home / "data"}"\nnode = "bench"\n'
        f'[models.fake]\npath = "{home / "model"}"\nengine = "fake"\n'
    )
    os.environ["HONEYFLOW_CONFIG"] = str(home / "honeyflow.toml")


def fill(others: int) -> str:
    """Fill the ledger; gives the id of the job with the longest story."""
    from ledger import jobs, sessions
    from tasks import wiring

    client = wiring.client()
    with client.ledger.write() as tx:
        session = sessions.open(
            tx,
            worker="bench",
            node="bench",
            pid=os.getpid(),
            pid_started=0.0,
            pid_namespace="",
            boot_id="",
            lease_s=3600.0,
        ).id
    for begun in range(0, others, GROUP):
        drafts = [
            client.draft({"model": "fake", "prompt": f"question {at}"})
            for at in range(begun, min(others, begun + GROUP))
        ]
        with client.ledger.write() as tx:
            for job in jobs.submit(tx, drafts):
                draw(tx, job.id, session, 3)
    draft = client.draft({"model": "fake", "prompt": "the one"})
    with client.ledger.write() as tx:
        jobs.submit(tx, [draft])
        for _ in range(RETRIES):
            fence = draw(tx, draft.id, session, SAMPLES)
            jobs.hand_back(tx, job_id=draft.id, fence=fence, reason="drain")
        draw(tx, draft.id, session, SAMPLES)
    return draft.id


def draw(tx: Any, job_id: str, session: str, number: int) -> int:
    """Claim a job and keep samples of it; gives its fence."""
    from ledger import Claim, SampleRow, jobs, samples

    claim = jobs.claim(tx, session=session, job_id=job_id, number=1 << 30)
    assert isinstance(claim, Claim), claim
    rows = [
        SampleRow(
            job_id=job_id,
            index=at,
            fence=claim.job.fence,
            seed=at,
            text=f"an answer of some length, number {at} of {job_id}",
            completion_tokens=100,
            duration_ms=900,
            answer_class="yes",
        )
        for at in range(number)
    ]
    samples.add_many(tx, rows)
    return claim.job.fence


def measure(job_id: str) -> dict[str, float]:
    """Tell the story over and over, on a terminal that is none, and as JSON."""
    from rich.console import Console

    from cli import job_story
    from tasks import story as stories
    from tasks import wiring

    client = wiring.client()
    taken: dict[str, list[float]] = {"text": [], "json": []}
    for _ in range(TIMES):
        for form, times in taken.items():
            began = time.perf_counter()
            story = stories.collect(client, job_id)
            if form == "json":
                json.dumps(stories.plain(story), default=str)
            else:
                job_story.tell(Console(file=io.StringIO(), soft_wrap=True), story)
            times.append(1000 * (time.perf_counter() - began))
    return {
        **{f"{form}_p50_ms": statistics.median(times) for form, times in taken.items()},
        **{f"{form}_p95_ms": sorted(times)[int(0.95 * TIMES)] for form, times in taken.items()},
        "first_ms": taken["text"][0],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print, last, one JSON object."""
    chosen = options("job_story", __doc__, quick="a smaller ledger").parse_args(arguments)
    others = QUICK if chosen.quick else FULL
    with tempfile.TemporaryDirectory(prefix="honeyflow-bench-") as folder:
        configure(Path(folder))
        from tasks import wiring

        wiring.open_ledger(migrate=True).close()
        figures = measure(fill(others))
        wiring.client().ledger.close()
    tell("job_story", {"jobs": others, **figures}, quick=chosen.quick)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
