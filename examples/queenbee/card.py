"""The model card that ships beside the weights: what the model is, how it was made, how it does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from examples.queenbee.grammar import Grammar, prompt
from examples.queenbee.measures import Accuracy, Bin, Figures, ks
from examples.queenbee.shipping import CARD, reproduce
from examples.queenbee.train import RECIPES

EXAMPLES: Mapping[str, tuple[str, str]] = {
    "queenbee-spine": (
        "L4-L5: Moderate central canal stenosis due to facet arthropathy.",
        (
            '{"level": "L4-L5", "grade": "moderate", "impression": '
            '"Moderate central canal stenosis at L4-L5."}'
        ),
    ),
    "queenbee-chest": (
        "Consolidation in the right lower lobe. No pneumothorax.",
        (
            '{"region": "right lower lobe", "finding": "consolidation", "impression": '
            '"Right lower lobe consolidation."}'
        ),
    ),
}

ASKED: Mapping[str, str] = {
    "queenbee-spine": "the lumbar level with the worst stenosis and its grade",
    "queenbee-chest": "the most urgent pulmonary finding and where it is",
}


def write_card(grammar: Grammar, figures: Figures, directory: Path) -> None:
    """Write `MODEL_CARD.md`."""
    (directory / CARD).write_text(render(grammar, figures), encoding="utf-8")


def render(grammar: Grammar, figures: Figures) -> str:
    """Return the card as Markdown."""
    accuracy, odds, resampled = figures.accuracy, figures.odds, figures.resampled
    recipe = RECIPES[grammar.model]
    findings, reply = EXAMPLES[grammar.model]
    choices = "\n".join(
        f"- `{name}`: {', '.join(f'`{value}`' for value in values)}"
        for name, values in grammar.choices.items()
    )
    return f"""# {grammar.model}

A very small language model that reads the findings of a {grammar.subject} and answers with
{ASKED[grammar.model]}, as one line of JSON. It exists to show honeyflow: the answers are really
computed, and really in doubt where the text is.

**It is not a medical device.** It has seen nothing but sentences made up by a program, and must not
be used for anything that concerns a patient.

| | |
| --- | --- |
| architecture | Llama, 4 layers, hidden size 128, 4 heads of 32, tied embeddings, float32 |
| parameters | {figures.parameters:,} |
| vocabulary | {figures.vocabulary:,} tokens, byte-level BPE |
| context | 512 tokens |
| licence | Apache-2.0, as the program that makes it |

## Prompt and answer

The tokenizer adds the begin token itself. The profile beside this card holds the template.

```text
{prompt(findings)}{reply}
```

{choices}

## Data and training

Every text comes from `examples/queenbee/grammar.py`. A clear text has one reading. A hedged,
contradictory or ambiguous one has several with known probabilities, and its label is drawn from
them. A tenth of all texts, chosen by their hash, is never trained on.

{recipe.steps:,} steps of {recipe.batch} texts, only the answer counted in the loss; Muon for the
matrices, AdamW for the rest, cosine schedule, seed {recipe.seed}. A few minutes on two cores:

```sh
{reproduce(grammar.model)}
```

The same machine and library versions make the same bytes. Others make a model that differs in the
last digits, and so another checksum.

## Held-out figures

{accuracy.texts:,} texts, greedy:

| | |
| --- | ---: |
{_right_rows(accuracy)}
| other texts, a plausible reading | {accuracy.plausible:.1%} |
| answers that meet the schema | {accuracy.valid:.1%} |

Under the policy `{resampled.policy}` at temperature {figures.temperature}, by kind of text. An
answer is right if it equals the drawn label, so an ambiguous text cannot be right more often than
its likeliest reading is.

| texts | {" | ".join(f"K = {k}" for k in ks(resampled))} | to a person | right |
| --- |{" ---: |" * (len(ks(resampled)) + 2)}
{_k_rows(figures)}

## Calibration

Unclear texts, {odds.samples} samples each. Mean total variation distance between samples and
known probabilities: {odds.distance:.3f}; that many samples of a perfect model would show
{odds.expected_distance:.3f}.

| known probability | share of samples | readings |
| ---: | ---: | ---: |
{_bin_rows(odds.bins)}

Agreement of the samples against how often the answer was right, all kinds of text (expected
calibration error {resampled.ece:.3f}):

| agreement | right | texts |
| ---: | ---: | ---: |
{_bin_rows(resampled.agreement)}

## Limits

- It knows the words of its grammar. On real reports, other languages or other questions its
  answer is a guess, and may be a confident one.
- It names one finding only, the worst or most urgent.
- Agreement says how sure the model is, not that it is right: an error that it makes every time
  agrees with itself.
"""


def _right_rows(accuracy: Accuracy) -> str:
    return "\n".join(
        f"| {accuracy.clear_texts:,} clear texts, {name} right | {share:.1%} |"
        for name, share in accuracy.right.items()
    )


def _bin_rows(bins: tuple[Bin, ...]) -> str:
    return "\n".join(f"| {one.predicted:.2f} | {one.observed:.2f} | {one.count} |" for one in bins)


def _k_rows(figures: Figures) -> str:
    resampled = figures.resampled
    rows = []
    for kind, counts in resampled.k.items():
        total = sum(counts.values())
        shares = [f"{counts.get(k, 0) / total:.1%}" for k in ks(resampled)]
        ends = (f"{resampled.review[kind]:.1%}", f"{resampled.right[kind]:.1%}")
        rows.append(f"| {kind} ({total}) | {' | '.join((*shares, *ends))} |")
    return "\n".join(rows)
