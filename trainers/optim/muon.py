"""Muon for the matrices between embedding and head, AdamW for everything else, as one optimizer.

    M <- momentum M + (1 - momentum) G;   U = momentum M + (1 - momentum) G;   O = five Newton-Schulz steps of U
    W <- (1 - lr * weight_decay) W - lr * a * O
    a = .2 sqrt(max(rows, columns)) (match_rms_adamw)   or   sqrt(max(1, rows / columns)) (original)

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the first scale is that of
arXiv:2502.16982. The arithmetic is torch's, whose Newton-Schulz steps run in bfloat16; under ZeRO it is DeepSpeed's, which
knows the second scale only, and clips the step where others clip the gradient.

Where text and code differ: torch's documentation says M <- momentum M + G, its code takes the average above. The scale of M
cancels in O.

What belongs to Muon: a trainable weight of exactly two dimensions that lies neither in an embedding nor in the output head.
It goes by the parameter itself and not by its name, so that a head which is tied to the embedding stays with AdamW under
either name. Weights of three dimensions (experts in one tensor) stay with AdamW too, and so does a critic, or
the head of log Z.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate.utils.deepspeed import DummyOptim  # `accelerate.utils` has it only beside DeepSpeed
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from entropostat.recipe.blocks import Muon
from entropostat.trainers.model.head_tap import Head


def hidden_matrices(model: Any) -> list[Tensor]:
    """What Muon updates, in the order of the model's parameters."""
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding | Head)]
    tables += [table for table in (model.get_input_embeddings(), model.get_output_embeddings()) if table is not None]
    excluded = {parameter for module in tables for parameter in module.parameters()}
    return [p for p in model.parameters() if p.requires_grad and dimensions(p) == 2 and p not in excluded]


def dimensions(parameter: Tensor) -> int:
    """Those of the whole weight: ZeRO-3 leaves an empty vector in its place."""
    return len(getattr(parameter, "ds_shape", parameter.shape))


class MuonAdamW(Optimizer):
    """torch's Muon and AdamW side by side: one list of groups for the scheduler, one state for the checkpoint."""

    def __init__(
        self, matrices: list[Tensor], others: list[dict[str, Any]], muon: dict[str, Any], adamw: dict[str, Any]
    ):
        if not matrices:
            raise ValueError("optimizer.muon: the model has no trainable matrix outside of its embeddings and head")
        self.parts: list[Optimizer] = [torch.optim.Muon(matrices, **muon)]
        others = [group for group in others if group["params"]]
        self.parts += [AdamW(others, **adamw)] if others else []
        super().__init__([group for part in self.parts for group in part.param_groups], {"lr": adamw["lr"]})
        self._share()

    def _share(self) -> None:
        """Both work on the groups and the state of this object, which alone is saved and loaded."""
        start = 0
        for part in self.parts:
            count = len(part.param_groups)
            part.param_groups, part.state = self.param_groups[start : start + count], self.state
            start += count

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss


def deepspeed_section(args: Any, muon: Muon) -> dict[str, Any]:
    """The part of DeepSpeed's configuration that names the optimizer."""
    if muon.adjust != "original":
        raise ValueError(
            f"optimizer.muon.adjust: {muon.adjust} is not offered by DeepSpeed's Muon; use original, with a learning_rate "
            "to match"
        )
    if args.max_grad_norm > 0:
        raise ValueError(
            f"max_grad_norm: DeepSpeed takes the norm of Muon's step and not of the gradient, so that {args.max_grad_norm:g} "
            "would shrink it many times; set it to 0"
        )
    params = {"lr": args.learning_rate, "weight_decay": args.weight_decay, "eps": args.adam_epsilon}
    params |= {"betas": [args.adam_beta1, args.adam_beta2], "momentum": muon.momentum, "ns_method": "standard"}
    return {"type": "Muon", "params": params | {"muon_lr": muon.learning_rate or args.learning_rate}}


def set_up_muon(trainer: Any, muon: Muon) -> None:
    """Before the optimizer exists: DeepSpeed reads its own from its configuration. Raises ValueError for what cannot be had."""
    if trainer.optimizer is not None:
        raise ValueError("optimizer.muon and optimizers= both say which optimizer; give one of them")
    if trainer.is_fsdp_enabled:
        raise ValueError("optimizer.muon: FSDP splits the matrices that Muon needs whole; use ddp or a zero strategy")
    if trainer.is_deepspeed_enabled:
        config = trainer.accelerator.state.deepspeed_plugin.deepspeed_config
        config["optimizer"] = deepspeed_section(trainer.args, muon)
        # Muon needs whole gradients where they are reduced.
        config.setdefault("zero_optimization", {})["reduce_scatter"] = False
        check_names(trainer.model)


def create_muon(trainer: Any, muon: Muon, apart: Sequence[dict[str, Any]] = ()) -> None:
    """In the place of the trainer's own optimizer, where it has none yet. ``apart``: groups of parameters for AdamW."""
    theirs = {p for group in apart for p in group["params"]}
    if isinstance(trainer.optimizer, DummyOptim):
        mine = [p for p in trainer.model.parameters() if p not in theirs]
        trainer.optimizer.params = [*decay_groups(trainer, mine), *apart]
    elif trainer.optimizer is None:
        matrices = hidden_matrices(trainer.model)
        rest = set(trainer.model.parameters()) - set(matrices) - theirs
        args = trainer.args
        options = {"lr": muon.learning_rate or args.learning_rate, "weight_decay": args.weight_decay}
        options |= {"momentum": muon.momentum, "adjust_lr_fn": muon.adjust}
        adamw = {"lr": args.learning_rate, "betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon}
        others = decay_groups(trainer, [p for p in trainer.model.parameters() if p in rest])
        trainer.optimizer = MuonAdamW(matrices, [*others, *apart], options, adamw)


def decay_groups(trainer: Any, parameters: list[Tensor]) -> list[dict[str, Any]]:
    """Those of ``parameters`` that train, with weight decay where the trainer's own optimizer has it."""
    names = set(trainer.get_decay_parameter_names(trainer.model))
    decayed = {p for name, p in trainer.model.named_parameters() if name in names}
    trained = [p for p in parameters if p.requires_grad]
    return [
        {"params": [p for p in trained if p in decayed], "weight_decay": trainer.args.weight_decay},
        {"params": [p for p in trained if p not in decayed], "weight_decay": 0.0},
    ]


def check_names(model: Any) -> None:
    """DeepSpeed tells embeddings and head by their names. Raises where that takes another weight than we mean."""
    mine = set(hidden_matrices(model))
    for name, p in model.named_parameters():
        theirs = dimensions(p) >= 2 and not any(word in name.lower() for word in ("embed", "lm_head"))
        if p.requires_grad and theirs != (p in mine):
            raise ValueError(f"optimizer.muon: DeepSpeed would take {name} for {'a' if theirs else 'no'} hidden matrix")
