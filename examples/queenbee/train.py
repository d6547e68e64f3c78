"""Train a QueenBee model from its grammar, in minutes, on two cores.

`python -m examples.queenbee.train --model queenbee-spine` writes the model's directory anew,
weights, tokenizer and profile; `--quick` makes a worse one in half a minute. The data is drawn
from a seed, so one machine with one set of library versions makes the same bytes again. Only the
answer is learned: the loss counts no token of the prompt. Measuring the result is `evaluate`'s
business.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.queenbee.grammar import GRAMMARS, Grammar, prompt
from examples.queenbee.shipping import CARD, MODELS, write_profile, write_sums
from examples.queenbee.tokenizer import train_tokenizer

MAX_LENGTH = 512
IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is made; `steps` batches of `batch` texts, learning rates at their peaks.

    Muon takes the matrices of the layers, AdamW the embedding and the norms. At this size Muon
    needs about a third of the steps that AdamW alone needs to tie each grade to its place.
    """

    seed: int = 7
    steps: int
    batch: int = 32
    muon_rate: float = 0.02
    adamw_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup: int = 100
    vocab_size: int = 1024
    tokenizer_texts: int = 20_000
    threads: int = 2


RECIPES: Mapping[str, Recipe] = {
    "queenbee-spine": Recipe(steps=2600),
    "queenbee-chest": Recipe(steps=4000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Right-padded token ids and the ids to predict, both of shape (texts, tokens)."""

    inputs: torch.Tensor
    labels: torch.Tensor


def network(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return an untrained model of about a million parameters for this vocabulary."""
    return LlamaForCausalLM(  # type: ignore[no-untyped-call]  # partly typed library
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=320,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            head_dim=32,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            dtype="float32",
        )
    )


def corpus(grammar: Grammar, seed: int) -> Iterator[tuple[str, str]]:
    """Yield prompts and answers of the training split without end."""
    rng = random.Random(f"answers:{seed}")
    for finding in grammar.findings(seed=seed, split="train"):
        yield prompt(finding.text), finding.draw(rng)


def batches(
    pairs: Iterator[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, size: int
) -> Iterator[Batch]:
    """Yield batches of texts of like length: 32 batches are drawn at once and sorted."""
    rng = random.Random(0)
    while True:
        chunk = list(itertools.islice(pairs, size * 32))
        questions = tokenizer([question for question, _ in chunk])["input_ids"]
        answers = tokenizer([reply for _, reply in chunk], add_special_tokens=False)["input_ids"]
        rows = sorted(
            ((q, [*a, tokenizer.eos_token_id]) for q, a in zip(questions, answers, strict=True)),
            key=lambda row: len(row[0]) + len(row[1]),
        )
        groups = [rows[start : start + size] for start in range(0, len(rows), size)]
        rng.shuffle(groups)
        for group in groups:
            yield _padded(group, tokenizer.pad_token_id)


def _padded(rows: list[tuple[list[int], list[int]]], pad: int) -> Batch:
    width = max(len(question) + len(reply) for question, reply in rows)
    inputs = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), IGNORED)
    for row, (question, reply) in enumerate(rows):
        ids = torch.tensor(question + reply)
        inputs[row, : len(ids)] = ids
        # the label of a position is the token that follows it
        labels[row, len(question) - 1 : len(ids) - 1] = ids[len(question) :]
    return Batch(inputs=inputs, labels=labels)


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Return the mean cross-entropy of the answer tokens, in nats."""
    hidden = model.model(input_ids=batch.inputs).last_hidden_state
    asked = batch.labels != IGNORED
    return cross_entropy(model.lm_head(hidden[asked]), batch.labels[asked])


def fit(model: LlamaForCausalLM, data: Iterator[Batch], recipe: Recipe) -> None:
    """Train in place: linear warm-up, then a cosine down to nothing."""
    embedding = model.get_input_embeddings().weight
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embedding]
    others = [p for p in model.parameters() if p.ndim == 1 or p is embedding]
    optimizers = (
        torch.optim.Muon(matrices, lr=recipe.muon_rate, weight_decay=recipe.weight_decay),
        torch.optim.AdamW(others, lr=recipe.adamw_rate, betas=(0.9, 0.98), weight_decay=0.0),
    )
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(one, lambda step: _rate(step, recipe))
        for one in optimizers
    ]
    started = time.monotonic()
    tokens = 0
    model.train()
    for step, batch in zip(range(1, recipe.steps + 1), data, strict=False):
        loss = answer_loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]  # partly typed library
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        tokens += batch.inputs.numel()
        if step % 50 == 0 or step == recipe.steps:
            seconds = time.monotonic() - started
            rate = tokens / seconds
            _say(f"step {step:5d}  loss {loss.item():.4f}  {seconds:4.0f} s  {rate:,.0f} tokens/s")
    model.eval()  # type: ignore[no-untyped-call]  # partly typed library


def _rate(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def train(grammar: Grammar, recipe: Recipe, out: Path) -> None:
    """Make the model of a grammar and write its directory."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    pairs = itertools.islice(corpus(grammar, recipe.seed), recipe.tokenizer_texts)
    tokenizer = train_tokenizer(
        (question + reply for question, reply in pairs),
        vocab_size=recipe.vocab_size,
        max_length=MAX_LENGTH,
    )
    model = network(tokenizer)
    _say(f"{grammar.model}: {model.num_parameters():,} parameters, {len(tokenizer):,} tokens")
    fit(model, batches(corpus(grammar, recipe.seed), tokenizer, recipe.batch), recipe)
    save(grammar, model, tokenizer, out)


def save(
    grammar: Grammar, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path
) -> None:
    """Write a model's directory; a card from an earlier model would lie and is removed."""
    out.mkdir(parents=True, exist_ok=True)
    (out / CARD).unlink(missing_ok=True)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # partly typed library
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_profile(grammar, out)
    for path in out.iterdir():
        path.chmod(0o644)
    write_sums(out)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=sorted(GRAMMARS), required=True)
    parser.add_argument("--out", type=Path, help="directory to write (default: the shipped one)")
    parser.add_argument("--seed", type=int, help="another data set and another start")
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps, a worse model")
    options = parser.parse_args()
    recipe = RECIPES[options.model]
    if options.seed is not None:
        recipe = replace(recipe, seed=options.seed)
    if options.quick:
        recipe = replace(recipe, steps=recipe.steps // 10)
    train(GRAMMARS[options.model], recipe, options.out or MODELS / options.model)


if __name__ == "__main__":
    main()
