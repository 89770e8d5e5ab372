"""Samplers of ours, which only transformers' generate can apply: as processors of its logits, in TRL's generation alone.

What else samples from the policy brings a GenerationConfig of its own, and gets none of them; evaluation makes its own of the
same block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import EtaLogitsWarper, LogitsProcessor, LogitsProcessorList, TypicalLogitsWarper

from entropostat.recipe.generation_rules import backend, unsupported
from entropostat.recipe.sampler_block import Mirostat, Sampler
from entropostat.rl import sampling
from entropostat.trainers.model.vocabulary import innermost


class AtTemperature(LogitsProcessor):
    """Drops what another processor drops at the sampling temperature, which generate applies later."""

    def __init__(self, inner: Callable[[Tensor, Tensor], Tensor], temperature: float) -> None:
        self.inner, self.temperature = inner, temperature

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.masked_fill(self.inner(input_ids, scores / self.temperature).isneginf(), -torch.inf)


class TopH(LogitsProcessor):
    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return scores.masked_fill(~sampling.top_h(scores, self.alpha), -torch.inf)


class MirostatV2(LogitsProcessor):
    """Of one generation: it learns which tokens were drawn from the next call."""

    def __init__(self, options: Mirostat) -> None:
        self.options = options
        self.mu: Tensor | None = None
        self.bits: Tensor
        self.kept: Tensor

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        options = self.options
        if self.mu is None:
            self.mu = scores.new_full((scores.size(0),), 2 * options.tau, dtype=torch.float64)
        else:
            drawn = input_ids[:, -1].to(scores.device)
            whole = options.surprise == "whole"
            self.mu = sampling.mirostat_step(self.mu, self.bits, self.kept, drawn, options.tau, options.eta, whole)
        self.bits = sampling.surprise(scores)
        self.kept = sampling.mirostat(self.bits, self.mu)
        return scores.masked_fill(~self.kept, -torch.inf)


def processors(sampler: Sampler, temperature: float) -> list[LogitsProcessor]:
    """Of one generation, in the order in which transformers applies its own; mirostat last, which measures what is left."""
    chosen: list[Callable[[Tensor, Tensor], Tensor]] = []
    if sampler.top_h is not None:
        chosen.append(TopH(sampler.top_h))
    if sampler.typical_p < 1:
        chosen.append(TypicalLogitsWarper(sampler.typical_p))
    if sampler.eta_cutoff > 0:
        chosen.append(EtaLogitsWarper(sampler.eta_cutoff))
    if sampler.mirostat is not None:
        chosen.append(MirostatV2(sampler.mirostat))
    return [AtTemperature(each, temperature) for each in chosen]


def attach_processors(trainer: Any, sampler: Sampler) -> None:
    """Once TRL has its generation config. ValueError where something else than transformers' generate samples."""
    by = backend(vars(trainer.args))
    for key in sampler.processed:
        if by != "transformers":
            raise ValueError(f"sampler.{key}: {unsupported(by)}")
    if not sampler.processed:
        return
    if trainer.rollout_func is not None:
        raise ValueError(f"sampler.{sampler.processed[0]}: a rollout function samples by itself; leave either out")
    policy: Any = innermost(trainer.model)
    plain = policy.generate

    def generate(*args: Any, **kwargs: Any) -> Any:
        config = kwargs.get("generation_config")
        if config is trainer.generation_config:
            mine = processors(sampler, config.temperature)
            kwargs["logits_processor"] = LogitsProcessorList([*(kwargs.get("logits_processor") or ()), *mine])
        return plain(*args, **kwargs)

    policy.generate = generate
