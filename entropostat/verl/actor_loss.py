"""The actor's loss in a worker of verl's, in place of ``verl.workers.utils.losses.ppo_loss``: the same arguments, and verl's own mean.

    loss(model_output, data, dp_group) -> (0-dim loss with gradient, metrics)

``data`` is a micro-batch: verl's per-token fields, and ours beside them (``fields.py``). What holds for a whole generation, the
values of knobs and statistics of one number, comes as ``data[GENERATION]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.trainer.ppo.core_algos import agg_loss
from verl.utils import tensordict_utils as tu
from verl.utils.metric import AggregationType, Metric
from verl.workers.utils.padding import no_padding_2_padding

from entropostat.client.padding import cast
from entropostat.client.phases import whole_loss
from entropostat.rl.batch import Stats, TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.objective import Spec
from entropostat.verl.fields import BATCH, GENERATION, VERLS, is_stat, stats_of
from entropostat.verl.reducer import make_reducer
from entropostat.verl.reported import is_largest, measured

LIVE = {"entropy": "entropy", "sum_p2": "sum_pi_squared"}
"""Batch field with gradient -> verl's model output."""


@dataclass(frozen=True)
class ActorLoss:
    """Picklable: a worker builds the objective from its specification."""

    spec: Spec
    """Slot -> (name, kind, options), controllers among the options."""
    mode: str
    """verl's ``loss_agg_mode``."""
    scale: float | None
    """verl's ``loss_scale_factor``."""
    seed: int
    """Of random selections of tokens within a micro-batch."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("spec", "mode", "scale", "seed")}

    @cached_property
    def control(self) -> Control:
        return Control.build(self.spec)

    def __call__(
        self, model_output: Mapping[str, Any], data: TensorDict, dp_group: Any = None
    ) -> tuple[Tensor, dict[str, Metric]]:
        told = tu.get_non_tensor_data(data, GENERATION, None)
        if told is None:
            raise RuntimeError(
                f"the batch has no {GENERATION!r}: advantages are to be computed by trainer.v1.trainer_mode=entropostat"
            )
        objective = self.control.objective(told["knobs"])
        names = [name for name in (*VERLS.values(), "advantages", "response_mask") if name in data]
        padded = data.select(*names, *(key for key in data.keys() if is_stat(key))).to_padded_tensor()  # noqa: SIM118
        logps = no_padding_2_padding(model_output["log_probs"], data)
        logps = logps.to(torch.promote_types(logps.dtype, torch.float32))
        mask, found = padded["response_mask"].to(logps.dtype), stats_of(padded)
        valid = mask.bool()
        live: dict[str, Any] = {
            ours: torch.where(valid, no_padding_2_padding(model_output[theirs], data).to(logps.dtype), 0.0)
            for ours, theirs in LIVE.items()
            if model_output.get(theirs) is not None
        }
        held: dict[str, Any] = {
            ours: torch.where(valid, padded[theirs].to(logps.dtype), 0.0)
            for ours, theirs in VERLS.items()
            if theirs in names
        }
        size, tokens, ranks = data["global_batch_size"], data["batch_num_tokens"], data["dp_size"]
        batch = TokenBatch(
            logps=torch.where(valid, logps, 0.0),
            mask=mask,
            advantages=padded["advantages"].to(logps.dtype),
            tokens=logps.new_tensor(tokens / ranks),  # as verl takes the mean of the gradients of ranks
            clip=objective.loss.term.clip,
            uids=found[BATCH]["uids"],
            seed=self.seed,
            generation=told["generation"],
            reducer=make_reducer(dp_group),
            **held,
            **live,
        )
        stats = self._stats(found, told, logps)

        def mean(x: Tensor) -> Tensor:
            whole = {"dp_size": ranks, "batch_num_tokens": tokens, "global_batch_size": size}
            loss: Tensor = agg_loss(x, valid, self.mode, loss_scale_factor=self.scale, **whole)
            return loss

        loss, metrics = whole_loss(objective, batch, stats, mean)
        wanted = self.control.signals
        numbers = measured(objective.for_loss(batch.detached(), stats), metrics, wanted, objective.loss.term)
        reported = {key: Metric(_reduction(key), value) for key, value in numbers.items()}
        reported["actor/pg_loss"] = Metric(AggregationType.SUM, loss.detach())
        return loss, reported

    def _stats(
        self, found: Mapping[str, Mapping[str, Tensor]], told: Mapping[str, Any], like: Tensor
    ) -> dict[str, Stats]:
        stats = {term: dict(values) for term, values in found.items() if term != BATCH}
        for term, constants in told["constants"].items():
            numbers = {key: torch.as_tensor(value, device=like.device) for key, value in constants.items()}
            stats.setdefault(term, {}).update(numbers)
        return {term: {key: cast(value, like) for key, value in own.items()} for term, own in stats.items()}


def _reduction(key: str) -> AggregationType:
    return AggregationType.MAX if is_largest(key) else AggregationType.SUM
