"""Terms that hold entropy or a divergence at a target, in a live trainer: they get what they read, and they act."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny
from support.log_history import trained

TERMS: dict[str, dict[str, Any]] = {
    "ter": {"penalties": [{"ter": {"coef": 0.5, "target": 1.0}}]},
    "siren": {"penalties": [{"siren": {"anchor": 1.0, "coef": 0.5}}]},
    "steer": {"weights": [{"steer": {"omega": "full"}}]},
    "steer, on each micro-batch": {"weights": [{"steer": {"omega": "full", "scope": "micro"}}]},
    "dcpo": {"advantages": ["grpo", {"dcpo": {"target": 1.0}}]},
    "kl_reward": {"advantages": ["grpo", {"kl_reward": {"coef": 0.5}}]},
}


@pytest.mark.parametrize("updates", [1, 2], ids=["aligned", "two updates a generation"])
@pytest.mark.parametrize("name", TERMS)
def test_it_trains_and_changes_the_gradient(path: str, name: str, updates: int) -> None:
    changes = {"max_steps": 2 * updates, "steps_per_generation": updates}
    plain = trained(tiny.ours(path, **changes))
    trainer = tiny.ours(path, tiny.objective(**TERMS[name]), **changes)
    logged = trained(trainer)
    term = trainer.objective.parts[1 if "advantages" in TERMS[name] else -1].term
    first = updates if name == "kl_reward" else 0  # at first the policy is the reference
    part = name.split(",")[0]
    assert {f"{part}/{key}" for key in term.info.provides} <= set(logged[first])
    assert logged[first]["grad_norm"] != pytest.approx(plain[first]["grad_norm"], rel=1e-4)
    if name == "kl_reward":
        assert logged[0]["grad_norm"] == pytest.approx(plain[0]["grad_norm"], rel=1e-4)
        assert logged[0]["kl_reward/cost"] == pytest.approx(0, abs=1e-5)
        assert logged[first]["kl_reward/kl"] > 1e-5 and logged[first]["kl_reward/cost"] > 1e-4


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_virtual_ratio_is_that_of_dense_logits_at_the_products_of_both_temperatures(
    path: str, temperature: float
) -> None:
    spec = tiny.objective(advantages=["grpo", {"dcpo": {"sampling_temperature": temperature}}])
    trainer = tiny.ours(path, spec, max_steps=1, temperature=temperature)
    seen = []
    score = trainer._score

    def watch(output: dict[str, Any], batch: Any) -> None:
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
        attention = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)
        with torch.no_grad():
            logits = trainer.model(input_ids=ids, attention_mask=attention).logits
        logits = logits[:, -output["completion_ids"].size(1) - 1 : -1] / temperature
        own = output["completion_ids"].unsqueeze(-1)
        for t in (0.8, 1.2):
            virtual, real = ((logits / at).log_softmax(-1).gather(-1, own)[..., 0] for at in (t, 1.0))
            want = torch.where(batch.valid, (virtual - real).exp(), 1.0)
            ratio = trainer.objective.advantages[1].term._virtual_ratio(batch, t)
            torch.testing.assert_close(ratio, want, rtol=1e-4, atol=1e-5)
            seen.append(float((ratio - 1).abs().max()))
        score(output, batch)

    trainer._score = watch
    trainer.train()
    assert len(seen) == 2 and min(seen) > 0.01


def test_a_sampling_temperature_that_is_not_the_trainers_is_refused(path: str) -> None:
    spec = tiny.objective(advantages=["grpo", "dcpo"])
    with pytest.raises(ValueError, match=r"dcpo\.sampling_temperature 1 is not the trainer's temperature, 0\.7"):
        tiny.ours(path, spec, temperature=0.7)
