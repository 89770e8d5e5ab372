"""Muon beside AdamW: which weights are whose, what a step is, and that a checkpoint holds it."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import tiny
from torch import nn

from entropostat.recipe.blocks import Muon, Optimizer
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.optim.muon import MuonAdamW, check_names, deepspeed_section, hidden_matrices, set_up_muon

HIDDEN = {f"{part}_proj.weight" for part in ("q", "k", "v", "o", "gate", "up", "down")}


def trainer(path: str, muon: Muon | None = None, folder: Any = None, **changes: Any) -> Any:
    folder = {} if folder is None else {"output_dir": str(folder)}
    return EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=tiny.config(**folder, **changes),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(),
        optimizer=Optimizer(muon=muon or Muon()),
    )


def names(model: Any, parameters: Any) -> set[str]:
    wanted = set(parameters)
    return {name for name, p in model.named_parameters() if p in wanted}


@pytest.mark.parametrize("tie", [False, True])
def test_muon_takes_the_matrices_between_embedding_and_head(tie):
    model = tiny.model(tie=tie)
    taken = names(model, hidden_matrices(model))
    assert {".".join(name.split(".")[-2:]) for name in taken} == HIDDEN
    assert len(taken) == 2 * len(HIDDEN)


def test_a_tied_head_is_left_out_whatever_its_name():
    model = tiny.model()
    model.model.layers[0].mlp.down_proj.weight = model.model.embed_tokens.weight
    taken = names(model, hidden_matrices(model))
    assert "model.embed_tokens.weight" not in taken and "model.layers.1.mlp.down_proj.weight" in taken


def test_frozen_weights_and_other_shapes_are_left_out():
    model = tiny.model()
    model.model.layers[0].requires_grad_(False)
    model.model.layers[1].experts = nn.Parameter(torch.zeros(2, 3, 4))
    taken = names(model, hidden_matrices(model))
    assert len(taken) == len(HIDDEN) and all(name.startswith("model.layers.1.") for name in taken)


def test_a_weight_that_zero_3_has_taken_apart_keeps_its_shape():
    model = tiny.model()
    whole = names(model, hidden_matrices(model))
    for p in model.parameters():
        p.ds_shape, p.data = p.shape, torch.empty(0)
    assert names(model, hidden_matrices(model)) == whole
    check_names(model)


def test_every_trainable_weight_is_in_one_group_with_the_decay_of_its_kind():
    made = trainer(tiny.saved(tie=True), Muon(learning_rate=0.3), weight_decay=0.2, learning_rate=0.01)
    muon, decayed, plain = made.create_optimizer().param_groups
    every = [p for group in (muon, decayed, plain) for p in group["params"]]
    assert len(every) == len(set(every)) and set(every) == set(made.model.parameters())
    assert (muon["lr"], muon["weight_decay"], muon["momentum"]) == (0.3, 0.2, 0.95)
    assert (decayed["lr"], decayed["weight_decay"], plain["weight_decay"]) == (0.01, 0.2, 0.0)
    assert names(made.model, decayed["params"]) == {"model.embed_tokens.weight"}
    assert all(p.dim() == 1 for p in plain["params"])


def test_a_step_is_orthogonal_in_the_matrices_and_adamws_elsewhere():
    torch.manual_seed(0)
    matrix, table, twin = (nn.Parameter(torch.randn(6, 4)) for _ in range(3))
    twin.data.copy_(table.data)
    before = matrix.detach().clone()
    for p in (matrix, table, twin):
        p.grad = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    settings = {"lr": 0.1, "weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
    adamw = {"lr": 0.05, "betas": (0.9, 0.99), "eps": 1e-6}
    MuonAdamW([matrix], [{"params": [table], "weight_decay": 0.3}], settings, adamw).step()
    torch.optim.AdamW([twin], weight_decay=0.3, **adamw).step()
    assert torch.equal(table, twin)
    sizes = torch.linalg.svdvals((before - matrix.detach()) / (0.1 * 0.2 * math.sqrt(6)))
    assert ((sizes > 0.5) & (sizes < 1.5)).all()  # where five Newton-Schulz steps bring every singular value
    assert torch.sum((before - matrix.detach()) * matrix.grad) > 0


def test_the_schedule_reaches_both_halves():
    made = trainer(tiny.saved(), Muon(learning_rate=0.04), max_steps=4, lr_scheduler_type="linear")
    made.train()
    rates = [group["lr"] / group["initial_lr"] for group in made.optimizer.param_groups]
    assert rates == [pytest.approx(0.0)] * 3
    assert [group["initial_lr"] for group in made.optimizer.param_groups] == [0.04, 0.01, 0.01]


def test_a_resumed_run_is_the_run_that_was_never_stopped(tmp_path: Path):
    path = tiny.saved()
    changes = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "shuffle_dataset": False}
    whole = trainer(path, folder=tmp_path / "run", **changes)
    whole.train()
    again = trainer(path, folder=tmp_path / "run", **changes)
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    ends = [made.model.state_dict() for made in (whole, again)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    first = hidden_matrices(again.model)[0]
    assert torch.equal(again.optimizer.state[first]["momentum_buffer"], state_of(whole, 0))


def state_of(made: Any, index: int) -> Any:
    return made.optimizer.state[hidden_matrices(made.model)[index]]["momentum_buffer"]


def test_loaded_state_is_what_the_next_step_uses():
    def build() -> tuple[nn.Parameter, nn.Parameter, MuonAdamW]:
        torch.manual_seed(0)
        a, b = nn.Parameter(torch.randn(5, 3)), nn.Parameter(torch.randn(3))
        return a, b, MuonAdamW([a], [{"params": [b]}], {"lr": 0.1}, {"lr": 0.1})

    def push(a: nn.Parameter, b: nn.Parameter, made: MuonAdamW, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        a.grad, b.grad = torch.randn(5, 3, generator=g), torch.randn(3, generator=g)
        made.step()

    one, two = build(), build()
    push(*one, 1)
    two[2].load_state_dict(copy.deepcopy(one[2].state_dict()))  # as from a file
    two[0].data.copy_(one[0].data), two[1].data.copy_(one[1].data)
    for run in (one, two):
        run[2].param_groups[0]["lr"] = 0.02
        push(*run, 2)
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


def test_without_a_matrix_it_is_refused():
    with pytest.raises(ValueError, match="no trainable matrix"):
        MuonAdamW([], [], {}, {"lr": 0.1})


def test_deepspeed_gets_the_same_settings_and_no_scale_that_it_lacks():
    args = tiny.config(learning_rate=0.01, weight_decay=0.1, adam_beta2=0.95, max_grad_norm=0.0)
    section = deepspeed_section(args, Muon(adjust="original", learning_rate=0.02, momentum=0.9))
    assert section["type"] == "Muon"
    wanted = {"lr": 0.01, "muon_lr": 0.02, "momentum": 0.9, "weight_decay": 0.1, "betas": [0.9, 0.95], "eps": 1e-8}
    assert section["params"] == {**wanted, "ns_method": "standard"}
    with pytest.raises(ValueError, match=r"optimizer\.muon\.adjust: match_rms_adamw is not offered by DeepSpeed"):
        deepspeed_section(args, Muon())
    args.max_grad_norm = 1.0
    with pytest.raises(ValueError, match="max_grad_norm: DeepSpeed takes the norm of Muon's step"):
        deepspeed_section(args, Muon(adjust="original"))


def test_a_model_whose_names_mislead_deepspeed_is_refused():
    model = tiny.model()
    check_names(model)
    model.transformer = nn.ModuleDict({"wte": nn.Embedding(4, 3)})
    with pytest.raises(ValueError, match=r"DeepSpeed would take transformer\.wte\.weight for a hidden matrix"):
        check_names(model)


def test_fsdp_is_refused():
    with pytest.raises(ValueError, match=r"optimizer\.muon: FSDP splits the matrices"):
        set_up_muon(SimpleNamespace(optimizer=None, is_fsdp_enabled=True), Muon())


def test_the_sections_reach_deepspeeds_configuration():
    plugin = SimpleNamespace(deepspeed_config={"zero_optimization": {"stage": 2}})
    stub = SimpleNamespace(
        optimizer=None,
        model=tiny.model(),
        args=tiny.config(max_grad_norm=0.0),
        is_fsdp_enabled=False,
        is_deepspeed_enabled=True,
        accelerator=SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin)),
    )
    set_up_muon(stub, Muon(adjust="original"))
    assert plugin.deepspeed_config["optimizer"]["type"] == "Muon"
    assert plugin.deepspeed_config["zero_optimization"] == {"stage": 2, "reduce_scatter": False}
