"""What another engine sampled with reaches the terms that read it, and is corrected for once, by them or by TRL."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import trl.trainer.grpo_trainer as trl_grpo
from contract.test_seams import gradient, recorded, stock_loss
from support import tiny

from entropostat.rl.batch import TokenBatch
from entropostat.rl.weights.icepop import IcePop
from entropostat.trainers import packages

LENGTH = 6
UNSCORED = 4
"""The engine gives this token no log-prob."""


class Engine:
    """Stands in for TRL's VLLMGeneration: the log-prob of a token is a function of the token, by which it is known again."""

    def __init__(self, **settings: Any) -> None:
        self.rng = torch.Generator().manual_seed(0)

    def sync_weights(self) -> None: ...

    def generate(self, prompts: list[list[int]], num_generations: int, **_: Any) -> Any:
        lengths = torch.randint(2, LENGTH + 1, (len(prompts),), generator=self.rng).tolist()
        rows = [torch.randint(3, 28, (n,), generator=self.rng).tolist() for n in lengths]
        return prompts, rows, [[[told(token)] for token in row] for row in rows], None


def told(token: int) -> float | None:
    return None if token == UNSCORED else -3.3 + token / 100


def expected(ids: torch.Tensor) -> torch.Tensor:
    return torch.where(ids == UNSCORED, torch.nan, -3.3 + ids / 100)


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(trl_grpo, "VLLMGeneration", Engine)
    monkeypatch.setattr(packages, "find_spec", lambda module: module)
    return {"use_vllm": True, "vllm_mode": "colocate", "vllm_importance_sampling_correction": False}


@pytest.fixture(scope="module")
def path() -> str:
    return tiny.saved()


def read_by_icepop(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[list[TokenBatch], list[dict[str, Any]]]:
    """What the weight has read in every micro-batch, and the generations before TRL shuffles and slices them."""
    seen: list[TokenBatch] = []
    outputs: list[dict[str, Any]] = []
    call, generate = IcePop.__call__, trainer._generate_and_score_completions
    monkeypatch.setattr(IcePop, "__call__", lambda self, batch: (seen.append(batch), call(self, batch))[1])
    trainer._generate_and_score_completions = lambda *a: outputs.append(generate(*a)) or outputs[-1]
    trainer.train()
    return seen, outputs


@pytest.mark.parametrize("slices", [1, 2], ids=["on-policy", "two updates"])
def test_what_vllm_sampled_with_reaches_a_term_row_by_row_through_the_shuffle(
    path: str, vllm: dict[str, Any], monkeypatch: pytest.MonkeyPatch, slices: int
) -> None:
    changes = {"steps_per_generation": slices, "max_completion_length": LENGTH, "max_steps": slices}
    trainer = tiny.ours(path, tiny.objective(weights=[{"icepop": {"low": 0.0, "high": None}}]), **vllm, **changes)
    batches: list[TokenBatch] = []
    note = trainer.monitors.note_generation
    trainer.monitors.note_generation = lambda output, batch, *rest: (batches.append(batch), note(output, batch, *rest))
    seen, (output,) = read_by_icepop(trainer, monkeypatch)
    rows = {int(uid): row for row, uid in enumerate(output["entropostat/uids"])}
    want = torch.where(output["completion_mask"].bool(), expected(output["completion_ids"]), 0.0)
    assert want.isnan().any()
    assert len(seen) == slices
    for batch in [*seen, *batches]:
        mine = want[[rows[int(uid)] for uid in batch.require("uids")]]
        torch.testing.assert_close(batch.require("sampler_logps"), mine, equal_nan=True)


@pytest.mark.parametrize("slices", [1, 2], ids=["on-policy", "two updates"])
def test_where_the_trainer_samples_itself_the_samplers_log_probs_are_the_old_policys(
    path: str, monkeypatch: pytest.MonkeyPatch, slices: int
) -> None:
    spec = tiny.objective(weights=[{"icepop": {"low": 1.0, "high": 1.0}}])
    trainer = tiny.ours(path, spec, steps_per_generation=slices, max_steps=slices)
    seen, _ = read_by_icepop(trainer, monkeypatch)
    for batch in seen:
        assert (batch.old_logps is None) == (slices == 1)
        assert torch.equal(batch.require("sampler_logps"), batch.reference_logps)
        assert not batch.require("sampler_logps").requires_grad


LOSSES = {"computed by TRL": {"trl": {"type": "dapo"}}, "ours": {"ppo_clip": {"type": "dapo"}}}


@pytest.mark.parametrize("penalties", [[], [{"kl_cov": {"coef": 0.5}}]], ids=["alone", "with a policy term"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["icepop", "truncated_is", "sequence_mask"])
def test_a_mask_of_ours_is_trls_correction_of_the_same_weights(
    path: str, kind: str, loss: str, penalties: list[Any]
) -> None:
    options = {"icepop": {"low": 0.7, "high": 1.5}, "truncated_is": {"low": 0.8, "cap": 1.2}}
    options["sequence_mask"] = {"window": "product", "low": 0.3, "high": 3.0, "carries": "sequence"}
    plain = tiny.ours(path, tiny.objective(loss=LOSSES[loss], penalties=penalties), max_steps=1)
    inputs = recorded(plain)
    if penalties:
        inputs["entropostat/kl_cov/selected"] = inputs["completion_mask"].bool()
    noise = 0.5 * torch.randn(inputs["completion_ids"].shape, generator=torch.Generator().manual_seed(3))
    inputs["sampling_per_token_logps"] = inputs["old_per_token_logps"] + noise
    d = -noise * inputs["completion_mask"]
    ratio = {"icepop": d.exp(), "truncated_is": d.exp(), "sequence_mask": d.sum(1, keepdim=True).exp()}[kind]
    if kind == "truncated_is":
        ratio = ratio.clamp(0.8, 1.2)
    else:
        low, high = options[kind]["low"], options[kind]["high"]
        ratio = torch.where((ratio < low) | (ratio > high), 0.0, ratio)
        assert 0 < (ratio == 0).sum() < ratio.numel()
    plain.use_vllm, plain.vllm_importance_sampling_correction = True, True
    _, want = gradient(plain, {**inputs, "importance_sampling_ratio": ratio})
    weights = [{kind: options[kind]}]
    masked = tiny.ours(path, tiny.objective(loss=LOSSES[loss], weights=weights, penalties=penalties), max_steps=1)
    recorded(masked)
    masked.model.load_state_dict(plain.model.state_dict())
    _, found = gradient(masked, inputs)
    assert want.norm() > 1e-3
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-6)


def test_the_off_policy_mask_is_trls(path: str) -> None:
    threshold = 0.1
    stock = tiny.ours(path, tiny.objective(loss={"trl": {"off_policy_mask_threshold": threshold}}), max_steps=1)
    inputs = recorded(stock)
    inputs["sampling_per_token_logps"] = inputs["old_per_token_logps"] + torch.tensor([[0.0], [9.0], [9.0], [-9.0]])
    _, want = gradient(stock, inputs, stock_loss(stock))
    ours = tiny.ours(path, tiny.objective(weights=[{"off_policy_mask": {"threshold": threshold}}]), max_steps=1)
    recorded(ours)
    ours.model.load_state_dict(stock.model.state_dict())
    _, found = gradient(ours, inputs)
    stock.off_policy_mask_threshold = None
    _, unmasked = gradient(stock, inputs, stock_loss(stock))
    assert (unmasked - want).norm() > 1e-3, "nothing was dropped"
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-7)


CORRECTORS: dict[str, dict[str, Any]] = {
    "icepop": {"weights": ["icepop"]},
    "truncated_is": {"weights": ["truncated_is"]},
    "sequence_mask": {"weights": ["sequence_mask"]},
    "ipo": {"loss": {"ipo": {}}},
    "dppo": {"loss": {"dppo": {}}},
}
BESIDE: dict[str, dict[str, Any]] = {
    "rejection": {"weights": ["rejection"]},
    "off_policy_mask": {"weights": ["off_policy_mask"]},
    "dppo": {"loss": {"dppo": {"behaviour": "old"}}},
}


@pytest.mark.parametrize("name", CORRECTORS)
def test_trls_own_correction_beside_ours_is_refused(path: str, vllm: dict[str, Any], name: str) -> None:
    spec = tiny.objective(**CORRECTORS[name])
    with pytest.raises(
        ValueError, match=f"vllm_importance_sampling_correction: true .* beside {name} .* Set it to false"
    ):
        tiny.ours(path, spec, **vllm | {"vllm_importance_sampling_correction": True})
    assert not tiny.ours(path, spec, **vllm).vllm_importance_sampling_correction


@pytest.mark.parametrize("name", BESIDE)
def test_what_only_drops_stands_beside_trls_correction(path: str, vllm: dict[str, Any], name: str) -> None:
    changes = {**vllm, "vllm_importance_sampling_correction": True, "max_completion_length": LENGTH}
    trainer = tiny.ours(path, tiny.objective(**BESIDE[name]), **changes)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert losses and all(math.isfinite(x) for x in losses)


def test_two_terms_that_carry_the_samplers_ratio_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="icepop and ipo both carry the ratio of trainer to sampler"):
        tiny.ours(path, tiny.objective(weights=["icepop"], loss={"ipo": {}}))


def test_an_engine_that_seeds_the_process_leaves_it_with_the_seed_of_the_run(
    path: str, vllm: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seeding(Engine):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            torch.manual_seed(0)

    monkeypatch.setattr(trl_grpo, "VLLMGeneration", Seeding)
    tiny.ours(path, **vllm, seed=17)
    assert torch.initial_seed() == 17
