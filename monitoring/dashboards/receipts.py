"""The board of receipts, of what people look at, and of what people are told."""

from __future__ import annotations

from monitoring.dashboards.board import Board, Kind, Panel, Query, Unit, Variable
from monitoring.dashboards.promql import age, grown, most, or_zero, rate, series, total

_OLDEST = series("receipts_oldest_unsealed_timestamp_seconds")

BOARD = Board(
    uid="honeyflow-receipts",
    title="honeyflow / Receipts",
    description="What is proved, what waits for a person, and what was told to people.",
    variables=(Variable.MODEL,),
    panels=(
        Panel(
            title="Receipts written",
            description="One for each answer.",
            unit=Unit.PER_MINUTE,
            queries=(Query(expr=f"60 * {rate('receipts_total', 'model')}", legend="{{model}}"),),
        ),
        Panel(
            title="Not in a log yet",
            description="Receipts that are signed and wait for their batch.",
            unit=Unit.COUNT,
            queries=(Query(expr=total("receipts_unsealed"), legend="receipts"),),
        ),
        Panel(
            title="Oldest that is not in a log",
            description="After 15 minutes it should be.",
            unit=Unit.SECONDS,
            steps={900: "orange"},
            queries=(Query(expr=or_zero(f"time() - max({_OLDEST} > 0)"), legend="oldest"),),
        ),
        Panel(
            title="Batches sealed",
            description="In the time shown.",
            unit=Unit.COUNT,
            queries=(Query(expr=grown("merkle_roots_total"), legend="batches"),),
        ),
        Panel(
            title="Signatures of witnesses",
            description="In the time shown.",
            unit=Unit.COUNT,
            queries=(Query(expr=grown("cosignatures_total"), legend="cosignatures"),),
        ),
        Panel(
            title="Waiting for IPFS",
            description="Reports and batches that are not uploaded yet.",
            unit=Unit.COUNT,
            queries=(Query(expr=total("artifact_uploads_pending"), legend="uploads"),),
        ),
        Panel(
            title="For people to look at",
            description="Answers in doubt, by state.",
            unit=Unit.COUNT,
            stacked=True,
            queries=(Query(expr=total("review_items", "state"), legend="{{state}}"),),
        ),
        Panel(
            title="The oldest of them",
            description="How long it has waited for a person.",
            unit=Unit.SECONDS,
            queries=(Query(expr=most("review_oldest_open_age_seconds"), legend="oldest"),),
        ),
        Panel(
            title="Messages to people",
            description="In the time shown, by channel and by what became of them.",
            unit=Unit.COUNT,
            queries=(
                Query(
                    expr=or_zero(grown("alerts_sent_total", "channel", "outcome")),
                    legend="{{channel}}, {{outcome}}",
                ),
            ),
        ),
        Panel(
            title="Not delivered yet",
            description="Messages that wait, by channel.",
            unit=Unit.COUNT,
            steps={10: "orange"},
            queries=(
                Query(expr=or_zero(total("alert_outbox_length", "channel")), legend="{{channel}}"),
            ),
        ),
        Panel(
            title="Last message delivered",
            description="How long ago, by channel; empty where there was none.",
            unit=Unit.SECONDS,
            kind=Kind.NUMBER,
            queries=(
                Query(
                    expr=age("alert_last_delivery_timestamp_seconds", "channel"),
                    legend="{{channel}}",
                ),
            ),
        ),
    ),
)
