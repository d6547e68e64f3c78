"""`honeyflow job bundle|replay|purge`: what a job leaves behind, run again, and erased."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tasks import bundle as bundles
from tasks import purge as purges
from tasks import replay as replays
from tasks import wiring
from tasks.replay import Replay, Verdict

EXIT_CODES = {Verdict.EQUAL: 0, Verdict.DIFFERENT: 1, Verdict.NOT_COMPARABLE: 2}


class Device(StrEnum):
    """Where a replay runs."""

    CPU = "cpu"
    CUDA = "cuda"


def bundle(
    job_id: Annotated[str, typer.Argument(help="The job's id.")],
    folder: Annotated[
        Path, typer.Option("-o", "--output", help="A folder that is not there yet, or empty.")
    ],
) -> None:
    """Write all that a job left into a folder: request, report, seeds, samples, receipt, proof."""
    client = wiring.client()
    files = bundles.collect(client, job_id)
    bundles.write(files, folder)
    typer.echo(f"{len(files)} files of job {job_id} in {folder}; they hold all of its text.")


def replay(
    folder: Annotated[Path, typer.Argument(help="A folder that `job bundle` wrote.")],
    engine: Annotated[
        str | None, typer.Option(help="The engine to run it on; the recorded one by default.")
    ] = None,
    device: Annotated[
        Device | None, typer.Option(help="The device to run it on; the recorded one by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run a job again alone, with the same seeds, and compare.

    Exit status: 0 equal, 1 different, 2 not comparable.
    """
    result = replays.run_folder(folder, engine=engine, device=device and str(device))
    if as_json:
        typer.echo(json.dumps(_plain(result), ensure_ascii=False))
    else:
        typer.echo(f"{result.verdict}: {result.reason}")
        for one in result.compared:
            if not one.equal:
                typer.echo(f"  sample {one.sample.index}, recorded: {one.sample.text!a}")
                typer.echo(f"  sample {one.sample.index}, now:      {one.text!a}")
    raise typer.Exit(EXIT_CODES[result.verdict])


def purge(
    job_id: Annotated[str, typer.Argument(help="The job's id.")],
    force: Annotated[
        bool,
        typer.Option("--force", help="Also where somebody has not been told of its end yet."),
    ] = False,
) -> None:
    """Erase a job's texts and its salt, and keep its receipt. There is no way back."""
    typer.echo(purges.purge(wiring.client(), job_id, force=force).told())


def _plain(result: Replay) -> dict[str, object]:
    return {
        "verdict": str(result.verdict),
        "reason": result.reason,
        "engine": None if result.info is None else asdict(result.info),
        "samples": [{"index": one.sample.index, "equal": one.equal} for one in result.compared],
    }
