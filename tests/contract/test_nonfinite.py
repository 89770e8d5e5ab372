"""A step that is not finite: nothing moves, it is counted, dumped and named, and the run goes on, or stops and says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import tiny
from support.log_history import step_rows
from torch import Tensor
from transformers import TrainerCallback

from entropostat.faults import RunFault
from entropostat.recipe.blocks import Critic, Faults
from entropostat.rl.advantages.grpo import GRPO
from entropostat.rl.penalties.entropy_bonus import EntropyBonus
from entropostat.rl.penalties.kl_ref import KLRef

STEP = {"step": {"target": 0.1, "delta": 0.01}}
SPEC = tiny.objective(penalties=[{"kl_ref": {"coef": 0.1}}, {"entropy_bonus": {"coef": STEP}}])


class Watch(TrainerCallback):
    """What a step may move, before and after it."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.moved, self.before = trainer, [], []

    def look(self) -> list[Any]:
        trainer = self.trainer
        tensors = [*trainer.model.parameters()]
        tensors += [r for _, _, r in trainer.anchor.pairs()] if trainer.anchor.moves else []
        tensors += [v for s in trainer.optimizer.state.values() for v in s.values() if isinstance(v, Tensor)]
        return [trainer.thermostat.state, trainer.lr_scheduler.get_last_lr(), *(t.detach().clone() for t in tensors)]

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.before = self.look()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        after = self.look()
        pairs = zip(self.before, after, strict=False)
        same = [torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs]
        new = len(after) - len(self.before)  # the optimizer's state comes with the first step
        self.moved.append([*(not s for s in same), *[True] * new])


def call(number: int, change: Callable[[Any], Any], method: Callable[..., Any]) -> Callable[..., Any]:
    """``method``, with ``change`` applied to what its call of that number (from 1) returns."""
    calls = []

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        result = method(*args, **kwargs)
        return change(result) if len(calls) == number else result

    return wrapped


def nan(result: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
    return result[0] * torch.nan, result[1]


def infinite_constant(result: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
    """The loss is infinite, its gradient is not."""
    return result[0] + torch.inf, result[1]


def one_token(result: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
    spoilt = result[0].clone()
    spoilt[2, 0] = -torch.inf
    return spoilt, result[1]


def in_the_gradient(trainer: Any, patch: pytest.MonkeyPatch) -> None:
    parameter = next(trainer.model.parameters())
    parameter.register_hook(call(4, lambda gradient: gradient * torch.nan, lambda gradient: gradient))


def in_a_term(kind: type, number: int, change: Callable[[Any], Any]) -> Callable[[Any, pytest.MonkeyPatch], None]:
    return lambda trainer, patch: patch.setattr(kind, "__call__", call(number, change, kind.__call__))


def in_the_policy(trainer: Any, patch: pytest.MonkeyPatch) -> None:
    """In the hidden states of the fourth forward pass that has a gradient."""
    passes = []

    def spoil(module: Any, inputs: Any, output: Any) -> Any:
        passes.append(torch.is_grad_enabled())
        if passes[-1] and sum(passes) == 4:
            output.last_hidden_state = output.last_hidden_state * torch.nan
        return output

    trainer.model.base_model.register_forward_hook(spoil)


CASES: dict[str, tuple[Callable[[Any, pytest.MonkeyPatch], None], str, int, int]] = {
    "one penalty": (in_a_term(KLRef, 3, nan), "penalties.kl_ref", 2, 0),
    "another, in the last micro-batch of a window": (in_a_term(EntropyBonus, 4, nan), "penalties.entropy_bonus", 2, 1),
    "one token": (in_a_term(KLRef, 4, one_token), "penalties.kl_ref", 2, 1),
    "a constant of the loss": (in_a_term(EntropyBonus, 3, infinite_constant), "penalties.entropy_bonus", 2, 0),
    "the policy": (in_the_policy, "logps", 2, 1),
    "the gradient alone": (in_the_gradient, "gradient", 2, 0),
    "the advantages": (in_a_term(GRPO, 2, nan), "advantages", 3, 0),
}  # fmt: skip
"""How, the part that is named, the (first) step, the micro-batch."""


@pytest.mark.parametrize("case", CASES)
def test_nothing_moves_and_the_run_goes_on(path: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, term, step, micro = CASES[case]
    changes = {"max_steps": 5, "gradient_accumulation_steps": 2, "steps_per_generation": 4, "weight_decay": 0.1}
    trainer = tiny.ours(path, SPEC, **changes, lr_scheduler_type="linear")
    watch = Watch(trainer)
    trainer.add_callback(watch)
    spoil(trainer, monkeypatch)
    trainer.train()

    skipped = [step, step + 1] if case == "the advantages" else [step]  # a generation serves two steps
    assert [number for number, moved in enumerate(watch.moved, 1) if not any(moved)] == skipped
    for number, moved in enumerate(watch.moved, 1):
        assert number in skipped or sum(moved) > len(moved) / 2
    rows = step_rows(trainer)
    assert [row["health/nonfinite"] for row in rows] == [sum(s <= n for s in skipped) for n in range(1, 6)]
    assert trainer.accelerator.optimizer_step_was_skipped is False
    assert all(bool(p.isfinite().all()) for p in trainer.model.parameters())

    files = sorted((Path(trainer.args.output_dir) / "nonfinite").iterdir())
    assert [file.name for file in files][:2] == [f"step-{step:06d}-rank0{end}" for end in (".json", ".safetensors")]
    facts, tensors = json.loads(files[0].read_text()), load_file(files[1])
    assert (facts["term"], facts["step"], facts["rank"]) == (term, step, 0)
    assert facts["micro_batch"] == micro or term == "gradient"
    faulty = {name for name, about in facts["tensors"].items() if about["not_finite"]}
    assert faulty >= {f"0/{term}"} if term != "gradient" else not faulty
    assert tensors["0/completion_ids"].shape == tensors["0/logps"].shape == tensors["0/completion_mask"].shape
    assert {name.partition("/")[0] for name in tensors} == ({"0", "1"} if term == "gradient" else {"0"})


def test_a_critic_is_told_from_its_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    from entropostat.trainers import critic

    trainer = tiny.ppo(tiny.model(), Critic(), max_steps=3)
    watch = Watch(trainer)
    trainer.add_callback(watch)
    monkeypatch.setattr(critic, "value_loss", call(2, lambda losses: losses * torch.nan, critic.value_loss))
    trainer.train()
    assert [any(moved) for moved in watch.moved] == [True, False, True]
    facts = json.loads(next(Path(trainer.args.output_dir).glob("nonfinite/*.json")).read_text())
    assert facts["term"] == "critic.loss"


def test_the_declared_number_stops_the_run_and_is_counted_over_a_restart(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kl = KLRef.__call__
    monkeypatch.setattr(KLRef, "__call__", lambda *args: nan(kl(*args)))
    make = lambda **changes: tiny.ours(
        path, SPEC, output_dir=str(tmp_path), save_strategy="steps", save_steps=2, **changes
    )
    first = make(max_steps=2)
    first.guard.settings = Faults(max_nonfinite=None)
    first.train()
    assert first.guard.count == 2

    second = make(max_steps=20)
    second.guard.settings = Faults(max_nonfinite=5)
    with pytest.raises(RunFault) as stopped:
        second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    text = str(stopped.value)
    assert text.startswith("step 5: penalties.kl_ref is not finite (micro-batch 1, rank 0); its inputs: ")
    assert text.endswith("5 steps were not finite, and faults.max_nonfinite is 5")
    assert "\n" not in text
    dump = tmp_path / "nonfinite" / "step-000005-rank0.safetensors"
    assert str(dump) in text and dump.is_file()
    assert [row["health/nonfinite"] for row in step_rows(second)][-1] == 5
    assert sorted(file.stem for file in dump.parent.glob("*.json")) == [f"step-00000{n}-rank0" for n in (1, 2, 5)]
    assert (tmp_path / "checkpoint-4").is_dir()


def test_the_last_step_of_a_run_stops_it_too(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KLRef, "__call__", call(2, nan, KLRef.__call__))
    trainer = tiny.ours(path, SPEC)
    trainer.guard.settings = Faults(max_nonfinite=1)
    with pytest.raises(RunFault, match=r"step 2: penalties.kl_ref .* 1 step was not finite"):
        trainer.train()


def test_an_anchor_and_a_step_radius_stay_too(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from entropostat.recipe.blocks import Optimizer, StepRadius
    from entropostat.trainers.grpo import EntropyGRPOTrainer

    spec = tiny.objective(penalties=[{"kl_ref": {"coef": 0.1, "reference": "ema", "decay": 0.5}}])
    trainer = EntropyGRPOTrainer(
        model=path, reward_funcs=tiny.digits, args=tiny.config(max_steps=3), train_dataset=tiny.prompts(),
        objective=spec, optimizer=Optimizer(step_radius=StepRadius()),
    )  # fmt: skip
    watch = Watch(trainer)
    trainer.add_callback(watch)
    monkeypatch.setattr(KLRef, "__call__", call(2, nan, KLRef.__call__))
    trainer.train()
    assert [any(moved) for moved in watch.moved] == [True, False, True]
    assert trainer.anchor.moves and trainer.anchor.age == 2


def test_a_full_dump_keeps_to_its_size_and_says_what_it_left_out(
    path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from entropostat.trainers.watch import suspects

    monkeypatch.setattr(suspects, "MOST_BYTES", 200)
    mask = torch.ones(2, 3)
    micro = suspects.Seen(mask, {"logps": mask * torch.nan, "wide": torch.zeros(99)}, {"completion_ids": mask.long()})
    suspects.write_dump(tmp_path / "run" / "step.safetensors", {"step": 1}, [micro])
    about = json.loads((tmp_path / "run" / "step.json").read_text())["tensors"]
    assert {name: entry["written"] for name, entry in about.items()} == {
        "0/completion_ids": True, "0/logps": True, "0/wide": False,
    }  # fmt: skip
    assert set(load_file(tmp_path / "run" / "step.safetensors")) == {"0/completion_ids", "0/logps"}
    assert about["0/logps"] == {"shape": [2, 3], "not_finite": 6, "first": [0, 0], "written": True}


def test_what_lies_under_the_mask_is_suspected_last() -> None:
    from entropostat.trainers.watch.suspects import Seen

    mask = torch.tensor([[1, 0], [1, 1]])
    padding = torch.tensor([[0.0, torch.nan], [0.0, 0.0]])
    assert Seen(mask, {"logps": padding, "loss": torch.tensor(torch.inf)}, {}).suspect() == "loss"
    assert Seen(mask, {"logps": padding, "loss": torch.tensor(1.0)}, {}).suspect() == "logps"
    assert Seen(mask, {"values": torch.zeros(2, 2, 3)}, {}).suspect() is None
