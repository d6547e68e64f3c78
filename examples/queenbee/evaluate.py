"""Measure a QueenBee model on held-out texts, print the figures, draw them, write its model card.

`python -m examples.queenbee.evaluate --model queenbee-spine` takes some minutes on two cores;
`--quick` a few seconds. `--card` rewrites `MODEL_CARD.md` and `SHA256SUMS` beside the weights,
`--plot` says where the picture goes.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from examples.queenbee import measures
from examples.queenbee.card import write_card
from examples.queenbee.grammar import GRAMMARS, Grammar
from examples.queenbee.plots import plot
from examples.queenbee.sampling import draw, load
from examples.queenbee.shipping import MODELS, TEMPERATURE, write_sums
from executors.resampling import parse_agreement

POLICY = "dynamic"
TEXTS_SEED = 1


def evaluate(grammar: Grammar, directory: Path, *, texts: int, samples: int) -> measures.Figures:
    """Draw greedy and sampled answers to held-out texts and measure them.

    A quarter of the `texts` are drawn `samples` times each at the profile's temperature.
    """
    agreement = parse_agreement(
        {
            "type": "json",
            "schema": grammar.schema(),
            "critical": [f"/{name}" for name in grammar.fields],
            "free_text": ["/impression"],
        }
    )
    loaded = load(directory)
    temperature = TEMPERATURE[grammar.model]
    findings = list(itertools.islice(grammar.findings(seed=TEXTS_SEED, split="held-out"), texts))
    greedy = draw(loaded, [f.text for f in findings], samples=1, temperature=0, seed=0)
    some = findings[: texts // 4]
    drawn = draw(loaded, [f.text for f in some], samples=samples, temperature=temperature, seed=0)
    return measures.Figures(
        model=grammar.model,
        parameters=loaded.model.num_parameters(),
        vocabulary=len(loaded.tokenizer),
        temperature=temperature,
        accuracy=measures.accuracy(grammar, findings, [one for (one,) in greedy], agreement),
        odds=measures.odds(grammar, some, drawn, agreement),
        resampled=measures.resampled(grammar, some, drawn, agreement, POLICY),
    )


def show(figures: measures.Figures, console: Console) -> None:
    """Print the figures as tables."""
    accuracy, odds, resampled = figures.accuracy, figures.odds, figures.resampled
    table = Table(title=f"{figures.model}: {accuracy.texts} held-out texts, greedy")
    table.add_column("measure")
    table.add_column("share", justify="right")
    for name, share in accuracy.right.items():
        table.add_row(f"clear texts, {name} right", f"{share:.1%}")
    table.add_row("other texts, a plausible reading", f"{accuracy.plausible:.1%}")
    table.add_row("answers that meet the schema", f"{accuracy.valid:.1%}")
    console.print(table)
    for title, left, right, bins in (
        (
            (
                f"unclear texts, {odds.samples} samples at temperature {figures.temperature}: "
                f"distance {odds.distance:.3f}, by chance alone {odds.expected_distance:.3f}"
            ),
            "known probability",
            "share of samples",
            odds.bins,
        ),
        (
            f"agreement under {resampled.policy}: ECE {resampled.ece:.3f}",
            "agreement",
            "answer right",
            resampled.agreement,
        ),
    ):
        table = Table(title=title)
        for heading in (left, right, "cases"):
            table.add_column(heading, justify="right")
        for one in bins:
            table.add_row(f"{one.predicted:.2f}", f"{one.observed:.2f}", str(one.count))
        console.print(table)
    table = Table(title=f"K under {resampled.policy}")
    for heading in ("texts", *(f"K={k}" for k in measures.ks(resampled)), "review", "right"):
        table.add_column(heading, justify="right")
    for kind, counts in resampled.k.items():
        total = sum(counts.values())
        shares = [f"{counts.get(k, 0) / total:.1%}" for k in measures.ks(resampled)]
        ends = f"{resampled.review[kind]:.1%}", f"{resampled.right[kind]:.1%}"
        table.add_row(f"{kind} ({total})", *shares, *ends)
    console.print(table)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=sorted(GRAMMARS), required=True)
    parser.add_argument("--directory", type=Path, help="the model (default: the shipped one)")
    parser.add_argument("--plot", type=Path, help="where to write the picture, a PNG")
    parser.add_argument("--card", action="store_true", help="rewrite the model card and checksums")
    parser.add_argument("--quick", action="store_true", help="few texts, rough figures")
    options = parser.parse_args()
    torch.set_num_threads(2)
    directory = options.directory or MODELS / options.model
    texts, samples = (200, 8) if options.quick else (2400, 16)
    figures = evaluate(GRAMMARS[options.model], directory, texts=texts, samples=samples)
    show(figures, Console())
    if options.plot:
        plot(figures, options.plot)
    if options.card:
        write_card(GRAMMARS[options.model], figures, directory)
        write_sums(directory)


if __name__ == "__main__":
    main()
