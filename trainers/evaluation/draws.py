"""What is asked of the policy at once, and how its completions are drawn: here by transformers, in engine.py by vLLM."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from entropostat.data.example import Example
from entropostat.trainers.evaluation.generation import end_tokens, ended, generate, prompt_ids
from entropostat.trainers.evaluation.rendering import rendered


@dataclass(frozen=True)
class EvaluateSettings:
    """How much is sampled, and how. What training does to sampling is done here too, or the policy would be measured in a place
    where it never was: who makes one says what training does.
    """

    max_new_tokens: int | None
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
    temperature: float = 1.0
    """Of the samples, and of the distribution whose entropy is told."""
    top_p: float = 1.0
    top_k: int = 0
    min_p: float | None = None
    repetition_penalty: float = 1.0
    """Of greedy completions too."""
    processors: Callable[[], Sequence[LogitsProcessor]] = tuple
    """Samplers that a GenerationConfig has no word for, made anew for each draw."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of a GenerationConfig that are in force in training, greedy or not."""
    by_set: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Set -> fields of these settings that are others there: who judges it may differ."""

    def of(self, name: str) -> EvaluateSettings:
        """For the summary of one set."""
        return replace(self, **self.by_set.get(name, {}))

    def __post_init__(self) -> None:
        for k in self.k:
            if not 1 <= k <= self.samples:
                raise ValueError(f"evaluate.k: {k} must be between 1 and evaluate.samples ({self.samples})")


class Chunk(NamedTuple):
    """Prompts of one set that are asked together."""

    set: str
    start: int
    """Place of the first among the chosen prompts of the set."""
    examples: list[Example]
    prompts: list[list[int]]
    """Token ids."""


class Drawn(NamedTuple):
    """Token ids up to and including the end token of each completion."""

    samples: list[list[int]]
    """(N * n) completions, those of a prompt one after the other."""
    greedy: list[list[int]]
    """(N); empty where none are asked for."""


Draw = Callable[[Chunk], Drawn]


def chunked(sets: Mapping[str, Sequence[Example]], settings: EvaluateSettings, asking: Any) -> list[Chunk]:
    """The same prompts of each set each time, rendered as ``asking``, a trainer, renders them."""
    size = max(1, settings.batch // settings.samples)
    chunks = []
    for name, examples in sets.items():
        chosen = choose(examples, settings.prompts, f"{settings.seed}-{name}")
        prompts = rendered(asking, chosen)
        parts = range(0, len(chosen), size)
        chunks += [Chunk(name, at, chosen[at : at + size], prompts[at : at + size]) for at in parts]
    return chunks


def choose(examples: Sequence[Example], count: int, seed: str) -> list[Example]:
    """The same ``count`` of them each time, or all."""
    if len(examples) <= count:
        return list(examples)
    return [examples[place] for place in random.Random(seed).sample(range(len(examples)), count)]


def drawn_here(model: Any, tokenizer: PreTrainedTokenizerBase, settings: EvaluateSettings) -> Draw:
    """By transformers. Seeded by what a chunk holds and not by what ran before, so that ranks can share the work."""
    both = {**settings.decoding, "repetition_penalty": settings.repetition_penalty}
    sampled = {name: getattr(settings, name) for name in ("temperature", "top_p", "top_k", "min_p")}
    limits: dict[str, Any] = {"tokens": settings.max_new_tokens, "stop": settings.stop}
    complete: Any = functools.partial(generate, model, tokenizer, **limits)

    def draw(chunk: Chunk) -> Drawn:
        prompt, attention = prompt_ids(chunk.prompts, tokenizer, next(model.parameters()).device)
        n, width, ends = settings.samples, prompt.shape[1], end_tokens(model, tokenizer, settings.stop)
        torch.manual_seed(random.Random(f"{settings.seed}-{chunk.set}-{chunk.start}").getrandbits(63))
        # Repeated here and not by generate, which would draw the samples of a prompt from the same beams.
        repeated = {"prompt": prompt.repeat_interleave(n, 0), "attention": attention.repeat_interleave(n, 0)}
        ids = complete(**repeated, processors=settings.processors(), do_sample=True, **sampled, **both)
        samples = ended(ids[:, width:], ends)
        if not settings.greedy:
            return Drawn(samples, [])
        best = complete(prompt=prompt, attention=attention, do_sample=False, **both)
        return Drawn(samples, ended(best[:, width:], ends))

    return draw
