"""How a generation is scored: by TRL's forwards, or by one of ours where it makes none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer import add_fused_lm_head

from entropostat.rl.needs import SCORED
from entropostat.trainers.model.adapter import REFERENCE
from entropostat.trainers.trl.buffer import SAMPLED
from entropostat.trainers.trl.described import Described

VISION = (
    "pixel_values",
    "image_grid_thw",
    "num_images",
    "pixel_attention_mask",
    "spatial_shapes",
    "num_tiles",
    "image_sizes",
    "token_type_ids",
    "mm_token_type_ids",
    "image_position_ids",
)
"""What a vision-language model's forward takes besides ids and masks, by TRL's names."""


class Scoring:
    """What the forwards of a generation leave while it is being scored: the policy's by turns, and the reference's entropies."""

    def __init__(self, trainer: Any, reads_reference: bool) -> None:
        """``reads_reference``: the entropies of the reference are asked for."""
        self.trainer, self.described = trainer, Described(trainer)
        self.ref_entropy: Tensor | None = scoring_entropies(trainer) if reads_reference else None
        """(N, T) of the last generation, nats; stays None where nobody asks."""
        self._forwards: list[dict[str, Tensor]] | None = None

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Around one generation, and inside of it around each further rollout."""
        outer, self._forwards = self._forwards, []
        try:
            yield
        finally:
            self._forwards = outer

    def settle(self, fields: dict[str, Any], ref_entropy: Tensor | None) -> None:
        """The forwards of this generation gave these batch fields: those of rows that were put together from several."""
        self._forwards, self.ref_entropy = [fields] if fields else [], ref_entropy

    @property
    def on(self) -> bool:
        return self._forwards is not None

    def wants_entropy(self, model: Any) -> bool:
        """Of a forward of ``model`` that TRL asks for log-probs only: the fused head computes it anyway."""
        return self.on and not (self.ref_entropy is None and scores_reference(self.trainer, model))

    def keep(self, model: Any, entropy: Tensor, statistics: dict[str, Any]) -> None:
        if scores_reference(self.trainer, model):
            self.ref_entropy = entropy if self.ref_entropy is not None else None
        elif self._forwards is not None:
            self._forwards.append({"old_entropy": entropy, **statistics})

    def complete(self, output: dict[str, Any], needs: frozenset[str]) -> tuple[Tensor | None, dict[str, Any]]:
        """Old log-probs of TRL's ``output``, and the other batch fields: of the forward that they come from, and of its text.
        Scores it once more where ``needs`` names a field that no forward has given."""
        forwards = self._forwards
        assert forwards is not None, "outside of collecting()"
        old_logps = output.get("old_per_token_logps")
        fields = forwards[0] if old_logps is not None and forwards else {}
        have = {*fields, *(() if old_logps is None else ("old_logps", "sampler_logps"))}
        have |= {"sampler_logps"} if SAMPLED in output else set()
        if (needs & SCORED) - have:
            old_logps = score_tokens(self.trainer, output)
            fields = forwards[-1]
        return old_logps, {**self.described.fields(output, needs), **fields}


def scores_reference(trainer: Any, model: Any) -> bool:
    """Whether a forward of ``model`` is one of the reference: another model, or the policy's with its adapter off."""
    if model is not trainer.model:
        return True
    if not hasattr(model, "peft_config") or not is_peft_model(model):  # the second asks the disk what is installed
        return False
    from peft.tuners.tuners_utils import BaseTunerLayer  # an extra, there where adapters are

    layer = next((m for m in model.modules() if isinstance(m, BaseTunerLayer)), None)
    return layer is not None and (layer.disable_adapters or REFERENCE in layer.active_adapters)


def scoring_entropies(trainer: Any) -> Tensor:
    """From now on the reference gives entropies too: TRL leaves them out. Returns an empty tensor, the first of them."""
    if trainer.ref_model is not None:
        add_fused_lm_head(
            trainer.accelerator.unwrap_model(trainer.ref_model),
            temperature=trainer.temperature,
            cast_lm_head_to_fp32=trainer.args.cast_lm_head_to_fp32,
            outputs=("log_probs", "entropy"),
        )
    return torch.zeros(0)


def score_tokens(trainer: Any, output: dict[str, Any]) -> Tensor:
    """(N, T) old log-probs: one forward, which an exactly on-policy TRL skips. The trainer's tap keeps the rest of it."""
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
    attention = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
    args = trainer.args
    size = args.per_device_train_batch_size if trainer.model.training else args.per_device_eval_batch_size
    extra = {key: output[key] for key in VISION if key in output}
    with torch.no_grad(), disable_gradient_checkpointing(trainer.model, args.gradient_checkpointing_kwargs):
        logps: Tensor = trainer._get_per_token_logps_and_entropies(
            trainer.model,
            ids,
            attention,
            output["completion_ids"].size(1),
            batch_size=size,
            compute_entropy=True,
            **extra,
        )[0]
    return logps
