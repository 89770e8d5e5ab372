"""How an evaluation samples, and what it costs beside training: told by `plan`, and done by the trainer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from entropostat.catalog import load
from entropostat.data import chain
from entropostat.recipe.arithmetic import Arithmetic, steps, trainer_value
from entropostat.recipe.facts import option
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.terms import Term


@dataclass(frozen=True)
class Sampling:
    """What the block ``evaluate:`` leaves null is training's."""

    temperature: float
    top_p: float
    top_k: int
    max_new_tokens: int | None
    """None: no bound but the model's own."""
    moved: str | None
    """Key of the scalar that moves training's temperature, which an evaluation does not follow."""


def sampling(recipe: Recipe) -> Sampling:
    """The temperature of a controller is never evaluation's: one and the same holds at every step, or its numbers could not be
    compared with each other, nor with those of a saved policy.
    """
    block, sampler = recipe.evaluate, recipe.sampler
    scalar = next((term for term in recipe.objective["scalars"] if term.kind == "temperature"), None)
    value = None if scalar is None else option(scalar, "scalars", "value")
    fixed = None if value is None or isinstance(value, dict) else float(value)
    moved = f"objective.scalars.{scalar.name}" if scalar is not None and fixed is None else None
    trained = sampler.temperature if fixed is None else fixed
    return Sampling(
        temperature=trained if block.temperature is None else block.temperature,
        top_p=sampler.top_p if block.top_p is None else block.top_p,
        top_k=sampler.top_k if block.top_k is None else block.top_k,
        max_new_tokens=block.max_new_tokens or _longest(recipe),
        moved=moved,
    )


@dataclass(frozen=True)
class Cost:
    """All numbers are the most that there can be, but that of a source of known size its share is taken to be held out: what is
    held out in truth a hash decides, prompt by prompt.
    """

    prompts: dict[str, int]
    """By set."""
    completions: int
    """Of one evaluation, greedy ones included."""
    tokens: int | None
    """Of those completions; None without a bound."""
    times: int | None
    """None where only the data's size decides how long the run is."""
    training: int | None
    """Completions of training."""
    training_tokens: int | None

    @property
    def all_completions(self) -> int | None:
        return None if self.times is None else self.times * self.completions

    @property
    def all_tokens(self) -> int | None:
        return None if self.times is None or self.tokens is None else self.times * self.tokens


def cost(recipe: Recipe, sizes: Arithmetic) -> Cost:
    block, total = recipe.evaluate, steps(recipe, sizes)
    share = recipe.data.held_out
    prompts = {name: _most(term, block.prompts, share) for name, term in recipe.sources.items() if share}
    prompts |= {name: _most(term, block.prompts) for name, term in recipe.sets.items()}
    completions = sum(prompts.values()) * (block.samples + block.greedy)
    longest, trained, training = sampling(recipe).max_new_tokens, _longest(recipe), None
    if total is not None and sizes.updates:
        training = math.ceil(total / sizes.updates) * sizes.generation
    return Cost(
        prompts=prompts,
        completions=completions,
        tokens=None if longest is None else completions * longest,
        times=times(recipe, total),
        training=training,
        training_tokens=None if training is None or trained is None else training * trained,
    )


def times(recipe: Recipe, total: int | None) -> int | None:
    """Evaluations of a run of ``total`` steps: at the start, every so many steps, and at the end."""
    block = recipe.evaluate
    if not block.prompts:
        return 0
    return None if total is None else 2 + ((total - 1) // block.every if block.every else 0)


def described(recipe: Recipe, sizes: Arithmetic) -> dict[str, Any]:
    """What `plan` tells, as plain data."""
    block, drawn, most = recipe.evaluate, sampling(recipe), cost(recipe, sizes)
    return {
        "every": block.every,
        "times": most.times,
        "prompts": block.prompts,
        "samples": block.samples,
        "k": list(block.k),
        "greedy": block.greedy,
        "sets": [*recipe.sources, *recipe.sets],
        "temperature": drawn.temperature,
        "top_p": drawn.top_p,
        "top_k": drawn.top_k,
        "max_new_tokens": drawn.max_new_tokens,
        "by": "vLLM" if recipe.trainer.get("use_vllm") else "transformers",
        "completions": most.completions,
        "tokens": most.tokens,
        "all_completions": most.all_completions,
        "all_tokens": most.all_tokens,
        "training_completions": most.training,
        "training_tokens": most.training_tokens,
    }


def lines(told: dict[str, Any]) -> list[str]:
    """``described`` for people."""
    if not told["prompts"]:
        return ["never"]
    when = f"every {told['every']} steps, at the start and the end" if told["every"] else "at the start and the end"
    times = f" ({told['times']} times)" if told["times"] else ""
    ks = ", ".join(f"pass@{k}" for k in told["k"])
    greedy = ", greedy" if told["greedy"] else ""
    first = f"{when}{times}: {ks}{greedy} on {told['prompts']} prompts x {told['samples']} of {', '.join(told['sets'])}"
    cut = [f"{key} {told[key]:g}" for key, off in (("top_p", 1.0), ("top_k", 0)) if told[key] != off]
    how = ", ".join([f"temperature {told['temperature']:g}", *cut])
    second = f"sampled by {told['by']} at {how}; each time {_drawn(told['completions'], told['tokens'])}"
    everything = []
    if told["all_completions"] is not None:
        everything.append(f"in all {_drawn(told['all_completions'], told['all_tokens'])}")
    if told["training_completions"]:
        everything.append(f"training draws {_drawn(told['training_completions'], told['training_tokens'])}")
    if told["training_tokens"] and told["all_tokens"] is not None:
        everything[-1] += f": {told['all_tokens'] / told['training_tokens']:.2g} evaluated for each that is trained on"
    return [first, second, *everything]


def _drawn(completions: int, tokens: int | None) -> str:
    return f"{completions:,} completions" + ("" if tokens is None else f" of at most {tokens:,} tokens together")


def _longest(recipe: Recipe) -> int | None:
    """Tokens of a completion in training."""
    length: int | None = trainer_value(recipe, "max_completion_length")
    return length


def _most(term: Term, asked: int, share: float | None = None) -> int:
    """Prompts of a set at most. ``share``: of the source, what is held out of it."""
    fields = {field.name: field.default for field in load().terms["sources"][term.kind].fields} | term.options
    size: int | None = fields.get("size")
    if size is not None and term.kind == "chain":
        size = min(size, chain.count(fields["length"]))
    if size is None:
        return asked
    return min(asked, size if share is None else math.ceil(size * share))
