"""A temperature and a learning rate that controllers move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.log_history import step_rows, trained
from transformers import TrainerCallback


def steps(*points: tuple[int, float]) -> dict[str, Any]:
    return {"schedule": {"points": [list(p) for p in points], "shape": "hold"}}


def scalars(**terms: Any) -> dict[str, Any]:
    fields = {"temperature": "value", "learning_rate": "scale"}
    return tiny.objective() | {"scalars": [(kind, kind, {fields[kind]: value}) for kind, value in terms.items()]}


def test_a_temperature_of_one_changes_nothing(path: str) -> None:
    plain = trained(tiny.ours(path, max_steps=4))
    ours = trained(tiny.ours(path, scalars(temperature=1.0), max_steps=4))
    assert [row["loss"] for row in plain] == [row["loss"] for row in ours]


def test_scoring_is_at_the_temperature_of_sampling_and_so_is_the_reference(path: str) -> None:
    spec = scalars(temperature=0.5) | {"penalties": [("kl_ref", "kl_ref", {"coef": 0.1})]}
    trainer = tiny.ours(path, spec, learning_rate=1e-6)
    seen, compute = [], trainer._compute_loss

    def watch(model: Any, inputs: dict[str, Any], *args: Any) -> torch.Tensor:
        seen.append(inputs)
        return compute(model, inputs)

    trainer._compute_loss = watch
    rows = trained(trainer)
    ids = torch.cat([seen[0]["prompt_ids"], seen[0]["completion_ids"]], 1)
    mask = torch.cat([seen[0]["prompt_mask"], seen[0]["completion_mask"]], 1)
    width = seen[0]["completion_ids"].size(1)
    with torch.no_grad():
        cold = trainer.model(input_ids=ids, attention_mask=mask).logits[:, -width - 1 : -1].float() / 0.5
    expected = cold.log_softmax(-1).gather(-1, ids[:, -width:, None])[..., 0]
    valid = seen[0]["completion_mask"].bool()
    for key in ("old_per_token_logps", "ref_per_token_logps"):
        torch.testing.assert_close(seen[0][key][valid], expected[valid], rtol=1e-3, atol=1e-4)
    assert all(abs(row["kl"]) < 1e-6 for row in rows)
    entropy = -(cold.log_softmax(-1).exp() * cold.log_softmax(-1)).sum(-1)[valid].mean()
    assert rows[0]["entropy"] == pytest.approx(float(entropy), rel=1e-3)


def test_a_generation_keeps_its_temperature_until_it_is_spent(path: str) -> None:
    spec = scalars(temperature=steps((0, 1.0), (1, 0.25), (3, 4.0)))
    trainer = tiny.ours(path, spec, max_steps=4)
    used, generate = [], trainer._generate_single_turn

    def watch(*args: Any, **kwargs: Any) -> Any:
        used.append(trainer.generation_config.temperature)
        return generate(*args, **kwargs)

    trainer._generate_single_turn = watch
    held = []

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            held.append(trainer.scalars.temperature)

    trainer.add_callback(Watch())
    trainer.train()
    assert used == [1.0, 0.25]
    assert held == [1.0, 1.0, 0.25, 0.25]
    assert trainer.generation_config.temperature == 1.0


def test_the_rate_is_the_schedules_times_the_factor(path: str) -> None:
    spec = scalars(learning_rate=steps((0, 0.5), (2, 3.0)))
    changes = {"max_steps": 4, "lr_scheduler_type": "linear", "learning_rate": 1e-2}
    trainer = tiny.ours(path, spec, **changes)
    used = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            used.append(trainer.optimizer.param_groups[0]["lr"])

    trainer.add_callback(Watch())
    rows = trained(trainer)
    plain = trained(tiny.ours(path, **changes))
    assert [row["learning_rate"] for row in rows] == [row["learning_rate"] for row in plain]
    assert used == pytest.approx([0.5e-2, 0.5 * 0.75e-2, 3 * 0.5e-2, 3 * 0.25e-2])


def test_a_resumed_run_goes_on_at_the_temperature_of_its_generation_and_the_rate_of_its_step(
    path: str, tmp_path: Path
) -> None:
    """The checkpoint lies within a generation: the knob has moved, and the completions that are left are older."""
    spec = scalars(temperature=steps((0, 0.5), (1, 0.25)), learning_rate=steps((0, 0.5), (1, 3.0), (3, 0.1)))
    changes = {"output_dir": str(tmp_path), "save_strategy": "steps", "save_steps": 1, "shuffle_dataset": False}
    whole, again = (tiny.ours(path, spec, max_steps=4, **changes) for _ in range(2))
    rows = trained(whole)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    keys = ("step", "loss", "grad_norm", "entropy")
    resumed = step_rows(again)
    assert [[row[key] for key in keys] for row in resumed] == [[row[key] for key in keys] for row in rows]
    assert again.scalars.temperature == whole.scalars.temperature == 0.25
    assert again.thermostat.held == whole.thermostat.held and again.generations == whole.generations == 2
    for one, other in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_row_has_the_value_that_the_step_has_moved_the_knob_to(path: str) -> None:
    rows = trained(tiny.ours(path, scalars(learning_rate=steps((0, 0.5), (1, 3.0), (3, 0.1))), max_steps=3))
    assert [row["control/scalars.learning_rate.scale/output"] for row in rows] == [3.0, 3.0, 0.1]


def test_a_rate_of_zero_moves_nothing(path: str) -> None:
    trainer = tiny.ours(path, scalars(learning_rate=0.0))
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    assert all(torch.equal(before[name], p) for name, p in trainer.model.named_parameters())


def test_terms_with_temperatures_of_their_own_are_refused(path: str) -> None:
    spec = scalars(temperature=0.9) | {"advantages": [("grpo", "grpo", {}), ("dcpo", "dcpo", {})]}
    with pytest.raises(ValueError, match=r"objective\.scalars\.temperature: dcpo compares temperatures"):
        tiny.ours(path, spec)


def test_a_loop_that_cannot_hold_its_target_says_why_once_in_the_log(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    unreachable = {"pid": {"signal": "entropy", "target": 9.0, "effect": "raises", "kp": 1.0, "low": 0.0, "high": 1e-6}}
    trainer = tiny.ours(path, tiny.objective(penalties=[{"entropy_bonus": {"coef": unreachable}}]), max_steps=54)
    trainer.train()
    told = [line for line in caplog.messages if "penalties.entropy_bonus.coef" in line]
    assert len(told) == 1 and told[0].startswith("step 50, ") and "does not reach the target" in told[0]
