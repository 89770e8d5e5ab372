"""Held-out evaluation: pass@1, unbiased pass@k, greedy, lengths, strategies, entropy, what reward models think of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from entropostat.data.example import Completion, Example
from entropostat.reward.calls import content
from entropostat.reward.judge import Outcome
from entropostat.trainers.evaluation.draws import Chunk, Draw, EvaluateSettings, drawn_here
from entropostat.trainers.evaluation.entropy import completion_entropy
from entropostat.trainers.evaluation.generation import completion_ids, prompt_ids
from entropostat.trainers.evaluation.rendering import Asking, completed
from entropostat.trainers.evaluation.summary import Record, summarise

Verify = Callable[[Sequence[Completion], Sequence[Example]], Sequence[Outcome]]
Learned = Callable[[Sequence[Completion], Sequence[Example]], Mapping[str, list[float | None]]]
"""Scores of each reward model."""
Gather = Callable[[list[Any]], list[Any]]
"""Lists of all ranks, concatenated: ``accelerate.utils.gather_object``."""


@torch.no_grad()
def evaluate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    chunks: Sequence[Chunk],
    verify: Verify,
    settings: EvaluateSettings,
    *,
    draw: Draw | None = None,
    asking: Any = None,
    learned: Learned = lambda texts, examples: {},
    reference: nn.Module | None = None,
    rank: int = 0,
    world: int = 1,
    gather_object: Gather = lambda records: records,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Metrics ``evaluate/<set>/...``, equal on all ranks and independent of their number.

    ``model`` must be callable without other ranks (under ZeRO-3: gathered). ``draw`` gives completions, which ``model`` draws
    itself without one, and ``asking`` says how they are read (see ``completed``). ``reference`` adds ``entropy_ratio``; the
    model itself stands for a PEFT model with its adapter off. ``learned`` adds the mean score of each reward model. Random
    state and training mode are left as they were.
    """
    mine = chunks[rank::world]
    draw, asking = draw or drawn_here(model, tokenizer, settings), asking or Asking(tokenizer)
    records: list[tuple[str, Record]] = []
    with _undisturbed(model):
        for done, chunk in enumerate(mine):
            for record in _run(model, tokenizer, chunk, draw, asking, verify, learned, settings, reference):
                records.append((chunk.set, record))
            if progress is not None:
                progress(done + 1, len(mine))
    everything = gather_object(records)
    metrics: dict[str, float] = {}
    for name in dict.fromkeys(chunk.set for chunk in chunks):
        own = sorted((record for origin, record in everything if origin == name), key=lambda record: record.index)
        if own:
            summary = summarise(own, settings.of(name), with_reference=reference is not None)
            metrics |= {f"evaluate/{name}/{key}": value for key, value in summary.items()}
    return metrics


def _run(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    chunk: Chunk,
    draw: Draw,
    asking: Any,
    verify: Verify,
    learned: Learned,
    settings: EvaluateSettings,
    reference: nn.Module | None,
) -> Iterator[Record]:
    """One chunk: drawn, judged, measured."""
    drawn, n, device = draw(chunk), settings.samples, next(model.parameters()).device
    asked = [example for example in chunk.examples for _ in range(n)]
    prompts = [prompt for prompt in chunk.prompts for _ in range(n)]
    said = completed(asking, asked, prompts, drawn.samples)
    outcomes, scores = verify(said, asked), learned(said, asked)
    prompt, attention = prompt_ids(prompts, tokenizer, device)
    completion, mask = completion_ids(drawn.samples, tokenizer, device)
    ids, whole, width = torch.cat([prompt, completion], 1), torch.cat([attention, mask], 1), prompt.shape[1]
    entropy = completion_entropy(model, ids, whole, width, settings.temperature).sum(1)
    reference_entropy = torch.zeros_like(entropy)
    if reference is not None:
        with _adapter_off(reference) if reference is model else _evaluating(reference):
            reference_entropy = completion_entropy(reference, ids, whole, width, settings.temperature).sum(1)
    greedy: Sequence[Outcome] = [Outcome()] * len(chunk.examples)
    if settings.greedy:
        greedy = verify(completed(asking, chunk.examples, chunk.prompts, drawn.greedy), chunk.examples)
    for i in range(len(chunk.examples)):
        rows = slice(i * n, (i + 1) * n)
        yield Record(
            index=chunk.start + i,
            right=[outcome.right for outcome in outcomes[rows]],
            strategies=[outcome.strategy for outcome in outcomes[rows]],
            distinct=len(set(map(content, said[rows]))),
            tokens=int(mask[rows].sum()),
            entropy=float(entropy[rows].sum()),
            reference_entropy=float(reference_entropy[rows].sum()),
            greedy_right=greedy[i].right,
            learned={name: [x for x in column[rows] if x is not None] for name, column in scores.items()},
        )


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and a private random state inside; both as before outside."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), _evaluating(model):
        yield


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:  # one by one: some parts may be frozen in evaluation mode
            module.training = mode


@contextmanager
def _adapter_off(model: Any) -> Iterator[None]:
    if not hasattr(model, "disable_adapter"):
        raise TypeError("the policy is its own reference only where it is a PEFT model; pass another model")
    with model.disable_adapter():
        yield
