"""Jobs: everything that can be done to them, each function on a transaction that the caller holds.

`entries` is how they come in, `claims` how sessions take them, `endings` how they end or are tried
again, `sweeps` what the reconciler does to many, `followers` how they share an execution, `views`
how they are read.
"""

from __future__ import annotations

from ledger.claims import attention, claim, hand_back
from ledger.endings import MAX_TRIES, cancel, commit, expire, fail, finish_cancel, retry
from ledger.entries import refuse, submit
from ledger.followers import release_followers
from ledger.sweeps import (
    MAX_DELIVERIES,
    count_delivery,
    expire_due,
    mark_delivered,
    mark_sent,
    promote,
    queued_by_queue,
    queued_copies,
    release_due,
    resend,
    undelivered,
)
from ledger.views import counts, ended, get, get_many, history, request, result
from ledger.views import list_jobs as list  # noqa: A004 - callers read jobs.list

__all__ = [
    "MAX_DELIVERIES",
    "MAX_TRIES",
    "attention",
    "cancel",
    "claim",
    "commit",
    "count_delivery",
    "counts",
    "ended",
    "expire",
    "expire_due",
    "fail",
    "finish_cancel",
    "get",
    "get_many",
    "hand_back",
    "history",
    "list",
    "mark_delivered",
    "mark_sent",
    "promote",
    "queued_by_queue",
    "queued_copies",
    "refuse",
    "release_due",
    "release_followers",
    "request",
    "resend",
    "result",
    "retry",
    "submit",
    "undelivered",
]
