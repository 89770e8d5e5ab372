"""The safe step radius in a training run: what it measures, what it shortens, and that it costs nothing when off."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import tiny
from support.log_history import logged
from transformers import TrainerCallback

from entropostat.recipe.blocks import Optimizer, StepRadius
from entropostat.rl.reduce import LOCAL
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.optim.step_radius import ROUNDS, SLACK, StepGovernor


class Watch(TrainerCallback):
    """Trainable weights before the step, after the optimizer and after the governor; learning rates on the way."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.steps, self.rates, self.left = trainer, [], [], []
        step = trainer.optimizer.step

        def watched(*args: Any, **kwargs: Any) -> Any:
            self.rates.append(trainer.optimizer.param_groups[0]["lr"])
            before = self.weights()
            result = step(*args, **kwargs)
            self.steps.append([before, self.weights()])
            return result

        trainer.optimizer.step = watched

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten().clone() for p in self.trainer.model.parameters()])

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Behind the governor, before the scheduler."""
        self.left.append(self.trainer.optimizer.param_groups[0]["lr"])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.steps[-1].append(self.weights())


def trainer(path: str, settings: StepRadius | None = None, spec: Any = None, rate: float = 0.1, **changes: Any) -> Any:
    """Plain SGD without a limit on the gradient: the step is proportional to it."""
    made = EntropyGRPOTrainer(
        model=path,
        reward_funcs=changes.pop("reward", tiny.digits),
        args=tiny.config(learning_rate=rate, max_grad_norm=0.0, **changes),
        train_dataset=tiny.prompts(),
        objective=spec or tiny.objective(),
        optimizer=Optimizer(step_radius=settings),
    )
    made.optimizer = torch.optim.SGD(made.model.parameters(), lr=rate)
    return made


def watched(made: Any) -> Watch:
    watch = Watch(made)
    made.add_callback(watch)
    made.train()
    return watch


def test_a_step_inside_the_radius_is_left_alone_to_the_last_bit(path):
    without, with_it = watched(trainer(path, max_steps=4)), trainer(path, StepRadius(target=1e3), max_steps=4)
    governed = watched(with_it)
    assert all(torch.equal(a[2], b[2]) for a, b in zip(without.steps, governed.steps, strict=True))
    assert all(0 < r < 1 for r in logged(with_it, "radius/r")) and len(logged(with_it, "radius/r")) == 4
    assert logged(with_it, "radius/scale") == [1.0] * 4


def test_a_step_outside_is_shortened_on_its_line_by_the_logged_scale(path):
    made = trainer(path, StepRadius(target=0.01), rate=10.0, max_steps=3)
    for (before, wanted, kept), scale in zip(watched(made).steps, logged(made, "radius/scale"), strict=True):
        assert 0 < scale < 0.5
        torch.testing.assert_close(kept, before + scale * (wanted - before), rtol=1e-4, atol=1e-7)


def test_ratio_is_that_of_the_dense_logits_of_the_tokens_in_the_loss(path):
    """Logged before and kept after: both by a computation of their own."""
    settings = StepRadius(target=0.05, quantile=0.9)
    made = trainer(path, settings, rate=3.0, max_steps=1, temperature=0.8)
    seen: dict[str, Any] = {}
    watch = made.radius.watch

    def keep(inputs: dict[str, Any], penalised: bool) -> None:
        inputs["completion_mask"] = inputs["completion_mask"].clone()
        inputs["completion_mask"][0, :3] = 0
        inputs["advantages"] = torch.tensor([1.0, 0.0, -1.0, 2.0])
        seen.update(inputs)
        watch(inputs, penalised)

    made.radius.watch = keep
    watch_steps = watched(made)
    before, wanted, kept = watch_steps.steps[0]
    mask = seen["completion_mask"].bool() & (seen["advantages"] != 0).unsqueeze(1)
    old = dense(made.model, before, seen)
    ratios = []
    for weights in (wanted, kept):
        change = (dense(made.model, weights, seen) - old)[mask] / 0.8
        spread = change.amax(-1) - change.amin(-1)
        ratios.append(float(torch.quantile(spread, 0.9)) / math.pi)
    # Differences of float32 logits of the size of 1.
    assert logged(made, "radius/r")[0] == pytest.approx(ratios[0], rel=1e-4)
    assert ratios[0] > 2 * settings.target and 0.8 < ratios[1] / settings.target <= SLACK * (1 + 1e-3)


def dense(model: Any, weights: torch.Tensor, inputs: dict[str, Any]) -> torch.Tensor:
    torch.nn.utils.vector_to_parameters(weights, model.parameters())
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=attention).logits[:, :-1][:, -inputs["completion_ids"].size(1) :]


def governor() -> StepGovernor:
    model = tiny.model()
    stub = SimpleNamespace(model=model, temperature=1.0, is_fsdp_enabled=False, is_deepspeed_enabled=False)
    return StepGovernor(stub, StepRadius(), LOCAL)


def test_only_tokens_that_enter_the_loss_count():
    inputs = {
        "completion_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]),
        "tool_mask": torch.tensor([[1, 0, 1], [1, 1, 1]]),
        "advantages": torch.tensor([0.5, 0.0]),
    }
    assert governor().counted(inputs, penalised=False).tolist() == [[True, False, False], [False] * 3]
    assert governor().counted(inputs, penalised=True).tolist() == [[True, False, False], [True] * 3]
    tokenwise = inputs | {"advantages": torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, -1.0]])}
    assert governor().counted(tokenwise, penalised=False).tolist() == [[False] * 3, [False, False, True]]


def test_where_no_token_has_an_advantage_momentum_is_still_measured():
    inputs = {"completion_mask": torch.tensor([[1, 0]]), "advantages": torch.zeros(1)}
    assert governor().counted(inputs, penalised=False).tolist() == [[True, False]]


def test_off_it_costs_no_forward_and_on_two_a_step(path):
    counts = {}
    for name, settings in (("off", None), ("on", StepRadius(target=1e3)), ("rare", StepRadius(target=1e3, every=2))):
        made, calls = trainer(path, settings, max_steps=4, gradient_accumulation_steps=2), []
        made.model.base_model.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        made.train()
        counts[name] = len(calls)
    assert counts["on"] - counts["off"] == 2 * 4
    assert counts["rare"] - counts["off"] == 2 * 2


def test_between_two_measurements_the_last_one_scales_the_learning_rate(path):
    made = trainer(path, StepRadius(target=0.01, every=2), rate=1.0, max_steps=4, gradient_accumulation_steps=2)
    governed = watched(made)
    scales = logged(made, "radius/scale")
    assert len(logged(made, "radius/r")) == 2
    assert governed.rates[0] == governed.rates[2] == 1.0
    assert governed.rates[1] == scales[1] < 1 and governed.rates[3] == scales[3] < 1
    assert governed.left == [1.0] * 4
    for _, wanted, kept in governed.steps[1::2]:
        assert torch.equal(wanted, kept)


def test_where_the_engine_steps_by_itself_the_next_learning_rate_is_scaled(path):
    """The way of DeepSpeed, in one process: the head of before must not be the one that the step has changed."""
    made = trainer(path, StepRadius(target=0.05, statistic="max"), rate=1.0, max_steps=3)
    made.radius.shortens = False
    seen: list[dict[str, Any]] = []
    watch = made.radius.watch
    made.radius.watch = lambda inputs, penalised: (seen.append(inputs), watch(inputs, penalised))
    governed = watched(made)
    scales = logged(made, "radius/scale")
    assert governed.rates == scales and scales[0] == 1.0 and max(scales[1:]) < 1
    for i, (before, wanted, kept) in enumerate(governed.steps):
        assert torch.equal(wanted, kept)
        change = dense(made.model, kept, seen[i]) - dense(made.model, before, seen[i])
        spread = (change.amax(-1) - change.amin(-1))[made.radius.counted(seen[i], penalised=False)]
        assert logged(made, "radius/r")[i] * scales[i] == pytest.approx(float(spread.max()) / math.pi, rel=1e-4)
    for r, scale in zip(logged(made, "radius/r"), scales[1:], strict=False):
        assert scale == pytest.approx(min(1.0, 0.05 / r), rel=1e-6)


def test_a_resumed_run_knows_what_was_measured(path, tmp_path):
    changes = {"max_steps": 4, "save_strategy": "steps", "save_steps": 1, "shuffle_dataset": False, "rate": 1.0}
    settings = StepRadius(target=0.01, every=2)
    whole = trainer(path, settings, output_dir=str(tmp_path), **changes)
    whole.train()
    again = trainer(path, settings, output_dir=str(tmp_path), **changes)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert logged(again, "radius/scale") == logged(whole, "radius/scale")


def test_a_step_to_no_numbers_is_not_made(path):
    made = trainer(path, StepRadius(), max_steps=1)
    step = made.optimizer.step

    def broken(*args: Any, **kwargs: Any) -> None:
        step(*args, **kwargs)
        with torch.no_grad():
            next(made.model.parameters()).fill_(math.nan)

    made.optimizer.step = broken
    before, wanted, kept = watched(made).steps[0]
    assert wanted.isnan().any() and torch.equal(before, kept)
    assert logged(made, "radius/scale") == [0.0]


def test_the_number_of_measurements_is_bounded(path, monkeypatch):
    made = trainer(path, StepRadius(target=0.01), max_steps=1)
    asked: list[float] = []
    monkeypatch.setattr(made.radius, "_ratio", lambda: asked.append(1.0) or 1.0)
    made.train()
    assert len(asked) == ROUNDS
    assert logged(made, "radius/scale") == [pytest.approx(0.01**ROUNDS)]


def test_fsdp_is_refused():
    with pytest.raises(ValueError, match=r"optimizer\.step_radius: FSDP is not supported"):
        StepGovernor(SimpleNamespace(is_fsdp_enabled=True), StepRadius(), LOCAL)


class Spike(TrainerCallback):
    """A learning rate a hundred times too high, for three steps."""

    def __init__(self, made: Any) -> None:
        self.made = made

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for group in self.made.optimizer.param_groups:
            group["lr"] = args.learning_rate * (100 if 5 <= state.global_step < 8 else 1)


def variety(completions: list[str], **_: Any) -> list[float]:
    """A policy that says one thing only gets little."""
    return [len({c for c in text if c.isdigit()}) / 8 for text in completions]


@pytest.mark.parametrize("seed", [1, 2])
def test_training_survives_a_spike_of_the_learning_rate_that_breaks_it_otherwise(path, seed):
    ends = {}
    for name, settings in (("plain", None), ("governed", StepRadius())):
        made = EntropyGRPOTrainer(
            model=path,
            reward_funcs=variety,
            args=tiny.config(
                seed=seed, max_steps=32, learning_rate=5e-3, per_device_train_batch_size=16, num_generations=8
            ),
            train_dataset=tiny.prompts(),
            objective=tiny.objective(),
            optimizer=Optimizer(step_radius=settings),
        )
        made.add_callback(Spike(made))
        made.train()
        rewards = logged(made, "reward")
        ends[name] = sum(rewards[-4:]) / 4
    assert rewards[0] < 0.4 and min(logged(made, "radius/scale")) < 0.3
    assert ends["governed"] > 0.55
    assert ends["plain"] < 0.45
