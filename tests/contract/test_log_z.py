"""log Z inside the wrapped forward: what it reads, whom it trains, what it costs, and where it must not appear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from support import tiny
from support.log_history import step_rows
from support.one_loss import recorded
from torch import nn

from entropostat.recipe.blocks import Muon, Optimizer
from entropostat.rl.partition import Partition
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.model.partition_tap import PartitionHead
from entropostat.trainers.trl.loss_pass import LossPass

NAME, FILE = "entropostat_log_z", "log_z.safetensors"
RAGGED = Dataset.from_dict({"prompt": ["1+2=" * (1 + i % 3) for i in range(16)]})


def flow(model: Any, options: dict[str, Any] | None = None, terms: dict[str, Any] | None = None, **changes: Any) -> Any:
    """A trainer with FlowRL; what is no field of its config goes to the trainer itself."""
    own = {key: changes.pop(key) for key in ("peft_config", "optimizer", "optimizers") if key in changes}
    return EntropyGRPOTrainer(
        model=model,
        reward_funcs=tiny.digits,
        args=tiny.config(**changes),
        train_dataset=changes.pop("train_dataset", RAGGED),
        processing_class=tiny.tokenizer(),
        objective=tiny.objective(loss={"flowrl": {"beta": 2.0, **(options or {})}}, **(terms or {})),
        **own,
    )


def head(trainer: Any) -> nn.Module:
    return trainer.partition.owner.head_tap.head  # type: ignore[no-any-return]


def passes(trainer: Any) -> list[tuple[dict[str, Any], LossPass]]:
    """Every micro-batch from now on: its inputs and what its loss saw."""
    seen: list[tuple[dict[str, Any], LossPass]] = []
    additive = trainer._additive_terms
    trainer._additive_terms = lambda inputs, passed: seen.append((inputs, passed)) or additive(inputs, passed)
    return seen


# ------------------------------------------------------------------------------------------------ forward and gradient


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_it_is_of_the_prompt_alone_whatever_stands_before_and_after_it(path: str, pool: str) -> None:
    trainer = flow(path, {"pool": pool}, max_steps=1, learning_rate=0.0)
    trainer.model.get_input_embeddings().weight.data[0] = 1.0  # that of padding is 0, and so would be its states
    seen = passes(trainer)
    trainer.train()
    (inputs, passed), *_ = seen
    lengths = inputs["prompt_mask"].sum(1)
    assert len(set(lengths.tolist())) > 1
    for row, count in enumerate(lengths.tolist()):
        ids = inputs["prompt_ids"][row : row + 1, -count:]
        with torch.no_grad():
            states = trainer.model.model(ids).last_hidden_state
            wanted = head(trainer)(states, torch.ones_like(ids))
        torch.testing.assert_close(passed.batch.log_z[row], wanted[0], rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_of_its_formula(path: str) -> None:
    trainer = flow(path, {"cap": 1.5}, max_steps=1)
    inputs = recorded(trainer)
    seen = passes(trainer)
    loss = trainer._compute_loss(trainer.model, dict(inputs))
    batch, mask = seen[0][1].batch, inputs["completion_mask"]
    mean = lambda x: (x * mask).sum(1) / mask.sum(1)
    delta = batch.log_z + mean(batch.logps - inputs["ref_per_token_logps"]) - 2 * inputs["advantages"]
    ratio = ((batch.logps.detach() - inputs["old_per_token_logps"]) * mask).sum(1).exp()
    assert (ratio > 1.5).any() and (ratio < 1.5).any()
    torch.testing.assert_close(loss, (ratio.clamp(max=1.5) * delta.square()).mean(), rtol=1e-5, atol=1e-6)


def test_it_costs_no_forward_and_only_a_loss_reads_it(path: str) -> None:
    count = [0]
    trainer = flow(path, max_steps=4, gradient_accumulation_steps=2, steps_per_generation=4)
    head(trainer).register_forward_hook(lambda *_: count.__setitem__(0, count[0] + 1))
    trained = [0]
    trainer.model.model.register_forward_hook(lambda *_: trained.__setitem__(0, trained[0] + torch.is_grad_enabled()))
    trainer.train()
    assert count == trained == [8]


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_loss_trains_the_head_and_through_it_the_backbone_unless_detached(
    path: str, detach: bool, checkpointing: bool
) -> None:
    trainer = flow(path, {"detach": detach}, max_steps=1, gradient_checkpointing=checkpointing)
    inputs = recorded(trainer)
    seen = passes(trainer)
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, dict(inputs))
    seen[0][1].batch.log_z.sum().backward()
    norms = {n: 0.0 if p.grad is None else float(p.grad.norm()) for n, p in trainer.model.named_parameters()}
    assert all(norm > 0 for n, norm in norms.items() if NAME in n)
    assert any(norm > 0 for n, norm in norms.items() if NAME not in n) is not detach


def test_its_first_weights_are_those_of_the_seed_and_take_no_random_number_of_the_run(path: str) -> None:
    model, form = tiny.model(), Partition(layers=2, pool="mean", detach=False, learning_rate=None)
    before = torch.get_rng_state()
    one, same, other = (PartitionHead(model, form, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["layers.1.weight"], other["layers.1.weight"])


def test_it_learns_its_level_from_the_residual(path: str) -> None:
    trainer = flow(path, {"learning_rate": 0.05}, max_steps=16, learning_rate=1e-5)
    with torch.no_grad():
        head(trainer).layers[-1].bias.add_(4.0)
    trainer.train()
    levels = [row["flowrl/log_z"] for row in step_rows(trainer)]
    assert (
        levels[0] > 2.5 and abs(levels[-1]) < 1
    )  # the mean advantage of a group is 0, and the policy is its own reference


def test_it_stays_in_float32_under_a_policy_of_bfloat16(path: str) -> None:
    model = tiny.model(dtype=torch.bfloat16)
    model.config._name_or_path = path
    trainer = flow(model, bf16=True, max_steps=2)
    seen = passes(trainer)
    trainer.train()
    assert {p.dtype for p in head(trainer).parameters()} == {torch.float32}
    assert seen[0][1].batch.log_z.dtype == torch.float32 and seen[0][1].batch.log_z.requires_grad


def test_rows_that_join_the_forward_have_none(path: str) -> None:
    aepo = {"aepo": {"coef": 0.5, "target": 2.0, "success": 0.15, "share": 0.5}}
    trainer = flow(path, terms={"penalties": [aepo]}, max_steps=4)
    seen = passes(trainer)
    trainer.train()
    assert any(passed.batch.extra is not None and len(passed.batch.extra.logps) for _, passed in seen)
    assert all(passed.batch.log_z.shape == passed.batch.mask.shape[:1] for _, passed in seen)


def test_a_head_that_gives_no_number_is_named(path: str, caplog: pytest.LogCaptureFixture) -> None:
    trainer = flow(path, max_steps=1)
    with torch.no_grad():
        head(trainer).layers[-1].bias.fill_(torch.nan)
    trainer.train()
    assert "log_z" in caplog.text and trainer.guard.count == 1


# ------------------------------------------------------------------------------------------------ optimizer and files


@pytest.mark.parametrize("muon", [None, Optimizer(muon=Muon())], ids=["adamw", "muon"])
@pytest.mark.parametrize("lora", [None, tiny.LORA], ids=["", "adapters"])
def test_the_head_has_a_group_of_its_own(path: str, muon: Any, lora: Any) -> None:
    trainer = flow(path, {"learning_rate": 0.5}, optimizer=muon, peft_config=lora, learning_rate=0.1, weight_decay=0.3)
    groups = [g for g in trainer.create_optimizer().param_groups if g["params"]]
    *policy, last = groups
    assert (last["lr"], last["weight_decay"]) == (0.5, 0.0) and set(last["params"]) == {*head(trainer).parameters()}
    assert policy and all(group["lr"] == 0.1 for group in policy)
    assert sum(len(g["params"]) for g in groups) == sum(p.requires_grad for p in trainer.model.parameters())
    assert flow(path, learning_rate=0.1).create_optimizer().param_groups[-1]["lr"] == 0.1


SAVED = {"save_strategy": "steps", "save_steps": 2, "shuffle_dataset": False}


@pytest.mark.parametrize("lora", [None, tiny.LORA], ids=["", "adapters"])
def test_a_resumed_run_is_the_run_that_was_never_stopped(path: str, tmp_path: Path, lora: Any) -> None:
    make = lambda: flow(
        path,
        {"learning_rate": 0.05},
        max_steps=4,
        peft_config=lora,
        output_dir=str(tmp_path),
        num_iterations=2,
        **SAVED,
    )
    torch.manual_seed(0)
    whole = make()
    whole.train()
    kept = load_file(tmp_path / "checkpoint-2" / FILE)
    torch.manual_seed(0)
    again = make()
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    ends = [{n: p.detach() for n, p in trainer.model.named_parameters()} for trainer in (again, whole)]
    assert all(torch.equal(ends[0][n], ends[1][n]) for n in ends[1])
    trained = head(whole).state_dict()
    assert kept.keys() == trained.keys() and not any(torch.equal(kept[n], trained[n]) for n in kept)
    keys = ("loss", "grad_norm", "flowrl/log_z", "flowrl/residual")
    assert [[row[key] for key in keys] for row in step_rows(again)] == [
        [row[key] for key in keys] for row in step_rows(whole)
    ]
    policy = tmp_path / "checkpoint-4" / ("adapter_model.safetensors" if lora else "model.safetensors")
    assert not any("log_z" in name for name in load_file(policy))


def test_a_new_trainer_takes_over_the_head_beside_the_policy_and_one_of_another_form_is_named(
    path: str, tmp_path: Path
) -> None:
    trainer = flow(path, max_steps=1)
    trainer.train()
    trainer.save_model(str(tmp_path))
    again = flow(str(tmp_path)).partition.owner.head_tap.head.state_dict()
    assert all(torch.equal(x, again[name]) for name, x in head(trainer).state_dict().items())
    with pytest.raises(
        ValueError, match=r"log_z\.safetensors: layers\..*; give the loss the layers that it was saved with"
    ):
        flow(str(tmp_path), {"layers": 2})


def test_a_reference_that_moves_and_vllm_know_nothing_of_it(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        def __init__(self, model: nn.Module) -> None:
            self._iter_named_params = model.named_parameters

    def check(trainer: Any, key: str) -> None:
        trainer.use_vllm, trainer.vllm_generation = True, Engine(trainer.model)

    monkeypatch.setattr("entropostat.trainers.partition.check_trainer", check)
    trainer = flow(path, terms={"penalties": [{"kl_ref": {"coef": 0.0, "reference": "ema", "decay": 0.5}}]})
    assert any(NAME in name for name, _ in trainer.model.named_parameters())
    assert not any(NAME in name for name, _ in trainer.vllm_generation._iter_named_params())
    assert trainer.anchor.pairs() and not any(NAME in name for name, *_ in trainer.anchor.pairs())


# ------------------------------------------------------------------------------------------------ what is refused


def test_what_cannot_train_it_is_refused_before_training(path: str) -> None:
    with pytest.raises(
        ValueError, match=r"^sync_ref_model: true .* has no head for log Z; use .*kl_ref.reference: ema"
    ):
        flow(path, sync_ref_model=True)
    with pytest.raises(ValueError, match=r"^objective\.loss\.flowrl: .*in place of the values of a critic"):
        tiny.ppo(path, spec={**tiny.GAE, "loss": {"flowrl": {}}})


def test_fsdp_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from entropostat.trainers.partition import check_trainer

    trainer = flow(path)
    monkeypatch.setattr(trainer, "is_fsdp_enabled", True)
    with pytest.raises(ValueError, match=r"^objective\.loss\.flowrl: the head for log Z is not supported under FSDP"):
        check_trainer(trainer, "objective.loss.flowrl")


def test_a_loss_without_log_z_adds_nothing(path: str) -> None:
    trainer = tiny.ours(path)
    assert trainer.partition.owner is None and not trainer.heads
    assert not any(NAME in name for name, _ in trainer.model.named_parameters())
