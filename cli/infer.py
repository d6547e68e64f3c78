"""`honeyflow infer`: ask a model and print its answer."""

from __future__ import annotations

import json
import sys
import time
from typing import Annotated, Any

import redis
import typer
from rich.console import Console

from tasks import ledger_id, stream, wiring
from tasks.client import ENDED, Client, JobResult, Ticket
from tasks.errors import RequestInvalid, WaitTimeout

POLL_S = 0.25


def infer(
    model: Annotated[str, typer.Argument(help="The model to ask.")],
    prompt: Annotated[str, typer.Argument(help="The prompt; - reads it from standard input.")],
    findings: Annotated[
        bool, typer.Option("--findings", help="The text is findings for the profile's template.")
    ] = False,
    profile: Annotated[str | None, typer.Option(help="The profile to ask by.")] = None,
    policy: Annotated[str | None, typer.Option(help="When to stop drawing samples.")] = None,
    k: Annotated[int | None, typer.Option("-k", help="Draw exactly this many samples.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of an answer at most.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the request.")] = None,
    sensitive: Annotated[
        bool, typer.Option("--sensitive", help="Salt the receipt's hashes: texts can be guessed.")
    ] = False,
    priority: Annotated[str, typer.Option(help="interactive, normal, batch or idle.")] = "normal",
    show_stream: Annotated[
        bool, typer.Option("--stream", help="Show sample 0 as it is written.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait.")] = None,
) -> None:
    """Ask a model and print its answer."""
    text = sys.stdin.read() if prompt == "-" else prompt
    fields: dict[str, Any] = {
        "model": model,
        "findings" if findings else "prompt": text,
        "profile": profile,
        "policy": policy,
        "k": k,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        "sensitive": sensitive or None,
    }
    if profile and not findings:
        raise RequestInvalid(
            "--profile goes with --findings: a profile's template wants findings.",
            suggested_action="Add --findings, or leave out --profile.",
        )
    client = wiring.client()
    ticket = client.submit(fields, priority=priority, stream=show_stream)
    if show_stream:
        result = follow(client, ticket, timeout_s=timeout)
    else:
        result = ticket.result(timeout_s=timeout)
    _print(result, as_json=as_json)


def follow(client: Client, ticket: Ticket, *, timeout_s: float | None) -> JobResult:
    """Print sample 0's tokens as they come, then wait for the result.

    Raises:
        WaitTimeout: the time is over, whether tokens came or not; the job goes on.
        HoneyflowError: the job ended without an answer.
    """
    out = Console(stderr=True, highlight=False)
    until = None if timeout_s is None else time.monotonic() + timeout_s
    try:
        _show_tokens(client, ticket, until, out)
    except (redis.RedisError, OSError) as error:
        # Events are for show; the answer comes from the ledger.
        out.print(f"\nlive events stopped ({error}); waiting for the answer", markup=False)
    out.print()
    try:
        return ticket.result(
            timeout_s=None if until is None else max(0.0, until - time.monotonic())
        )
    except WaitTimeout:
        raise WaitTimeout(
            f"Job {ticket.job_id} has not ended within {timeout_s:g} s; it goes on.",
            details={"job_id": ticket.job_id},
        ) from None


def _show_tokens(client: Client, ticket: Ticket, until: float | None, out: Console) -> None:
    """Print until the job or the time is over; a worker may die with its events."""
    with ledger_id.connect(client.settings) as connection:
        for event in stream.read(connection, ticket.job_id, block_s=POLL_S):
            if until is not None and time.monotonic() >= until:
                return
            if event is None:
                if client.job(ticket.job_id).ended:
                    return
            elif event.kind == "token" and event.data["sample"] == 0:
                out.print(event.data["text"], end="", style="dim", markup=False)
            elif event.kind == "end" and event.data["state"] in ENDED:
                return


def _print(result: JobResult, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result.celery(), ensure_ascii=False))
        return
    typer.echo(result.answer)
    note = Console(stderr=True, highlight=False)
    review = " · a person should look at it" if result.review else ""
    note.print(
        f"confidence {result.confidence:.2f} · K {result.k} ({result.stop_reason}){review}\n"
        f"job {result.job_id} · receipt {result.receipt}",
        style="dim",
        markup=False,
        soft_wrap=True,
    )
