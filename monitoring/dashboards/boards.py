"""All boards, in the order in which people look at them."""

from __future__ import annotations

from monitoring.dashboards import gpu, jobs, overview, queue, receipts, workers

BOARDS = (
    overview.BOARD,
    jobs.BOARD,
    workers.BOARD,
    gpu.BOARD,
    queue.BOARD,
    receipts.BOARD,
)
