"""Statistics of the whole distribution, computed inside TRL's patched forward, for the heads that there are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig
from support import tiny
from support.log_history import step_rows
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    PreTrainedModel,
)
from trl.trainer import add_fused_lm_head

from entropostat.rl.vocab_sums import Wanted
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.model.vocabulary import VocabularyTap
from entropostat.trainers.trl.loss_pass import LossPass

SIZES: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1,
}  # fmt: skip
FAMILIES = {
    "softcapped (Gemma 2)": Gemma2Config(**SIZES, head_dim=16, final_logit_softcapping=3.0),
    "scaled (Cohere)": CohereConfig(**SIZES, logit_scale=4.0),
    "divided (Granite)": GraniteConfig(**SIZES, logits_scaling=0.25),
}
WANTED = Wanted(("logp", "entropy", "sum_p2", "sum_p2_logp", "max_logp"))
BONUS = {"renyi_bonus": {"coef": 0.5}}


def model_of(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if family.startswith("Qwen"):
        return tiny.model(tie="tied" in family, hidden=32)
    return AutoModelForCausalLM.from_config(FAMILIES[family], attn_implementation="eager")


@pytest.mark.parametrize("family", [*FAMILIES, "Qwen", "Qwen, tied head"])
def test_statistics_agree_with_dense_logits_and_with_trl(family: str) -> None:
    model, temperature = model_of(family), 0.7
    ids = torch.randint(3, 28, (2, 7), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :3] = -100
    labels[1, -1] = -100
    logits = model(input_ids=ids).logits[:, :-1] / temperature
    assert logits.std() > 1e-3
    logp = logits.log_softmax(-1)
    scored = labels[:, 1:] != -100
    p = logp.exp()
    dense = {"sum_p2": p.square().sum(-1), "sum_p2_logp": (p.square() * logp).sum(-1), "max_logp": logp.amax(-1)}
    expected = torch.autograd.grad(sum((v * scored).sum() for v in dense.values()), list(model.parameters()))

    add_fused_lm_head(model, temperature=temperature, outputs=("log_probs", "entropy"))
    tap = VocabularyTap(model, temperature)
    with tap.armed(WANTED):
        output = model(input_ids=ids, labels=labels, fused_lm_head=True)
        stats = tap.take(6)
    for name, value in dense.items():
        torch.testing.assert_close(stats[name], value.masked_fill(~scored, 0.0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stats["logp"], output.log_probs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stats["entropy"], output.entropy, rtol=1e-4, atol=1e-5)
    total = sum(stats[name].sum() for name in dense)
    grads = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
    for got, want in zip(grads, expected, strict=True):
        torch.testing.assert_close(torch.zeros_like(want) if got is None else got, want, rtol=1e-3, atol=1e-4)


def test_unarmed_and_generating_the_model_is_as_before() -> None:
    model = tiny.model()
    ids = torch.randint(3, 28, (1, 5))
    before = model.generate(input_ids=ids, max_new_tokens=4, do_sample=False)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    tap = VocabularyTap(model, 1.0)
    assert torch.equal(model.generate(input_ids=ids, max_new_tokens=4, do_sample=False), before)
    assert "vocabulary" not in model(input_ids=ids, labels=ids, fused_lm_head=True)
    assert not model.base_model._forward_hooks
    with tap.armed(WANTED):
        assert "vocabulary" in model(input_ids=ids, labels=ids, fused_lm_head=True)
    assert not model.base_model._forward_hooks


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("adapters", [False, True])
def test_a_bonus_on_them_trains(adapters: bool, checkpointing: bool) -> None:
    peft = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear") if adapters else None
    path = tiny.saved()
    norms = []
    for spec in (tiny.objective(), tiny.objective(penalties=[BONUS])):
        trainer = EntropyGRPOTrainer(
            model=path,
            reward_funcs=tiny.digits,
            args=tiny.config(max_steps=2, gradient_checkpointing=checkpointing),
            train_dataset=tiny.prompts(),
            objective=spec,
            peft_config=peft,
        )
        trainer.train()
        rows = step_rows(trainer)
        norms.append([row["grad_norm"] for row in rows])
    assert rows[0]["renyi_bonus/entropy"] == pytest.approx(3.3, abs=0.15)
    assert norms[0][0] != norms[1][0]


@pytest.mark.parametrize("aligned", [False, True], ids=["TRL scores the generation", "we do"])
@pytest.mark.parametrize("adapters", [False, True], ids=["", "with an adapter and its reference"])
def test_a_generation_comes_with_the_statistics_of_the_policy_that_made_it(adapters: bool, aligned: bool) -> None:
    trainer = EntropyGRPOTrainer(
        model=tiny.saved(),
        reward_funcs=tiny.digits,
        args=tiny.config(max_steps=1, steps_per_generation=1 if aligned else 2, learning_rate=0.5),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(weights=["clip_v"], penalties=["kl_ref"] if adapters else []),
        peft_config=LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear") if adapters else None,
    )
    if adapters:  # a fresh adapter is the identity, and the reference would be the policy
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.5)
    seen = []
    score = trainer._score

    def watch(output: dict[str, Any], batch: Any) -> None:
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
        attention = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)
        with torch.no_grad():
            logits = trainer.model(input_ids=ids, attention_mask=attention).logits
        logp = logits[:, -output["completion_ids"].size(1) - 1 : -1].log_softmax(-1)
        p = logp.exp()
        expected = {
            "sum_p2": p.square().sum(-1),
            "sum_p2_logp": (p.square() * logp).sum(-1),
            "old_entropy": -(p * logp).sum(-1),
        }
        for name, value in expected.items():
            kept = getattr(batch, name)
            torch.testing.assert_close(kept * batch.mask, value * batch.mask, rtol=1e-4, atol=1e-5)
        seen.append(batch)
        score(output, batch)

    trainer._score = watch
    trainer.train()
    assert len(seen) == 1
    assert "clip_v/fraction" in next(row for row in trainer.state.log_history if "loss" in row)


LP_REG: list[dict[str, Any]] = [
    {},
    {"estimator": "k3"},
    {"estimator": "k3", "scope": "ranks", "rule": "released"},
    {"proxy": "current", "filter": "fixed", "scope": "micro"},
]


@pytest.mark.parametrize("options", LP_REG, ids=str)
def test_lp_reg_meets_the_proxies_of_the_policy_that_made_the_generation(options: dict[str, Any]) -> None:
    """Two updates on one generation, rows shuffled and in two slices: the second is made by another policy."""
    settings = {"coef": 3.0, "rho": 0.8, "kappa": 0.03 if "filter" in options else 0.7, "top_k": 28} | options
    trainer = tiny.ours(tiny.saved(), tiny.objective(penalties=[{"lp_reg": settings}]), learning_rate=0.1)
    proxies: dict[tuple[int, ...], torch.Tensor] = {}
    score, reduced, checked = trainer._score, trainer._additive_terms, []

    def logits(ids: torch.Tensor, attention: torch.Tensor, width: int) -> torch.Tensor:
        return trainer.model(input_ids=ids, attention_mask=attention).logits[:, -width - 1 : -1].log_softmax(-1)

    def sequences(inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, int]:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        return ids, attention, inputs["completion_ids"].size(1)

    def filtered(p: torch.Tensor) -> torch.Tensor:
        bar = settings["kappa"] * (1 if "filter" in options else p.amax(-1, keepdim=True))
        kept = torch.where(p >= bar, p, 0.0)
        return kept / kept.sum(-1, keepdim=True)

    def rollout(output: dict[str, Any], batch: Any) -> None:
        ids, attention, width = sequences(output)
        with torch.no_grad():
            q = filtered(logits(ids, attention, width).exp())
        proxies.update({tuple(row.tolist()): part for row, part in zip(output["completion_ids"], q, strict=True)})
        score(output, batch)

    def loss(inputs: dict[str, Any], passed: LossPass) -> Any:
        batch, part = passed.batch, trainer.objective.penalties[0]
        ids, attention, width = sequences(inputs)
        with torch.no_grad():
            logp = logits(ids, attention, width)
        q = torch.stack([proxies[tuple(row.tolist())] for row in inputs["completion_ids"]])
        q = filtered(logp.exp()) if settings.get("proxy") == "current" else q
        sampled = q.gather(2, inputs["completion_ids"].unsqueeze(2))[..., 0]
        value, _ = trainer.objective.penalty(part, batch, passed.stats)
        held = value != 0
        checked.append(int(held.sum()))
        assert held.any() and (sampled[held] > 0).all()
        if settings.get("estimator") != "k3":
            kl = (torch.special.xlogy(q, q) - q * logp).sum(-1)
            torch.testing.assert_close(value[held], 3.0 * kl[held], rtol=1e-3, atol=1e-4)
        else:
            d = sampled.clamp(min=1e-30).log() - batch.logps.detach()
            expected = 3.0 * (d.exp() - d - 1).clamp(max=10)
            if "rule" not in options:
                torch.testing.assert_close(value[held], expected[held], rtol=1e-3, atol=1e-4)
        return reduced(inputs, passed)

    trainer._score, trainer._additive_terms = rollout, loss
    trainer.train()
    assert len(checked) == 2
    row = step_rows(trainer)[-1]
    assert row["lp_reg/candidates"] >= row["lp_reg/regularised"] > 0 and row["lp_reg/kl"] >= 0
