"""Full-distribution statistics inside the wrapped forward: one forward of the model, no [B, T, V] tensor.

TRL's fused head returns log-probs and entropies only. Where a term wants more, the forward that TRL has patched is wrapped
once again (tap.py): the statistics are computed from the backbone's last hidden states, and leave with the model's output.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput, maybe_gather_lm_head_ctx

from entropostat.rl.comparison import Comparison
from entropostat.rl.needs import TEACHER
from entropostat.rl.objective import Objective
from entropostat.rl.vocab import VocabStats, packed, unpacked, vocab_statistics
from entropostat.rl.vocab_soft import SoftLabels
from entropostat.rl.vocab_sums import CONSTANT, Wanted
from entropostat.rl.vocab_teacher import Side, teacher_divergences
from entropostat.rl.vocab_tiles import Head
from entropostat.trainers.model.tap import ForwardTap

if TYPE_CHECKING:
    from entropostat.trainers.model.teacher import Teacher

LSE, TEACHER_KEY = "lse at ", "to the teacher by "
"""A module's output holds plain tensors only, so each temperature and each comparison has a name of its own."""
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

    def __init__(self, model: PreTrainedModel, temperature: float, teacher: Teacher | None = None) -> None:
        super().__init__(model)
        self.teacher = teacher
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
        named = lambda start: {name.removeprefix(start): flat.pop(name) for name in [*flat] if name.startswith(start)}
        lse = {float(name): value for name, value in named(LSE).items()}
        to_teacher = named(TEACHER_KEY)
        return {**flat, **({"lse": lse} if lse else {}), **({TEACHER: to_teacher} if to_teacher else {})}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self._wanted is None or not kwargs.get("fused_lm_head"):
            return self._forward(*args, **kwargs)
        output, states = self.with_states(*args, **kwargs)
        states, labels = states[:, :-1], kwargs["labels"][:, 1:]
        fields = self.statistics(states, labels, self._wanted) if self._wanted.any_token else {}
        if self._soft is not None:
            fields["soft_logp"] = self.soft_logp(states, labels, self._soft)
        if self._wanted.comparisons:
            fields |= self.to_teacher(states, labels, self._wanted.comparisons, kwargs)
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

    def to_teacher(
        self, hidden: Tensor, labels: Tensor, comparisons: tuple[Comparison, ...], inputs: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """(B, L-1) each, 0 where nothing is scored: the teacher reads the ``inputs`` that the policy has read."""
        assert self.teacher is not None
        mask, output = labels != -100, self.model.get_output_embeddings()
        theirs = self.teacher.side(self.teacher.states(inputs)[:, :-1][mask], self.head.temperature)
        gather = functools.partial(maybe_gather_lm_head_ctx, output.weight, output.bias)
        with gather():
            mine = Side(hidden[mask], output.weight, output.bias, self.head, gather)
            found = teacher_divergences(mine, theirs, comparisons)
        return {f"{TEACHER_KEY}{c.key}": unpacked(x, mask) for c, x in zip(comparisons, found, strict=True)}

    def _pass(self, hidden: Tensor, labels: Tensor, wanted: Wanted, soft: SoftLabels | None = None) -> VocabStats:
        head = self.model.get_output_embeddings()
        gather = functools.partial(maybe_gather_lm_head_ctx, head.weight, head.bias)
        with gather():  # also around the call: autograd notes the weight's shape there
            return vocab_statistics(
                hidden, head.weight, labels, wanted, bias=head.bias, head=self.head, gather=gather, soft=soft
            )


class Vocabulary:
    """The tap of a trainer whose objective may want none, and then has none."""

    def __init__(self, trainer: Any, objective: Objective, teacher: Teacher | None = None) -> None:
        asks = objective.vocabulary(objective.needs | objective.rollout_needs) is not None
        self._tap = VocabularyTap(innermost(trainer.model), trainer.temperature, teacher) if asks else None

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
        mapped = {
            name: {key: rows(x) for key, x in fields.pop(name).items()} for name in ("lse", TEACHER) if name in fields
        }
        return {**{name: rows(x) for name, x in fields.items()}, **mapped}


def innermost(model: Any) -> PreTrainedModel:
    """The model that TRL has patched: below the adapters."""
    inner: PreTrainedModel = model.get_base_model() if is_peft_model(model) else model
    return inner
