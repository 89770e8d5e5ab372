"""Full-distribution statistics inside the wrapped forward: one forward of the model, no [B, T, V] tensor.

TRL's fused head returns log-probs and entropies only. Where a term wants more, the forward that TRL has patched is wrapped
once again (tap.py): the statistics are computed from the backbone's last hidden states, and leave with the model's output.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput, maybe_gather_lm_head_ctx

from entropostat.rl.objective import Objective
from entropostat.rl.vocab import VocabStats, packed, unpacked, vocab_statistics
from entropostat.rl.vocab_soft import SoftLabels
from entropostat.rl.vocab_sums import CONSTANT, Wanted
from entropostat.rl.vocab_tiles import Head
from entropostat.trainers.model.tap import ForwardTap

LSE = "lse at "
"""A module's output holds plain tensors only, so each temperature has a name of its own."""
SOFT = "soft_ids", "soft_probs", "soft_positions"
"""What a term packs for the few tokens of a row that have soft labels: (B, R, K), (B, R, K) and (B, R)."""


def logit_head(config: Any, temperature: float) -> Head:
    """How ``config``'s family turns a projection into logits, by the keys that TRL 1.16's fused head reads."""
    text = config.get_text_config()
    scale = getattr(text, "logit_scale", None)
    if scale is None:
        scale = getattr(text, "output_multiplier", None)
    if scale is None:
        scale = getattr(text, "lm_head_multiplier", None)
    if scale is None and getattr(text, "logits_scaling", None) is not None:
        scale = text.logits_scaling if text.model_type == "hyperclovax" else 1 / text.logits_scaling
    softcap = getattr(text, "final_logit_softcapping", None)
    return Head(1.0 if scale is None else float(scale), softcap, temperature)


@dataclass
class VocabularyOutput(FusedCausalLMOutput):
    """TRL's output and our statistics. A class of its own, because DDP takes outputs apart and builds them anew."""

    vocabulary: dict[str, Tensor] | None = None


@dataclass
class Packed:
    """Soft labels of a micro-batch, on the way to the forward pass that meets them; it may come in several calls."""

    ids: Tensor
    probs: Tensor
    positions: Tensor
    first: int = 0
    """Row of the next call."""

    @classmethod
    def among(cls, inputs: Mapping[str, Any]) -> Packed | None:
        """Those that the rollout phase has put into TRL's buffer, by whichever term."""
        named = {key.rpartition("/")[2]: value for key, value in inputs.items()}
        return cls(*(named[name] for name in SOFT)) if set(SOFT) <= set(named) else None

    def next(self, scored: Tensor) -> tuple[tuple[Tensor, Tensor], SoftLabels]:
        """(rows, columns) of the labelled tokens in (B, L-1) ``scored``, and their labels.

        Positions count from the first token of the completions, which is scored wherever a row has any.
        """
        mine = slice(self.first, self.first + scored.size(0))
        self.first += scored.size(0)
        ids, probs, positions = self.ids[mine], self.probs[mine], self.positions[mine]
        rows, places = (probs.sum(-1) > 0).nonzero(as_tuple=True)
        start = scored.any(0).int().argmax()
        return (rows, start + positions[rows, places]), SoftLabels(ids[rows, places], probs[rows, places])


class VocabularyTap(ForwardTap):
    """Wraps the forward of the innermost ``model``; computes only while armed, and what it is armed for."""

    def __init__(self, model: PreTrainedModel, temperature: float) -> None:
        super().__init__(model)
        self.head = logit_head(model.config, temperature)
        self._wanted: Wanted | None = None
        self._soft: Packed | None = None
        self._found: list[dict[str, Tensor]] = []

    @contextmanager
    def armed(self, wanted: Wanted, soft: Packed | None = None) -> Iterator[None]:
        self._wanted, self._soft, self._found = wanted, soft, []
        try:
            yield
        finally:
            self._wanted, self._soft, self._found = None, None, []

    def take(self, length: int) -> dict[str, Any]:
        """TokenBatch fields, (B, T): the statistics of the last ``length`` positions, of all calls since arming."""
        passes, self._found = self._found, []
        if not passes:
            return {}
        flat = {name: torch.cat([part[name][:, -length:] for part in passes]) for name in passes[0]}
        lse = {float(name.removeprefix(LSE)): flat.pop(name) for name in [*flat] if name.startswith(LSE)}
        return {**flat, "lse": lse} if lse else flat

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._wanted is None or not kwargs.get("fused_lm_head"):
            return self._forward(*args, **kwargs)
        output, states = self.with_states(*args, **kwargs)
        states, labels = states[:, :-1], kwargs["labels"][:, 1:]
        fields = self.statistics(states, labels, self._wanted) if self._wanted.any_token else {}
        if self._soft is not None:
            fields["soft_logp"] = self.soft_logp(states, labels, self._soft)
        self._found.append(fields)
        return VocabularyOutput(**output, vocabulary=fields)

    def statistics(self, hidden: Tensor, labels: Tensor, wanted: Wanted) -> dict[str, Tensor]:
        """(B, L-1, D) and (B, L-1) with -100 off the scored tokens -> (B, L-1) each, 0 where nothing is scored."""
        mask = labels != -100
        stats = self._pass(*packed(hidden, labels, mask), wanted)
        flat = {name: getattr(stats, name) for name in (*wanted.outputs, "min_p_mass", "nucleus_entropy", *CONSTANT)}
        flat |= {f"{LSE}{t}": value for t, value in zip(wanted.temperatures, stats.lse, strict=True)}
        return {name: unpacked(value, mask) for name, value in flat.items() if value is not None}

    def soft_logp(self, hidden: Tensor, labels: Tensor, soft: Packed) -> Tensor:
        """(B, L-1), 0 where there is no soft label. A pass of its own: it looks at few tokens."""
        places, targets = soft.next(labels != -100)
        stats = self._pass(hidden[places], labels[places], Wanted(()), targets)
        assert stats.soft_logp is not None
        return stats.soft_logp.new_zeros(labels.shape).index_put(places, stats.soft_logp)

    def _pass(self, hidden: Tensor, labels: Tensor, wanted: Wanted, soft: SoftLabels | None = None) -> VocabStats:
        head = self.model.get_output_embeddings()
        gather = functools.partial(maybe_gather_lm_head_ctx, head.weight, head.bias)
        with gather():  # also around the call: autograd notes the weight's shape there
            return vocab_statistics(
                hidden, head.weight, labels, wanted, bias=head.bias, head=self.head, gather=gather, soft=soft
            )


class Vocabulary:
    """The tap of a trainer whose objective may want none, and then has none."""

    def __init__(self, trainer: Any, objective: Objective) -> None:
        asks = objective.vocabulary(objective.needs | objective.rollout_needs) is not None
        self._tap = VocabularyTap(innermost(trainer.model), trainer.temperature) if asks else None

    def counting(
        self, objective: Objective, needs: frozenset[str], inputs: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[None]:
        """Inside, scored tokens come with the statistics of the vocabulary, if ``needs`` names any."""
        wanted = objective.vocabulary(needs)
        if self._tap is None or wanted is None:
            return nullcontext()
        return self._tap.armed(wanted, Packed.among(inputs or {}) if wanted.soft else None)

    def take(self, length: int, rows: Callable[[Tensor], Tensor] = lambda x: x) -> dict[str, Any]:
        """TokenBatch fields of the last ``length`` positions, of all forward passes since the last taking; ``rows`` cuts
        out those that are wanted."""
        fields = {} if self._tap is None else self._tap.take(length)
        lse = {t: rows(x) for t, x in fields.pop("lse", {}).items()}
        cut = {name: rows(x) for name, x in fields.items()}
        return {**cut, "lse": lse} if lse else cut


def innermost(model: Any) -> PreTrainedModel:
    """The model that TRL has patched: below the adapters."""
    inner: PreTrainedModel = model.get_base_model() if is_peft_model(model) else model
    return inner
