"""The reference policy moves as `kl_ref.reference` says, and not otherwise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from support import tiny
from support.log_history import step_rows
from torch import Tensor, nn
from transformers import TrainerCallback

from entropostat.metrics.trust import METRICS
from entropostat.rl.reduce import LOCAL
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.state.anchor import AnchorCallback, score


def make(path: str, lora: LoraConfig | None = None, steps: int = 6, term: Any = None, **changes: Any) -> Any:
    """A trainer with kl_ref; ``term`` holds its options."""
    torch.manual_seed(0)  # adapters start at random
    return EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=tiny.config(max_steps=steps, **changes),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(penalties=[{"kl_ref": {"coef": 0.05, **(term or {})}}]),
        peft_config=lora,
    )


class Trail(TrainerCallback):
    """Policy and reference after every step. Added last, so after the anchor."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.policy, self.reference = [], []
        self.record()
        trainer.add_callback(self)

    def record(self) -> None:
        pairs = self.trainer.anchor.pairs()
        self.policy.append([p.detach().clone() for _, p, _ in pairs])
        self.reference.append([r.detach().clone() for _, _, r in pairs])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.record()


def run(trainer: Any) -> tuple[Trail, list[dict[str, float]]]:
    seen = Trail(trainer)
    trainer.train()
    return seen, step_rows(trainer)


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def averaged(policies: list[list[Tensor]], start: list[Tensor], decay: float) -> list[Tensor]:
    """The recursion in float64."""
    mean = [x.double() for x in start]
    for weights in policies[1:]:
        mean = [decay * m + (1 - decay) * w.double() for m, w in zip(mean, weights, strict=True)]
    return mean


@pytest.mark.parametrize("lora", [None, tiny.LORA], ids=["model", "adapter"])
def test_an_average_is_the_recursion_over_all_steps(path: str, lora: LoraConfig | None) -> None:
    trainer = make(path, lora, term={"reference": "ema", "decay": 0.7})
    seen, rows = run(trainer)
    assert len(seen.reference) == 7
    assert same(seen.policy[0], seen.reference[0])
    assert not same(seen.policy[-1], seen.reference[-1])
    for reference, wanted in zip(seen.reference[-1], averaged(seen.policy, seen.policy[0], 0.7), strict=True):
        torch.testing.assert_close(reference.double(), wanted, rtol=1e-5, atol=1e-7)
    assert [row["anchor/initial_share"] for row in rows] == pytest.approx([0.7**n for n in range(1, 7)])


@pytest.mark.parametrize("lora", [None, tiny.LORA], ids=["model", "adapter"])
def test_the_initial_reference_stays(path: str, lora: LoraConfig | None) -> None:
    trainer = make(path, lora)
    before = [] if lora else [p.clone() for p in trainer.ref_model.parameters()]
    trainer.train()
    assert not trainer.anchor.moves
    assert lora or same(before, list(trainer.ref_model.parameters()))
    assert not any(key.startswith("anchor/") for row in trainer.state.log_history for key in row)


@pytest.mark.parametrize("lora", [None, tiny.LORA], ids=["model", "adapter"])
def test_the_kl_is_to_the_moved_reference(path: str, lora: LoraConfig | None) -> None:
    """Not 0, as to a copy whose patched forward is the policy's own; and less than to the initial policy.

    With a coefficient of 0 the three runs are the same run but for the reference.
    """
    kls, ends = {}, {}
    for name, term in {"initial": {}, "ema": {"decay": 0.9}, "close": {"decay": 0.01}}.items():
        kind = name if name == "initial" else "ema"
        trainer = make(path, lora, term={"coef": 0.0, "reference": kind, **term})
        trainer.train()
        kls[name] = [row["kl"] for row in step_rows(trainer)]
        ends[name] = [p.detach() for p in trainer.model.parameters() if p.requires_grad]
    assert kls["initial"][0] == pytest.approx(0.0, abs=1e-9)
    assert kls["ema"][:2] == pytest.approx(kls["initial"][:2], rel=1e-5, abs=1e-9)  # one generation, scored before
    assert all(kl > 1e-6 for kl in kls["ema"][2:])
    assert all(
        near < kl < far for near, kl, far in zip(kls["close"][2:], kls["ema"][2:], kls["initial"][2:], strict=True)
    )
    assert same(ends["ema"], ends["initial"]) and same(ends["close"], ends["initial"])


def test_the_reference_has_a_forward_of_its_own(path: str) -> None:
    trainer = make(path, term={"reference": "ema"})
    ids = torch.arange(3, 15).view(1, 12)
    score_by = lambda model: trainer._get_per_token_logps_and_entropies(model, ids, torch.ones_like(ids), 6)[0]
    torch.testing.assert_close(score_by(trainer.ref_model), score_by(trainer.model))
    with torch.no_grad():
        trainer.ref_model.lm_head.weight.mul_(2)
    assert (score_by(trainer.ref_model) - score_by(trainer.model)).abs().max() > 1e-3


@pytest.mark.parametrize("lora", [None, tiny.LORA], ids=["model", "adapter"])
def test_a_reset_sets_the_reference_to_the_policy_every_so_many_steps(path: str, lora: LoraConfig | None) -> None:
    trainer = make(path, lora, term={"reference": "reset", "every": 2})
    seen, rows = run(trainer)
    for step in range(1, 7):
        assert same(seen.reference[step], seen.policy[step // 2 * 2])
    assert [row["anchor/resets"] for row in rows] == [0, 1, 1, 2, 2, 3]
    # Two updates a generation: each generation is scored right after a reset.
    assert [row["kl"] for row in rows[::2]] == pytest.approx([0, 0, 0], abs=1e-9)
    assert all(row["kl"] > 1e-7 for row in rows[1::2])


@pytest.mark.parametrize("lora", [None, tiny.LORA], ids=["model", "adapter"])
def test_only_the_policy_trains(path: str, lora: LoraConfig | None) -> None:
    trainer = make(path, lora, steps=2, term={"reference": "reset", "every": 100})
    seen, _ = run(trainer)
    assert same(seen.reference[0], seen.reference[-1])
    trained = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
    for _, policy, reference in trainer.anchor.pairs():
        assert id(policy) in trained and id(reference) not in trained


@pytest.mark.parametrize("term", [{"reference": "ema", "decay": 0.5}, {"reference": "reset", "every": 1}])
def test_a_step_that_was_skipped_moves_nothing(path: str, term: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(path, steps=3, term=term)
    skipped = property(lambda self: trainer.state.global_step == 2)
    monkeypatch.setattr(type(trainer.accelerator), "optimizer_step_was_skipped", skipped)
    seen, _ = run(trainer)
    moved = [not same(seen.reference[step], seen.reference[step - 1]) for step in (1, 2, 3)]
    assert moved == [True, False, True]
    assert trainer.anchor.initial_share == (0.25 if term["reference"] == "ema" else 1.0)


def test_patience_resets_after_evaluations_without_a_new_best(path: str) -> None:
    trainer = make(path, term={"reference": "reset", "patience": 2})
    with torch.no_grad():
        trainer.model.lm_head.weight.mul_(2)
    resets = []
    for mean in (0.5, 0.4, 0.6, 0.6, 0.2, 0.6, 0.1, 0.7, math.nan, 0.7):
        logs = {"evaluate/easy/pass@1": mean + 0.1, "evaluate/hard/pass@1": mean - 0.1, "evaluate/hard/greedy": 9.0}
        trainer.log(logs)
        trainer.log({"loss": 1.0})
        resets.append(trainer.anchor.resets)
    assert resets == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert trainer.anchor.best == pytest.approx(0.7) and trainer.anchor.stale == 1
    assert all(torch.equal(policy, reference) for _, policy, reference in trainer.anchor.pairs())


def test_patience_reads_the_evaluation_of_the_recipe_or_that_of_trl() -> None:
    assert score({"evaluate/a/pass@1": 0.2, "evaluate/b/pass@1": 0.4, "eval_reward": 9.0}) == pytest.approx(0.3)
    assert score({"eval_reward": 9.0, "reward": 1.0}) == 9.0
    assert score({"loss": 1.0, "reward": 1.0}) is None
    assert score({"eval_reward": math.nan}) is None


def test_an_evaluation_of_trl_counts(path: str) -> None:
    trainer = EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=tiny.config(max_steps=2, per_device_eval_batch_size=4),
        train_dataset=tiny.prompts(),
        eval_dataset=tiny.prompts(4),
        objective=tiny.objective(penalties=[{"kl_ref": {"reference": "reset", "patience": 1}}]),
    )
    trainer.evaluate()
    assert trainer.anchor.best is not None and math.isfinite(trainer.anchor.best)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_an_average_below_float32_loses_no_small_steps(path: str, dtype: torch.dtype) -> None:
    """In bfloat16 itself a step of 0.001 of the way is rounded to nothing: the reference would stay where it is."""
    model = tiny.model(dtype=dtype)
    model.config._name_or_path = path
    model_or_path: Any = model
    trainer = tiny.ours(model_or_path, tiny.objective(penalties=[{"kl_ref": {"reference": "ema"}}]))
    policy, reference = trainer.model.lm_head.weight, trainer.ref_model.lm_head.weight
    assert reference.dtype == dtype
    with torch.no_grad():
        policy.fill_(1.1)
        reference.fill_(1.0)
    for _ in range(1000):
        trainer.anchor.average(0.999)
    # The policy's own 1.1 is 1.1016 in bfloat16; then two roundings of 2^-9.
    wanted = policy.float().mean().item() * (1 - 0.999**1000) + 0.999**1000
    torch.testing.assert_close(reference.float(), torch.full_like(reference.float(), wanted), rtol=4e-3, atol=0.0)


def test_the_average_crosses_a_switch_of_the_prompts(path: str) -> None:
    """One trainer, two stages of data: nothing starts again at the edge, and the initial policy fades through it."""
    easy, hard = ["1+1="] * 4, ["2*3+4="] * 8
    trainer = EntropyGRPOTrainer(
        model=path,
        reward_funcs=tiny.digits,
        args=tiny.config(max_steps=8, num_generations=4, shuffle_dataset=False, learning_rate=1e-3),
        train_dataset=Dataset.from_dict({"prompt": easy + hard}),
        objective=tiny.objective(penalties=[{"kl_ref": {"reference": "ema", "decay": 0.9}}]),
    )
    prompts = []
    score_ = trainer._score
    trainer._score = lambda output, batch: prompts.append(int(output["prompt_mask"].sum(1)[0])) or score_(output, batch)
    seen, rows = run(trainer)
    assert prompts == [4, 4, 6, 6]
    for reference, wanted in zip(seen.reference[-1], averaged(seen.policy, seen.policy[0], 0.9), strict=True):
        torch.testing.assert_close(reference.double(), wanted, rtol=1e-5, atol=1e-7)
    assert rows[-1]["anchor/initial_share"] == pytest.approx(0.9**8)


def test_only_declared_metrics_are_logged(path: str) -> None:
    logged: set[str] = set()
    for term in ({"reference": "ema"}, {"reference": "reset", "every": 1}):
        trainer = make(path, steps=1, term=term)
        _, rows = run(trainer)
        logged |= {key for row in rows for key in row if key.startswith("anchor/")}
    assert logged == {m.key for m in METRICS if m.key.startswith("anchor/")}


def test_the_adapter_of_the_reference_is_a_copy_made_once(path: str) -> None:
    trainer = make(path, tiny.LORA, term={"reference": "ema"})
    model = trainer.model
    # A new adapter drawn under the trainer's seed happens to equal the policy's own, so the copy is made again.
    model.delete_adapter("ref")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(parameter.requires_grad)
    for _ in range(2):
        AnchorCallback(trainer, trainer.anchor.term, LOCAL, trainer.distribution)
        assert set(model.peft_config) == {"default", "ref"} and model.active_adapter == "default"
        assert all(isinstance(r, nn.Parameter) and not r.requires_grad for _, _, r in trainer.anchor.pairs())
        assert all(torch.equal(p, r) for _, p, r in trainer.anchor.pairs())
        with torch.no_grad():
            for _, policy, reference in trainer.anchor.pairs():
                policy.add_(1)
                reference.add_(1)
