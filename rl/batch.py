"""The one record that every term reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.measured import Mean
from entropostat.rl.needs import STATISTICS
from entropostat.rl.reduce import LOCAL, Reducer

LIMIT = 60.0
"""exp(LIMIT) is finite in float32, and far beyond any ratio that means something."""

Metrics = dict[str, Tensor]
"""0-dim tensors, already meaningful on their own; the composer prefixes the keys with the term's name. measured.py says how
those of several micro-batches become one: a mean must be a ``Mean``, an extreme ``Largest`` or ``Smallest``."""

Stats = Mapping[str, Tensor]
"""What ``prepare`` computed over the scope of a term: 0-dim constants or batch-first tensors."""

Output = tuple[Tensor, Metrics]
"""What every term returns."""


@dataclass(frozen=True)
class Extra:
    """Completions beside the ordinary ones: sampled by another policy on purpose, scored in the same forward pass."""

    logps: Tensor
    """(E, T') log-probs under the current policy at the training temperature, with gradient."""
    mask: Tensor
    """(E, T')."""
    weights: Tensor
    """(E,) what the term that asked for them gave each."""
    tokens: Tensor
    """0-dim: tokens of all extra completions of the generation, shared out evenly over ranks and micro-batches."""
    entropy: Tensor | None = None
    """(E, T') of the current policy at these tokens, for the monitors."""


@dataclass(frozen=True)
class TokenBatch:
    """Completion tokens of one micro-batch (loss phase) or of one generation on this rank (rollout phase).

    Shapes: B sequences, T completion tokens. Log-probabilities and entropies are in nats, at the sampling temperature,
    and 0 where ``mask`` is 0. A field that no active term ``needs`` is None.
    """

    logps: Tensor
    """(B, T) log pi(token). Loss phase: with gradient. Rollout phase: equal to ``old_logps``."""
    mask: Tensor
    """(B, T) 1 on tokens that the policy produced: completion_mask * tool_mask."""
    advantages: Tensor | None = None
    """(B,) or (B, T): the output of the chain so far. Every term sees the final advantages, never weighted ones."""
    old_logps: Tensor | None = None
    """(B, T) under the policy at generation time; None when the update is exactly on-policy."""
    sampler_logps: Tensor | None = None
    """(B, T) under the engine that sampled, which may be another than the trainer's (vLLM); NaN where it gave none. Equal to
    the old policy's where the trainer samples itself."""
    ref_logps: Tensor | None = None
    entropy: Tensor | None = None
    """(B, T) full-vocabulary entropy of the current policy, with gradient in the loss phase."""
    old_entropy: Tensor | None = None
    rewards: Tensor | None = None
    """(B,) what the advantages learn from: the weighted sum of the verifiers' scores after the terms of the slot ``rewards``
    and the block ``shaping``; NaN where nothing could score the completion. For a term of that slot: after those before it."""
    unshaped: Tensor | None = None
    """(B,) the weighted sum as the verifiers gave it."""
    reward_parts: Tensor | None = None
    """(B, F) each of them by itself, without its weight and unshaped; NaN where it could not score the completion."""
    reward_weights: tuple[float, ...] | None = None
    """F numbers."""
    judged: Tensor | None = None
    """(B,) score, without its weight, of the verifier that decides in evaluation: 1 is right. NaN where it has no say; None where
    no verifier decides."""
    old_values: Tensor | None = None
    """(B, T + 1) the critic's combined value of the state before each token, and after the last, at generation time."""
    truncated: Tensor | None = None
    """(B,) bool: generation stopped by length, not by EOS."""
    lengths: Tensor | None = None
    """(B,) tokens of the completion, those of tools included; also where the mask of a truncated one is empty."""
    longest: int | None = None
    """The most tokens that a completion of this run may have."""
    token_ids: Tensor | None = None
    """(B, T) of the completion; anything beyond its length."""
    pieces: tuple[tuple[str, ...], ...] | None = None
    """The text of every token of each completion, special ones too: at most T of them, in the columns of ``token_ids``."""
    texts: tuple[str, ...] | None = None
    """The text of each completion without special tokens."""
    groups: Tensor | None = None
    """(B,) id of the prompt group, equal on all ranks that hold members of it."""
    uids: Tensor | None = None
    """(B,) int64 id of the sequence, unique in the generation and independent of rank and slice."""
    answers: tuple[str | None, ...] | None = None
    """Answer key of each completion of this rank, equal for the same answer; None without one. answers.py brings groups together."""
    planning: Tensor | None = None
    """(B, T) bool: tokens of a strategic phrase (rl/phrases.py). Rollout phase only."""
    log_z: Tensor | None = None
    """(B,) log of the partition function of each completion's prompt, with gradient, nats. Loss phase only."""
    clip: tuple[float, float] | None = None
    """(1 - epsilon_low, 1 + epsilon_high) of the active loss, None where it does not clip."""
    tokens: Tensor | None = None
    """0-dim: the normaliser of window-global means, tokens per rank and micro-batch over the accumulation window."""
    keys: Tensor | None = None
    """(B, T) injected selection keys; a random selection takes the lowest. None: hashed from seed and position."""
    sum_p2: Tensor | None = None
    """(B, T) sum over the vocabulary of p^2, with gradient in the loss phase; likewise the next two."""
    sum_p2_logp: Tensor | None = None
    """(B, T) sum of p^2 log p."""
    max_logp: Tensor | None = None
    """(B, T) log of the largest probability."""
    logit: Tensor | None = None
    """(B, T) logit of the token, before the temperature."""
    lse: Mapping[float, Tensor] | None = None
    """Temperature -> (B, T) log sum exp(z / temperature); the token's log-prob there is logit / temperature - lse."""
    min_p_mass: Tensor | None = None
    """(B, T) mass of the tokens with p >= min_p * max p."""
    nucleus_entropy: Tensor | None = None
    """(B, T) entropy of the distribution renormalised over its top_p nucleus."""
    min_p_logp: Tensor | None = None
    """(B, T) log-probability of the token among those that min_p keeps, -1e4 where it is not one of them; no gradient."""
    min_p_ids: Tensor | None = None
    """(B, T, K) the likeliest entries of the vocabulary, and what they have of the mass that min_p keeps; no gradient."""
    min_p_probs: Tensor | None = None
    soft_logp: Tensor | None = None
    """(B, T) mean log pi under the soft label that a term has packed for the token; 0 where there is none."""
    to_teacher: Mapping[str, Tensor] | None = None
    """Key of a ``Comparison`` -> (B, T) the policy's exact divergence from the teacher, over the whole vocabulary."""
    extra: Extra | None = None
    """Extra completions of this micro-batch; None where there are none."""
    memory: Mapping[str, float] = field(default_factory=dict)
    """What the term itself remembers of earlier generations; the composer fills it in."""
    stats: Stats = field(default_factory=dict)
    """The statistics that the term's own ``prepare`` returned; the composer fills them in."""
    seed: int = 0
    generation: int = 0
    iteration: int = 0
    """Which pass over the generation this is, from 0."""
    reducer: Reducer = field(default=LOCAL)

    def set(self, **changes: Any) -> TokenBatch:
        """A batch with other values. Every term gets one of its own in every micro-batch, and ``replace`` would set all fields one by one."""
        if unknown := changes.keys() - self.__dataclass_fields__.keys():
            raise TypeError(f"a TokenBatch has no field {', '.join(sorted(unknown))}")
        new = object.__new__(type(self))
        follows = {} if "mask" in changes else self._of_mask
        new.__dict__.update(self.__dict__ | {"_of_mask": follows} | changes)
        return new

    def detached(self) -> TokenBatch:
        """The same batch without a graph: what ``prepare`` of a term may see."""
        changes: dict[str, Any] = {
            name: value.detach()
            for name in ("logps", "entropy", "advantages", "log_z", *STATISTICS)
            if isinstance(value := getattr(self, name), Tensor) and value.requires_grad
        }
        for name in ("lse", "to_teacher"):
            if (found := getattr(self, name)) is not None:
                changes[name] = {key: value.detach() for key, value in found.items()}
        return self.set(**changes)

    @cached_property
    def _of_mask(self) -> dict[str, Tensor]:
        return {}

    @property
    def valid(self) -> Tensor:
        """(B, T) bool."""
        if "valid" not in self._of_mask:
            self._of_mask["valid"] = self.mask.bool()
        return self._of_mask["valid"]

    @property
    def invalid(self) -> Tensor:
        """(B, T) bool: padding and tool output."""
        if "invalid" not in self._of_mask:
            self._of_mask["invalid"] = ~self.valid
        return self._of_mask["invalid"]

    @property
    def count(self) -> Tensor:
        """0-dim: valid tokens of this micro-batch; never in half precision, which cannot count to 300."""
        if "count" not in self._of_mask:
            dtype = torch.promote_types(self.logps.dtype, torch.float32)
            self._of_mask["count"] = self.valid.sum(dtype=dtype)
        return self._of_mask["count"]

    @property
    def divisor(self) -> Tensor:
        """0-dim: ``count``, but at least 1, for a loss that is 0 where there are no tokens. Never under a mean that is told."""
        return self.count.clamp(min=1)

    @torch.no_grad()
    def means(self, **values: Tensor) -> Metrics:
        """Means over the valid tokens, for the log: no graph, and one pass for all of them."""
        totals = torch.stack(list(values.values())).masked_fill_(self.invalid, 0.0).sum((1, 2))
        pairs = zip(values, (totals / self.count).unbind(), totals.unbind(), strict=True)
        return {name: Mean.named(value, total, self.count) for name, value, total in pairs}

    @property
    def token_advantages(self) -> Tensor:
        """(B, T)."""
        a = self.require("advantages")
        return (a.unsqueeze(1) if a.dim() == 1 else a).expand_as(self.logps)

    @property
    def reference_logps(self) -> Tensor:
        """(B, T) the denominator of the ratio: old log-probs, or the detached current ones when exactly on-policy."""
        return self.logps.detach() if self.old_logps is None else self.old_logps

    @property
    def log_ratio(self) -> Tensor:
        """(B, T) log pi - log pi_old; exactly 0, without gradient, where the mask is 0. An infinite one becomes +-LIMIT."""
        difference = torch.nan_to_num(self.logps - self.reference_logps, nan=0.0, posinf=LIMIT, neginf=-LIMIT)
        return difference.masked_fill(self.invalid, 0.0)

    def difference(self, other: Tensor, limit: float) -> Tensor:
        """(B, T) log pi - other, without gradient outside of +-limit; exactly 0 where the mask is 0.

        A token that is impossible under both (-inf - -inf) is no distance.
        """
        raw = self.logps - other
        return raw.masked_fill(self.invalid | raw.isnan(), 0.0).clamp(-limit, limit)

    @property
    def ratio(self) -> Tensor:
        return self.log_ratio.exp()

    def of_teacher(self, key: str) -> Tensor:
        """(B, T) the divergence from the teacher whose comparison has this key; 0 where the mask is 0."""
        found: Mapping[str, Tensor] = self.require("to_teacher")  # type: ignore[assignment]
        return torch.where(self.valid, found[key], 0.0)

    def require(self, name: str) -> Tensor:
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"a term reads batch.{name} but nothing filled it: declare needs=({name!r},) on the term")
        return value  # type: ignore[no-any-return]
