"""The slot ``rewards`` in a trainer: what its terms see, what is left alone, and what a checkpoint keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from support import tiny
from transformers import TrainerCallback

from entropostat.recipe.blocks import Shaping
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
from entropostat.rl.objective import Objective
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.trl.batches import by_judge
from entropostat.trainers.trl.described import Described

ARES = {"ares": {"window": 2, "triggers": list("0123456789abcdefghij"), "tail": 0.5}}
PEAR, DIVERSITY = {"pear": {"boundary": "="}}, {"diversity": {"among": "all", "coef": 0.5}}
BUCKETS = {"kl_bucket": {"coef": 0.1, **{name: {"log_beta": {"signal": f"kl_bucket/kl_{name}", "every": 1, "rate": 0.9}} for name in ("easy", "medium", "hard")}}}  # fmt: skip


@pytest.fixture(scope="module")
def path() -> str:
    return tiny.saved()


GIVEN: list[float | None] = []
"""Every score so far."""


def right(completions: list[str], **_: Any) -> list[float | None]:
    """Right by the first character, and one in every batch without a score."""
    found: list[float | None] = [float(text[:1] < "a") for text in completions]
    GIVEN.extend(found[:-1])
    return [*found[:-1], None]


def trainer(path: str, rewards: list[Any], shaping: Shaping | None = None, spec: Any = None, **changes: Any) -> Any:
    return EntropyGRPOTrainer(
        model=path,
        reward_funcs=right,
        args=tiny.config(**{"max_steps": 4, "max_completion_length": 6, "shuffle_dataset": False, **changes}),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(**{"advantages": [{"dr_grpo": {}}], "rewards": rewards, **(spec or {})}),
        shaping=shaping,
    )


def watched(subject: Any, run: Any) -> tuple[list[Any], list[Any]]:
    """Batches as the slot ``rewards`` sees them, and as the advantages do."""
    given, got = [], []
    reward, rollout = Objective.reward, Objective.rollout

    def see(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        given.append(batch)
        return reward(self, batch, *args, **kwargs)

    def keep(self: Any, batch: Any) -> Any:
        got.append(batch)
        return rollout(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Objective, "reward", see)
        patch.setattr(Objective, "rollout", keep)
        run()
    return given, got


def logged(subject: Any, key: str) -> list[float]:
    return [row[key] for row in subject.state.log_history if key in row]


def test_terms_see_the_verifiers_rewards_and_the_advantages_see_theirs(path: str) -> None:
    subject = trainer(path, [ARES, DIVERSITY])
    given, got = watched(subject, subject.train)
    assert len(given) == len(got) == 2
    for before, after in zip(given, got, strict=True):
        assert torch.equal(before.unshaped.nan_to_num(9), before.rewards.nan_to_num(9))
        assert torch.equal(after.unshaped.nan_to_num(9), before.unshaped.nan_to_num(9))
        assert after.rewards.isnan().tolist() == before.unshaped.isnan().tolist() == [False] * 7 + [True]
        assert (after.rewards != before.unshaped)[:7].any()
        texts = tuple(subject._tokenizer.batch_decode(before.token_ids, skip_special_tokens=True))
        special = ("<eos>", "<pad>", "<unk>")
        assert tuple("".join(piece for piece in row if piece not in special) for row in before.pieces) == texts


def test_what_is_logged_of_verifiers_and_an_evaluation_stay_unshaped(path: str) -> None:
    """And an evaluation is not remembered."""
    rows = []
    for terms in ([], [ARES, PEAR, DIVERSITY]):
        subject = trainer(path, terms, max_steps=2)
        subject.train()
        memory = json.dumps(subject.shaper.memory)
        first = next(row for row in subject.state.log_history if "reward" in row)
        rows.append({key: value for key, value in first.items() if key.startswith(("reward", "rewards/"))})
        GIVEN.clear()
        told = subject.evaluate(eval_dataset=tiny.prompts(4))
        assert told["eval_reward"] == pytest.approx(sum(GIVEN) / len(GIVEN))
        assert json.dumps(subject.shaper.memory) == memory
    assert rows[0] == rows[1] and len(rows[0]) >= 3
    assert logged(subject, "shaping/unusable")[0] == 0 and logged(subject, "ares/windows")


def test_the_block_shaping_comes_after_the_slot(path: str) -> None:
    subject = trainer(path, [{"pear": {"boundary": "=", "score": 1.0}}], Shaping(clip=0.3), max_steps=2)
    given, got = watched(subject, subject.train)
    found = subject.objective.reward(given[0], {}, learn=False).rewards
    assert torch.allclose(got[0].rewards, found.clamp(-0.3, 0.3), equal_nan=True)
    assert logged(subject, "shaping/raw")[0] == pytest.approx(float(given[0].unshaped.nanmean()))
    assert logged(subject, "shaping/shaped")[0] == pytest.approx(float(got[0].rewards.nanmean()), abs=1e-6)


def test_controllers_of_a_reward_act_from_generation_to_generation(path: str) -> None:
    knob = {"schedule": {"points": [[0, 0.0], [2, 0.8]]}}
    subject = trainer(path, [{"diversity": {"among": "all", "coef": knob}}])
    given, got = watched(subject, subject.train)
    (first, second) = [(b.rewards - a.unshaped)[:7] for a, b in zip(given, got, strict=True)]
    assert (first == 0).all() and (second > 0).any()
    assert logged(subject, "control/rewards.diversity.coef/output")[0] == pytest.approx(0.4)


@pytest.mark.parametrize("key", ["advantages", "gdpo"])
def test_advantages_that_would_not_see_a_reward_are_refused(path: str, key: str) -> None:
    spec = {"advantages": [] if key == "advantages" else [{"gdpo": {}}]}
    with pytest.raises(ValueError, match=r"objective\.rewards\.pear: "):
        trainer(path, [PEAR], spec=spec)


def test_lengths_and_text_are_those_of_the_completion_and_not_of_its_mask(path: str) -> None:
    subject = trainer(path, [])
    ids = torch.tensor([[5, 6, 1, 0], [5, 6, 7, 8], [5, 0, 7, 0], [5, 6, 7, 1]])
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    output = {"completion_ids": ids, "completion_mask": mask}
    names = frozenset({"lengths", "pieces", "texts", "truncated", "token_ids"})
    found = Described(subject).fields(output, names)
    assert found.keys() == names
    assert found["lengths"].tolist() == [3, 4, 3, 4]
    assert [len(row) for row in found["pieces"]] == [3, 4, 3, 4] and found["pieces"][0][2] == "<eos>"
    assert found["texts"][0] == "".join(found["pieces"][0][:2])
    assert found["truncated"].tolist() == [False, True, True, False]
    assert Described(subject).fields(output, frozenset({"old_entropy"})) == {}


def test_terms_know_the_judges_verdict_the_lengths_and_the_longest(path: str) -> None:
    """The judge is the second of three verifiers, and its weight says nothing of its verdict."""
    verifiers = {
        "form": VERIFIERS.build("format", {"tags": ["a"]}),
        "own": VERIFIERS.build("exact_match", {"weight": 0.25}),
        "tags": VERIFIERS.build("tag_count", {}),
    }
    scorer = Scorer(verifiers)
    columns = {"answer": ["7", None] * 8, "meta": ["{}"] * 16, "id": list("abcdefghijklmnop")}
    verdicts = lambda self, completion, example: None if example.answer is None else float(len(completion) % 2)
    subject = EntropyGRPOTrainer(
        model=path,
        reward_funcs=scorer.functions,
        args=tiny.config(max_steps=4, max_completion_length=6, shuffle_dataset=False, reward_weights=scorer.weights),
        train_dataset=Dataset.from_dict({"prompt": tiny.prompts()["prompt"], **columns}),
        objective=tiny.objective(
            rewards=[{"length_cosine": {}}, {"group_length": {}}, {"overlong": {"buffer": 2}}, {"repetition": {}}]
        ),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(verifiers["own"]), "score", verdicts)
        given, _ = watched(subject, subject.train)
    for batch in given:
        assert batch.longest == 6 and int(batch.lengths.max()) <= 6
        odd = torch.tensor(
            [len(text) % 2 for text in subject._tokenizer.batch_decode(batch.token_ids, skip_special_tokens=True)]
        )
        said = ~batch.judged.isnan()
        assert torch.equal(batch.judged[said], odd[said].float())
        assert torch.allclose(batch.unshaped, 0.25 * batch.judged.nan_to_num() + batch.reward_parts[:, [0, 2]].sum(1))
    assert any(batch.judged.isnan().any() for batch in given) and any((batch.judged == 1).any() for batch in given)
    scores = torch.tensor([[0.1, 0.2, torch.nan], [0.3, 0.4, 1.0]])
    assert by_judge([right], scores) is None
    assert torch.equal(by_judge([right, *scorer.functions], scores).nan_to_num(7.0), torch.tensor([7.0, 1.0]))
    assert logged(subject, "length_cosine/right") and logged(subject, "group_length/spread")


class StopAt(TrainerCallback):
    def __init__(self, subject: Any, step: int) -> None:
        self.subject, self.step = subject, step

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.subject.stop_requested = state.global_step + 1 == self.step


@pytest.mark.parametrize("stop", [2, 3])
def test_a_resumed_run_goes_on_with_what_its_terms_and_controllers_remember(
    path: str, tmp_path: Path, stop: int
) -> None:
    make = lambda folder: trainer(
        path,
        [ARES, DIVERSITY],
        spec={"penalties": [BUCKETS]},
        output_dir=str(folder),
        save_strategy="steps",
        save_steps=100,
        max_steps=6,
    )
    whole = make(tmp_path / "whole")
    whole.train()
    first = make(tmp_path / "cut")
    first.add_callback(StopAt(first, stop))
    first.train()
    checkpoint = tmp_path / "cut" / f"checkpoint-{stop}"
    kept = json.loads((checkpoint / "trainer_state.json").read_text())["stateful_callbacks"]["ControlCallback"]
    assert kept["attributes"]["rewards"] == first.shaper.memory and first.shaper.memory["ares"]["threshold"] > 0
    second = make(tmp_path / "cut")
    second.train(resume_from_checkpoint=str(checkpoint))
    assert second.shaper.memory == whole.shaper.memory != first.shaper.memory
    betas = {knob: state["output"] for knob, state in whole.thermostat.state.items()}
    assert {knob: state["output"] for knob, state in second.thermostat.state.items()} == betas
    assert len(betas) == 3 and any(value != 1.0 for value in betas.values())
    keys = ("step", "loss", "grad_norm", "ares/threshold")
    rows = [[[row.get(k) for k in keys] for row in t.state.log_history if "loss" in row] for t in (whole, second)]
    assert rows[0] == rows[1]
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True))
