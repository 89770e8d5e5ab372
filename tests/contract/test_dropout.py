"""Dropout of every kind is off in policy, reference and critic, unless it is kept."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoraConfig, OFTConfig
from support import families, tiny
from support.log_history import step_rows
from torch import nn
from transformers import AutoConfig, set_seed

from entropostat.recipe.blocks import Critic
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.model.dropout import turn_off
from entropostat.trainers.state.final import save_policy

RATES: dict[str, dict[str, Any]] = {
    "gpt2": {"resid_pdrop": 0.3, "embd_pdrop": 0.3, "attn_pdrop": 0.3},
    "gpt_neo": {"resid_dropout": 0.3, "embed_dropout": 0.3, "attention_dropout": 0.3},
    "opt": {"dropout": 0.3, "attention_dropout": 0.3, "layerdrop": 0.3},
    "biogpt": {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3, "layerdrop": 0.3},
    "xglm": {"dropout": 0.3, "attention_dropout": 0.3, "activation_dropout": 0.3, "layerdrop": 0.3},
    "llama": {"attention_dropout": 0.3},
    "qwen2": {"attention_dropout": 0.3},
    "gptj": {"resid_pdrop": 0.3, "embd_pdrop": 0.3, "attn_pdrop": 0.3},
    "persimmon": {"hidden_dropout": 0.3, "attention_dropout": 0.3},
    "falcon": {"hidden_dropout": 0.3, "attention_dropout": 0.3},
    "bloom": {"hidden_dropout": 0.3, "attention_dropout": 0.3},
}
ADAPTERS = {
    "lora": LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", lora_dropout=0.3, init_lora_weights=False),
    "loha": LoHaConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], rank_dropout=0.3, module_dropout=0.3, init_weights=False
    ),
    "oft": OFTConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], oft_block_size=4, module_dropout=0.3, init_weights=False
    ),
}
KL_REF = {"kl_ref": {"coef": 0.1}}


def forward(model: Any) -> torch.Tensor:
    ids = torch.arange(3, 15).view(2, 6)
    return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.detach()


def test_every_kind_is_tried() -> None:
    assert RATES.keys() == families.FAMILIES.keys()


@pytest.mark.parametrize("family", RATES)
def test_a_silent_model_in_training_mode_gives_what_it_gives_in_evaluation_mode(family: str) -> None:
    model = families.policy(family, **RATES[family])
    expected = forward(model)
    model.train()
    assert not torch.equal(forward(model), expected)
    before = model.config.to_dict()
    assert turn_off(model)
    assert all(module.training for module in model.modules())
    assert torch.equal(forward(model), expected)
    assert torch.equal(forward(copy.deepcopy(model)), expected)
    assert model.config.to_dict() == before and all(before[key] == 0.3 for key in RATES[family])
    assert turn_off(model) == []


def test_noise_on_a_router_and_rates_of_an_unknown_module_are_found() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router_jitter_noise, self.drop_path_rate, self.rank_dropout = 0.1, 0.2, {"default": 0.3}
            self.attn_drop_p, self.drop_last, self.dropout_positions = 0.1, True, [0.5]
            self.feature = nn.FeatureAlphaDropout(0.4)

    model = families.policy("qwen2")
    model.odd = odd = Odd()
    assert turn_off(model) == [
        "FeatureAlphaDropout", "attn_drop_p", "drop_path_rate", "rank_dropout", "router_jitter_noise"
    ]  # fmt: skip
    assert odd.router_jitter_noise == odd.drop_path_rate == odd.rank_dropout["default"] == odd.feature.p == 0
    assert odd.drop_last is True and odd.dropout_positions == [0.5]


def test_a_layer_goes_on_sharing_its_configuration() -> None:
    model = families.policy("persimmon", attention_dropout=0.1)
    turn_off(model)
    layer = model.model.layers[0].self_attn
    assert isinstance(layer.config, type(model.config))
    assert layer.config.attention_dropout == 0.0 and model.config.attention_dropout == 0.1
    model.set_attn_implementation("eager")
    assert layer.config._attn_implementation == "eager" and layer.config.hidden_size == 32
    layer.config.use_cache = False
    assert model.config.use_cache is False


STILL: dict[str, Any] = {
    "learning_rate": 0.0, "max_steps": 1, "gradient_accumulation_steps": 2, "steps_per_generation": 4,
}  # fmt: skip
COMPARED = {"trust/ratio_max": 1.0, "trust/ratio_min": 1.0, "trust/kl_old": 0.0, "kl_ref/kl": 0.0}
"""What a policy that has not moved reads, beside itself and its reference."""


def read(trainer: Any) -> dict[str, float]:
    """The first update of a generation, at learning rate 0."""
    set_seed(1)
    trainer.train()
    (row,) = step_rows(trainer)
    return {key: row[key] for key in COMPARED}


def adapted(adapter: Any, penalty: Any = KL_REF, **options: Any) -> Any:
    return EntropyGRPOTrainer(
        model=tiny.written(families.policy("qwen2", attention_dropout=0.3)),
        reward_funcs=tiny.digits,
        args=tiny.config(**STILL),
        train_dataset=tiny.prompts(),
        processing_class=tiny.tokenizer(),
        peft_config=adapter,
        objective=tiny.objective(penalties=[penalty]),
        **options,
    )


@pytest.mark.parametrize("family", RATES)
def test_the_first_update_of_a_generation_is_on_policy(family: str) -> None:
    path = tiny.written(families.policy(family, **RATES[family]))
    assert read(tiny.ours(path, tiny.objective(penalties=[KL_REF]), **STILL)) == COMPARED


def test_gradient_checkpointing_recomputes_the_same_policy() -> None:
    path = tiny.written(families.policy("opt", **RATES["opt"]))
    make = lambda on: tiny.ours(path, tiny.objective(penalties=[KL_REF]), **STILL, gradient_checkpointing=on)
    checkpointed, plain = make(True), make(False)
    assert read(checkpointed) == read(plain) == COMPARED
    assert checkpointed.model.is_gradient_checkpointing
    norms = [trainer.state.log_history[0]["grad_norm"] for trainer in (checkpointed, plain)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_adapters_drop_nothing_out(adapter: str) -> None:
    """Their reference is the policy without them, and they start away from it: only the ratio must be 1."""
    metrics = read(adapted(copy.deepcopy(ADAPTERS[adapter])))
    assert {**metrics, "kl_ref/kl": 0.0} == COMPARED and metrics["kl_ref/kl"] > 1e-5


def test_a_reference_adapter_that_is_added_later_is_silent_too() -> None:
    """It starts as a copy of the policy's."""
    lora = copy.deepcopy(ADAPTERS["lora"])
    assert read(adapted(lora, {"kl_ref": {"coef": 0.1, "reference": "ema", "decay": 0.9}})) == COMPARED


def test_kept_dropout_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    lora = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", lora_dropout=0.3)
    with caplog.at_level(logging.WARNING, "entropostat.trainers.model.distribution"):
        metrics = read(adapted(lora, dropout="keep"))
        assert not caplog.records
        adapted(lora)
    assert metrics["trust/ratio_max"] > 1.01 and metrics["kl_ref/kl"] > 1e-4
    (line,) = caplog.messages
    assert line.startswith("dropout is off in the policy and its reference (Dropout, attention_dropout): ")


def test_a_contradiction_or_a_misspelling_is_refused() -> None:
    path = tiny.saved()
    options: dict[str, Any] = {"model": path, "reward_funcs": tiny.digits, "objective": tiny.objective()}
    options["train_dataset"] = tiny.prompts()
    with pytest.raises(ValueError, match="'keep' and disable_dropout: true contradict each other"):
        EntropyGRPOTrainer(**options, dropout="keep", args=tiny.config(disable_dropout=True))
    with pytest.raises(ValueError, match="dropout: 'none' is neither 'off' nor 'keep'"):
        EntropyGRPOTrainer(**options, dropout="none", args=tiny.config())


@pytest.mark.parametrize("trunk", ["shared", "separate"])
def test_a_critic_says_what_it_said(trunk: str) -> None:
    """Values of the loss are those of the generation: nothing is clipped at the first update, however narrow the clip."""
    path = tiny.written(families.policy("gpt2", **RATES["gpt2"]))
    trainer = tiny.ppo(path, Critic(trunk=trunk, detach=False, init=1.0, clip=1e-6), **STILL)
    trainer.train()
    (row,) = step_rows(trainer)
    assert row["critic/clip_fraction"] == 0.0 and row["trust/ratio_max"] == 1.0


def test_what_is_saved_has_the_rates_that_were_given(tmp_path: Path) -> None:
    path = tiny.written(families.policy("falcon", **RATES["falcon"]))
    trainer = tiny.ours(path, **{**STILL, "max_steps": 1})
    trainer.train()
    save_policy(trainer, tmp_path / "final")
    saved = AutoConfig.from_pretrained(tmp_path / "final")
    assert {key: getattr(saved, key) for key in RATES["falcon"]} == RATES["falcon"]
    lora = adapted(LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", lora_dropout=0.3))
    save_policy(lora, tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["lora_dropout"] == 0.3
