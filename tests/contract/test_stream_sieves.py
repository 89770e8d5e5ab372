"""Prompts that are not asked, evaluations, what is refused, and runs that are stopped and resumed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from support import tiny
from support.streams import RSR, generations, make, prompts, sparse, texts

from entropostat.rl.objective import normalise_terms
from entropostat.trainers.ppo import EntropyPPOTrainer


def test_prompts_outside_of_the_band_are_not_asked_and_their_places_are_filled(path: str) -> None:
    solved = lambda prompts, completions, **_: [float(p < "3") for p in prompts]  # 30 always, 30 never
    data = [{"difficulty": {"low": 0.5, "high": 1.0, "memory": 0.0}}]
    trainer = make(path, data, solved, max_steps=64, shuffle_dataset=False)
    seen = generations(trainer)
    asked = [set(texts(trainer, each, "prompt")) for each in seen]
    known: set[str] = set()
    for now in asked[:28]:  # by then each of the solved ones has been asked, and none is ever out of the band
        assert not now & {prompt for prompt in known if prompt >= "3"}
        known |= now
    rows = [row for row in trainer.state.log_history if "difficulty/rate" in row]
    assert rows[0]["difficulty/rate"] in (0.0, 1.0) and rows[-1]["difficulty/rate"] == 1.0
    assert any(row["difficulty/left_out"] > 0 for row in rows)


def test_an_evaluation_asks_what_it_was_given(path: str) -> None:
    trainer = make(path, [{"difficulty": {}}, *RSR], max_steps=4, per_device_eval_batch_size=8)
    trainer.eval_dataset = prompts(4)
    trainer.train()
    kept = copy.deepcopy((trainer.stream.reserve.passes, trainer.stream.sieves.state(), trainer.generations))
    found = trainer.evaluate()
    assert "eval_reward" in found and not any("dynamic_sampling" in key for key in found)
    assert (trainer.stream.reserve.passes, trainer.stream.sieves.state(), trainer.generations) == kept


def test_what_cannot_be_is_refused_in_one_line(path: str) -> None:
    stream = prompts().to_iterable_dataset()
    with pytest.raises(ValueError, match=r"objective\.data\.difficulty: picks prompts .* give one with a length"):
        make(path, [{"difficulty": {}}], table=stream)
    with pytest.raises(ValueError, match=r"objective\.data\.dynamic_sampling: replaces rows whose values are known"):
        EntropyPPOTrainer(
            model=path,
            reward_funcs=sparse,
            args=tiny.ppo_config(),
            train_dataset=prompts(),
            objective={**tiny.objective(advantages=["gae"]), "data": normalise_terms(["dynamic_sampling"])},
        )
    with pytest.raises(ValueError, match=r"aepo\.reference: true replaces rows that objective\.data\.dynamic_sampling"):
        make(path, [{"dynamic_sampling": {}}], spec=tiny.objective(penalties=[{"aepo": {"reference": True}}]))


ALL = [
    {"difficulty": {"low": 0.3, "high": 0.7, "recheck": 3}},
    {"diversity_weighted": {}},
    {"dynamic_sampling": {"oversample": 3.0}},
    {"rsr": {}},
]


@pytest.mark.parametrize(
    "how",
    [{}, {"num_iterations": 2}, {"steps_per_generation": 1, "per_device_train_batch_size": 16}],
    ids=["slices", "passes", "aligned"],
)
def test_a_run_that_is_stopped_and_resumed_is_the_run_that_was_never_stopped(
    path: str, tmp_path: Path, how: dict[str, Any]
) -> None:
    def run() -> Any:
        changes = {
            "max_steps": 20,
            "save_strategy": "steps",
            "save_steps": 7,
            "shuffle_dataset": False,
            "learning_rate": 2e-3,
            **how,
        }
        return make(path, ALL, table=prompts(12), output_dir=str(tmp_path), **changes)

    whole = run()
    whole.train()
    again = run()
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-7"))
    timed = ("step_time", "health", "profiling", "train_", "total_flos")
    rows = [
        [{k: v for k, v in row.items() if not k.startswith(timed)} for row in trainer.state.log_history][7:20]
        for trainer in (whole, again)
    ]
    assert rows[0] == rows[1] and rows[0][-1]["step"] == 20
    for key in ("rsr/recovered", "difficulty/known", "difficulty/left_out", "dynamic_sampling/prompts"):
        assert any(row.get(key) for row in rows[0]), key
    assert (tmp_path / "checkpoint-7" / "stream.safetensors").is_file()  # groups wait at the checkpoint
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert whole.stream.sieves.state() == again.stream.sieves.state()
    assert whole.stream.reserve.passes == again.stream.reserve.passes
