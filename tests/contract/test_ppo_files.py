"""A critic's own group in the optimizer, its own file beside the policy's, and nothing of it for vLLM or a reference."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import tiny
from torch import nn
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback
from trl.generation.vllm_generation import VLLMGeneration

from entropostat.recipe.blocks import Critic, Muon, Optimizer
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.model.critic_tap import FILE, NAME
from entropostat.trainers.model.head_tap import without


def test_signatures_that_the_critic_relies_on() -> None:
    parameters = lambda method: list(inspect.signature(method).parameters)
    assert parameters(VLLMGeneration._iter_named_params) == ["self"]
    assert parameters(Trainer._load_optimizer_and_scheduler) == ["self", "checkpoint"]
    assert parameters(Trainer.save_model) == ["self", "output_dir", "_internal_call"]
    assert parameters(Trainer.create_optimizer) == ["self", "model"]


def groups(trainer: Any) -> list[tuple[float, float, set[str]]]:
    names = {p: n for n, p in trainer.model.named_parameters()}
    made = trainer.create_optimizer().param_groups
    return [(g["lr"], g["weight_decay"], {names[p] for p in g["params"]}) for g in made if g["params"]]


@pytest.mark.parametrize("muon", [None, Optimizer(muon=Muon())], ids=["adamw", "muon"])
@pytest.mark.parametrize("lora", [None, tiny.LORA], ids=["", "adapters"])
def test_the_critic_has_a_group_of_its_own(path: str, muon: Any, lora: Any) -> None:
    trainer = tiny.ppo(
        path,
        Critic(learning_rate=0.5, hidden=True),
        optimizer=muon,
        peft_config=lora,
        learning_rate=0.1,
        weight_decay=0.3,
    )
    split = groups(trainer)
    count = len(trainer.optimizer.param_groups)
    assert groups(trainer) == split  # asked for twice, as before a second training
    assert len(trainer.optimizer.param_groups) == count
    *policy, (rate, decay, names) = split
    assert (rate, decay, len(names)) == (0.5, 0.0, 4) and all(NAME in name for name in names)
    assert policy and all(lr == 0.1 and not any(NAME in n for n in own) for lr, _, own in policy)
    trained = {n for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert set.union(*(own for *_, own in split)) == trained


def test_an_optimizer_that_is_given_trains_the_critic_too(path: str) -> None:
    model = tiny.model()
    model.config._name_or_path = path
    trainer = tiny.ppo(model, optimizers=(torch.optim.SGD(model.parameters(), lr=0.1), None))
    assert groups(trainer)[-1][0] == 0.01 and len(groups(trainer)) == 2


def test_the_policys_files_hold_no_critic_and_its_own_file_holds_it_all(path: str, tmp_path: Path) -> None:
    trainer = tiny.ppo(path, Critic(heads=2, hidden=True, trunk="separate"), max_steps=1)
    trainer.save_model(str(tmp_path))
    assert not any("critic" in name for name in load_file(tmp_path / "model.safetensors"))
    assert "critic" not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    _, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    saved, own = load_file(tmp_path / FILE), trainer.critic.tap.critic.state_dict()
    assert saved.keys() == own.keys() and all(torch.equal(saved[n], own[n]) for n in own)
    assert getattr(trainer.model, NAME) is trainer.critic.tap.critic  # and is there again


@pytest.mark.parametrize("lora", [None, tiny.LORA], ids=["model", "adapters"])
def test_a_checkpoint_holds_a_trained_critic_and_a_new_trainer_takes_it_over(
    path: str, tmp_path: Path, lora: Any
) -> None:
    critic = Critic(learning_rate=0.1)
    trainer = tiny.ppo(path, critic, peft_config=lora, output_dir=str(tmp_path), save_strategy="steps", save_steps=2)
    first = {n: x.clone() for n, x in trainer.critic.tap.critic.state_dict().items()}
    trainer.train()
    checkpoint = tmp_path / "checkpoint-2"
    trained = load_file(checkpoint / FILE)
    assert not any(torch.equal(first[n], trained[n]) for n in trained)
    policy = load_file(checkpoint / ("adapter_model.safetensors" if lora else "model.safetensors"))
    assert policy and not any("critic" in name for name in policy)
    if lora is None:
        again = tiny.ppo(str(checkpoint), critic)
        assert all(torch.equal(x, trained[n]) for n, x in again.critic.tap.critic.state_dict().items())


def test_the_best_policy_comes_back_with_the_critic_that_it_had(path: str, tmp_path: Path) -> None:
    saved = {"output_dir": str(tmp_path), "save_strategy": "steps", "save_steps": 1, "max_steps": 3}
    trainer = tiny.ppo(path, Critic(learning_rate=0.1), metric_for_best_model="reward", **saved)
    rewards = iter([0.1, 0.9, 0.2])

    class Score(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            trainer._determine_best_metric({"eval_reward": next(rewards)}, None)

    trainer.add_callback(Score())
    trainer.train()
    best, last = (load_file(tmp_path / f"checkpoint-{step}" / FILE) for step in (2, 3))
    assert not any(torch.equal(best[name], last[name]) for name in best)
    trainer._load_best_model()
    assert all(torch.equal(x, best[name]) for name, x in trainer.critic.tap.critic.state_dict().items())


def test_a_file_of_another_form_and_a_missing_one_are_named(path: str, tmp_path: Path) -> None:
    tiny.ppo(path).save_model(str(tmp_path))
    with pytest.raises(
        ValueError, match=r"critic\.safetensors: values\.heads\.1\.bias is no such weight there and \(1,\) here"
    ):
        tiny.ppo(str(tmp_path), Critic(heads=2))
    with pytest.raises(
        FileNotFoundError, match=r"critic\.safetensors: missing; this folder was saved without a critic"
    ):
        tiny.ppo(path).critic.tap.load(tmp_path / "elsewhere")


def test_vllm_gets_the_policy_only(path: str) -> None:
    for lora in (None, tiny.LORA):
        trainer = tiny.ppo(path, Critic(heads=2), peft_config=lora)
        every = [name for name, _ in trainer.model.named_parameters()]
        sent = [name for name, _ in without(NAME, trainer.model.named_parameters)()]
        assert sent == [name for name in every if "heads" not in name] and len(every) - len(sent) == 4


def test_vllms_walk_over_the_weights_is_wrapped(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        def __init__(self, model: nn.Module) -> None:
            self._iter_named_params = model.named_parameters

    init = EntropyGRPOTrainer.__init__

    def with_engine(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.use_vllm, self.vllm_generation = True, Engine(self.model)

    monkeypatch.setattr(EntropyGRPOTrainer, "__init__", with_engine)
    trainer = tiny.ppo(path)
    assert any(NAME in name for name, _ in trainer.model.named_parameters())
    assert not any(NAME in name for name, _ in trainer.vllm_generation._iter_named_params())


def test_a_reference_that_moves_follows_the_policy_alone(path: str) -> None:
    trainer = tiny.ppo(
        path, spec={"advantages": ["gae"], "penalties": [{"kl_ref": {"reference": "ema", "decay": 0.5}}]}, max_steps=2
    )
    trainer.train()
    assert trainer.anchor.pairs() and not any(NAME in name for name, *_ in trainer.anchor.pairs())
