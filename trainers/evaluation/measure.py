"""Held-out evaluation: pass@1, unbiased pass@k, greedy, lengths, strategies, entropy, what reward models think of it."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from entropostat.data.example import Example
from entropostat.reward.judge import Outcome
from entropostat.trainers.evaluation.entropy import completion_entropy
from entropostat.trainers.evaluation.generation import completion_mask, end_tokens, generate, prompt_ids

Verify = Callable[[list[str], list[Example]], Sequence[Outcome]]
Learned = Callable[[list[str], list[Example]], Mapping[str, list[float | None]]]
"""Scores of each reward model."""
Gather = Callable[[list[Any]], list[Any]]
"""Lists of all ranks, concatenated: ``accelerate.utils.gather_object``."""


@dataclass(frozen=True)
class EvaluateSettings:
    """How much is sampled. Temperature 1 over the whole vocabulary: it is the policy that is measured.

    What else training does to sampling is done here too, or the policy would be measured in a place where it never was.
    """

    max_new_tokens: int
    prompts: int = 96
    samples: int = 16
    k: tuple[int, ...] = (1, 4, 16)
    greedy: bool = True
    seed: int = 7
    batch: int = 1024
    """Sequences generated at once, at most; samples of a prompt stay together."""
    strategies: tuple[str, ...] = ()
    """Reported even where their share is 0."""
    judged: bool = True
    """False: nothing says what is right, so nothing is said about it."""
    stop: tuple[int, ...] = ()
    """Tokens that end a completion besides the tokenizer's and the model's."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a GenerationConfig that are in force in training."""
    by_set: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Set -> fields of these settings that are others there: who judges it may differ."""

    def of(self, name: str) -> EvaluateSettings:
        """For the summary of one set."""
        return replace(self, **self.by_set.get(name, {}))

    def __post_init__(self) -> None:
        for k in self.k:
            if not 1 <= k <= self.samples:
                raise ValueError(f"evaluate.k: {k} must be between 1 and evaluate.samples ({self.samples})")


@dataclass(frozen=True)
class Record:
    """One prompt's results: plain numbers, because they travel between ranks."""

    index: int
    right: list[bool]
    strategies: list[str | None]
    distinct: int
    tokens: int
    entropy: float
    reference_entropy: float
    greedy_right: bool
    learned: dict[str, list[float]]


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that at least one of ``k`` completions drawn without replacement from ``n``, ``c`` of them right, is
    right: 1 - C(n-c, k) / C(n, k), as a product, which neither overflows nor cancels (https://arxiv.org/abs/2107.03374).
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, not n={n}, c={c}, k={k}")
    all_wrong = 1.0
    for i in range(k):
        all_wrong *= max(n - c - i, 0) / (n - i)
    return 1.0 - all_wrong


@torch.no_grad()
def evaluate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    sets: Mapping[str, Sequence[Example]],
    verify: Verify,
    settings: EvaluateSettings,
    *,
    learned: Learned = lambda texts, examples: {},
    reference: nn.Module | None = None,
    rank: int = 0,
    world: int = 1,
    gather_object: Gather = lambda records: records,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Metrics ``evaluate/<set>/...``, equal on all ranks and independent of their number.

    ``model`` must be callable without other ranks (under ZeRO-3: gathered). ``reference`` adds ``entropy_ratio``; the
    model itself stands for a PEFT model with its adapter off. ``learned`` adds the mean score of each reward model. Random
    state and training mode are left as they were.
    """
    size = max(1, settings.batch // settings.samples)
    chunks = []
    for name, examples in sets.items():
        chosen = choose(examples, settings.prompts, f"{settings.seed}-{name}")
        chunks += [(name, start, chosen[start : start + size]) for start in range(0, len(chosen), size)]
    mine = chunks[rank::world]
    records: list[tuple[str, Record]] = []
    with _undisturbed(model):
        for done, (name, start, part) in enumerate(mine):
            for record in _run(
                model, tokenizer, part, start, verify, learned, settings, reference, f"{settings.seed}-{name}"
            ):
                records.append((name, record))
            if progress is not None:
                progress(done + 1, len(mine))
    everything = gather_object(records)
    metrics: dict[str, float] = {}
    for name in sets:
        own = sorted((record for origin, record in everything if origin == name), key=lambda record: record.index)
        if own:
            summary = summarise(own, settings.of(name), with_reference=reference is not None)
            metrics |= {f"evaluate/{name}/{key}": value for key, value in summary.items()}
    return metrics


def choose(examples: Sequence[Example], count: int, seed: str) -> list[Example]:
    """The same ``count`` of them each time, or all."""
    if len(examples) <= count:
        return list(examples)
    return [examples[place] for place in random.Random(seed).sample(range(len(examples)), count)]


def summarise(records: Sequence[Record], settings: EvaluateSettings, with_reference: bool) -> dict[str, float]:
    """Means over prompts; over completions for lengths and strategies; over tokens for entropy."""
    n = settings.samples
    counts = [sum(record.right) for record in records]
    tokens = max(1, sum(record.tokens for record in records))
    entropy = sum(record.entropy for record in records) / tokens
    out: dict[str, float] = {}
    if settings.judged:
        out["pass@1"] = sum(counts) / (n * len(records))
        out |= {f"pass@{k}": sum(pass_at_k(n, c, k) for c in counts) / len(records) for k in settings.k if k > 1}
        if max(settings.k) > 1:
            out["gap"] = out[f"pass@{max(settings.k)}"] - out["pass@1"]
    if settings.greedy and settings.judged:
        out["greedy"] = sum(record.greedy_right for record in records) / len(records)
    for name in records[0].learned:
        scores = [score for record in records for score in record.learned[name]]
        if scores:
            out[f"reward/{name}"] = sum(scores) / len(scores)
    out["mean_length"] = tokens / (n * len(records))
    out["distinct"] = sum(record.distinct for record in records) / len(records)
    out["entropy"] = entropy
    if with_reference:
        reference = sum(record.reference_entropy for record in records) / tokens
        out["entropy_ratio"] = entropy / reference if reference > 0 else float("nan")
    pairs = [pair for record in records for pair in zip(record.strategies, record.right, strict=True)]
    seen = {strategy for strategy, _ in pairs if strategy is not None}
    for strategy in sorted(seen | set(settings.strategies)):
        rights = [right for label, right in pairs if label == strategy]
        out[f"share/{strategy}"] = len(rights) / len(pairs)
        if rights:
            out[f"accuracy/{strategy}"] = sum(rights) / len(rights)
    return out


def _run(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    start: int,
    verify: Verify,
    learned: Learned,
    settings: EvaluateSettings,
    reference: nn.Module | None,
    seed: str,
) -> Iterator[Record]:
    """One batch of prompts. Seeded by what it holds and not by what ran before, so that ranks can share the work."""
    prompt, attention = prompt_ids(examples, tokenizer, next(model.parameters()).device)
    n, width = settings.samples, prompt.shape[1]
    torch.manual_seed(random.Random(f"{seed}-{start}").getrandbits(63))
    draw = functools.partial(generate, model, tokenizer, tokens=settings.max_new_tokens, stop=settings.stop)
    # Repeated here and not by generate, which would draw the samples of a prompt from the same beams.
    repeated = prompt.repeat_interleave(n, 0), attention.repeat_interleave(n, 0)
    ids = draw(*repeated, do_sample=True, **settings.decoding)
    mask = completion_mask(ids[:, width:], end_tokens(model, tokenizer, settings.stop))
    texts = tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True)
    asked = [example for example in examples for _ in range(n)]
    outcomes, scores = verify(texts, asked), learned(texts, asked)
    whole = torch.cat([attention.repeat_interleave(n, 0), mask], 1)
    entropy = completion_entropy(model, ids, whole, width).sum(1)
    reference_entropy = torch.zeros_like(entropy)
    if reference is not None:
        with _adapter_off(reference) if reference is model else _evaluating(reference):
            reference_entropy = completion_entropy(reference, ids, whole, width).sum(1)
    greedy = [Outcome()] * len(examples)
    if settings.greedy:
        best = draw(prompt, attention, do_sample=False, **settings.decoding)
        greedy = list(verify(tokenizer.batch_decode(best[:, width:], skip_special_tokens=True), list(examples)))
    for i in range(len(examples)):
        rows = slice(i * n, (i + 1) * n)
        yield Record(
            index=start + i,
            right=[outcome.right for outcome in outcomes[rows]],
            strategies=[outcome.strategy for outcome in outcomes[rows]],
            distinct=len(set(texts[rows])),
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
