"""Samplers of the recipe that only transformers' generate can apply: in TRL's generation, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny

from entropostat.recipe.sampler_block import Sampler
from entropostat.rl import sampling
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.rollout.processors import attach_processors, processors

TRUNCATIONS: dict[str, dict[str, Any]] = {
    "top_h": {"top_h": 0.1},
    "typical_p": {"typical_p": 0.05},
    "eta_cutoff": {"eta_cutoff": 0.5},
    "mirostat": {"mirostat": {"tau": 0.01, "eta": 0.1}},
}


def make(sampler: Sampler | None = None, **changes: Any) -> Any:
    return EntropyGRPOTrainer(
        model=tiny.model(),
        reward_funcs=tiny.digits,
        args=tiny.config(**changes),
        processing_class=tiny.tokenizer(),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(),
        sampler=sampler,
    )


def drawn(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of every token of TRL's generation: the scores of the plain policy at the temperature, and what was left of them."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    build = trainer.model._get_logits_processor

    def watch(**kwargs: Any) -> Any:
        made, temperature = build(**kwargs), kwargs["generation_config"].temperature

        def pair(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            left = made(ids, scores.clone())
            seen.append((scores / temperature, left))
            return left

        return pair

    monkeypatch.setattr(trainer.model, "_get_logits_processor", watch)
    return seen


@pytest.mark.parametrize("key", sorted(TRUNCATIONS))
def test_a_generation_drops_what_the_sampler_drops_at_its_temperature(key, monkeypatch):
    trainer = make(Sampler(**TRUNCATIONS[key]), temperature=0.7)
    pairs = drawn(trainer, monkeypatch)
    trainer._generate_and_score_completions([tiny.prompts()[0]] * trainer.num_generations)
    dropped = [int(left.isneginf().sum()) for _, left in pairs]
    assert sum(dropped) > 0
    for scores, left in pairs:
        kept = ~left.isneginf()
        torch.testing.assert_close(left[kept], scores[kept])
        if key == "top_h":
            assert torch.equal(kept, sampling.top_h(scores, 0.1))


def test_mirostat_follows_the_tokens_that_were_drawn(monkeypatch):
    trainer = make(Sampler(mirostat={"tau": 3.0, "eta": 0.5}))
    pairs = drawn(trainer, monkeypatch)
    output = trainer._generate_and_score_completions([tiny.prompts()[0]] * trainer.num_generations)
    mu = torch.full((trainer.num_generations,), 6.0, dtype=torch.float64)
    for step, (scores, left) in enumerate(pairs):
        bits = sampling.surprise(scores)
        kept = sampling.mirostat(bits, mu)
        assert torch.equal(kept, ~left.isneginf())
        mu = sampling.mirostat_step(mu, bits, kept, output["completion_ids"][:, step], 3.0, 0.5, True)
        mu = torch.where(output["completion_mask"][:, step].bool(), mu, torch.nan)
        if mu.isnan().any():
            break
    assert step >= 2  # by then mu has followed two tokens


def test_other_generations_of_the_policy_are_left_alone(monkeypatch):
    trainer = make(Sampler(top_h=0.1))
    pairs = drawn(trainer, monkeypatch)
    ids = torch.tensor([[5, 6, 7]])
    trainer.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, max_new_tokens=3)
    assert pairs and not any(left.isneginf().any() for _, left in pairs)


def test_without_such_a_key_nothing_is_attached():
    assert "generate" not in vars(make(Sampler(top_p=0.9)).model) and "generate" not in vars(make().model)
    assert processors(Sampler(), 1.0) == []


@pytest.mark.parametrize("key", sorted(TRUNCATIONS))
def test_what_cannot_apply_it_is_refused_by_name(key):
    with pytest.raises(ValueError, match=rf"sampler\.{key}: .*continuous"):
        make(Sampler(**TRUNCATIONS[key]), use_transformers_continuous_batching=True)


def test_a_rollout_function_samples_by_itself_and_is_refused():
    trainer = make()
    trainer.rollout_func = lambda *_: {}
    with pytest.raises(ValueError, match=r"sampler\.top_h: a rollout function samples by itself"):
        attach_processors(trainer, Sampler(top_h=0.4))
