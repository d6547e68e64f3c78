"""The options a worker takes beside Celery's own: `--gpu`, `--model`, `--device`, `--maintenance`.

They are eager: the GPU is pinned while the command line is read, before any module of the user's,
and so any engine, is imported. Queues and the node name follow from them unless `-Q` or `-n` is
given.
"""

from __future__ import annotations

from typing import Any

import click
from celery.bin.base import CeleryOption

from tasks import pinning
from tasks.errors import describe


def _settle(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Note one option; once they suffice, pin the process and choose its queues and name."""
    given = ctx.meta.setdefault("honeyflow.options", {})
    given[param.name] = value
    if len(given) < len(WORKER_OPTIONS) or ctx.resilient_parsing:
        return value
    try:
        pin = pinning.settle(**given)
    except Exception as error:
        if not hasattr(error, "suggested_action"):
            raise
        told = describe(error)
        raise click.ClickException(
            f"{told['message']} [{told['code']}] {told['suggested_action']}"
        ) from error
    if pin is not None:
        ctx.default_map = {
            **(ctx.default_map or {}),
            "queues": ",".join(pin.queues),
            "hostname": pin.name,
        }
    return value


def _option(*words: str, **more: Any) -> click.Option:
    return CeleryOption(words, is_eager=True, callback=_settle, help_group="Engine Options", **more)


WORKER_OPTIONS = (
    _option(
        "--gpu",
        default=None,
        help="GPU to pin this worker to: an NVML index, a UUID or a MIG UUID. "
        "Several with commas make one tensor-parallel engine.",
    ),
    _option("--model", default=None, help="Model this worker serves."),
    _option(
        "--device",
        default=None,
        type=click.Choice(["cpu", "cuda"]),
        help="cpu must be said; cuda is what --gpu means.",
    ),
    _option("--engine", default=None, help="Engine: vllm, transformers or fake."),
    _option(
        "--maintenance",
        is_flag=True,
        default=False,
        help="Run what beat sends; no GPU and no engine.",
    ),
)
