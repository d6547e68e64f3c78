"""One picture of a model: its odds, its agreement, its K. The figures come from `measures`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.queenbee.measures import Bin, Figures, Resampled, ks

INK, MUTED = "#333333", "#9a9a9a"
BEE = "#c77700"
ENOUGH = 10
#: From few samples to many, light to dark.
K_COLOURS = ("#f3d9a4", "#d9962e", "#7a4a00")


def plot(figures: Figures, path: Path) -> None:
    """Write the picture as a PNG."""
    mpl.rcParams.update({"font.size": 10, "text.color": INK, "axes.labelcolor": INK})
    figure = Figure(figsize=(13, 4.4), layout="constrained", dpi=120)
    left, middle, right = figure.subplots(1, 3)
    odds, resampled, accuracy = figures.odds, figures.resampled, figures.accuracy
    _reliability(left, odds.bins, "known probability of a reading", "share of samples that give it")
    left.set_title(f"Unclear texts: samples follow the odds\n({odds.samples} samples a text)")
    _reliability(middle, resampled.agreement, "agreement of the samples", "answer right")
    middle.set_title(f"Agreement under `{resampled.policy}`\nECE {resampled.ece:.3f}")
    _stacked(right, resampled)
    right.set_title(f"Samples drawn under `{resampled.policy}`\nand who needs a person")
    figure.suptitle(
        f"{figures.model}: {figures.parameters / 1e6:.2f} M parameters, "
        f"{accuracy.right['all']:.1%} of {accuracy.clear_texts} clear held-out texts right",
        fontweight="bold",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _reliability(axes: Axes, bins: Sequence[Bin], across: str, up: str) -> None:
    most = max(one.count for one in bins)
    many = [one for one in bins if one.count >= ENOUGH]
    few = [one for one in bins if one.count < ENOUGH]
    axes.plot((0, 1), (0, 1), color=MUTED, linewidth=1, linestyle="--", label="perfect")
    axes.plot(*_points(many), color=BEE, linewidth=1.5, label="measured (area: cases)")
    sizes = [20 + 160 * one.count / most for one in many]
    axes.scatter(*_points(many), s=sizes, color=BEE, zorder=3)
    if few:
        label = f"fewer than {ENOUGH} cases"
        axes.scatter(*_points(few), s=20, facecolor="none", edgecolor=BEE, label=label)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), xlabel=across, ylabel=up)
    axes.legend(frameon=False, loc="lower right")
    _bare(axes)


def _points(bins: Sequence[Bin]) -> tuple[list[float], list[float]]:
    return [one.predicted for one in bins], [one.observed for one in bins]


def _stacked(axes: Axes, resampled: Resampled) -> None:
    kinds = list(resampled.k)
    totals = [sum(resampled.k[kind].values()) for kind in kinds]
    floor = [0.0] * len(kinds)
    for k, colour in zip(ks(resampled), K_COLOURS, strict=False):
        shares = [resampled.k[kind].get(k, 0) / n for kind, n in zip(kinds, totals, strict=True)]
        axes.bar(kinds, shares, bottom=floor, color=colour, label=f"K = {k}", width=0.62)
        floor = [low + share for low, share in zip(floor, shares, strict=True)]
    for number, kind in enumerate(kinds):
        axes.text(number, 1.02, f"review {resampled.review[kind]:.0%}", ha="center", color=INK)
    axes.set(ylim=(0, 1.12), ylabel="share of texts")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.07), ncols=3)
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK)
