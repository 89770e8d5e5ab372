"""Whatever a reward does, the run goes on where it can, stops in one line where it cannot, and every checkpoint is whole."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from support import tiny

from entropostat import manifest
from entropostat.faults import RunFault
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifiers.function import Function
from entropostat.rl.info import LARGEST_REWARD
from entropostat.trainers.grpo import EntropyGRPOTrainer

STEPS = 4
VERIFIER = """
import itertools, time
calls = {}

def score(completion, example, how, when):
    count = calls.setdefault((how, when), itertools.count())
    bad = when == "always" or (when == "sixth" and next(count) == 5) or (when == "later" and next(count) >= 8) or (when == "some" and len(completion) % 2 == 0)
    if not bad: return float(len(completion) % 3)
    if how == "raise": raise ValueError("on purpose")
    if how == "exit": raise SystemExit(3)
    if how == "hang": time.sleep(60)
    if how == "nan": return float("nan")
    if how == "inf": return float("inf")
    if how == "none": return None
    if how == "list": return [1.0, 2.0]
    if how == "text": return "1.0"
    return {"huge": 1e30, "minus": -1e300, "integer": 10 ** 400}[how]
"""
BAD = ("raise", "exit", "nan", "inf", "none", "list", "text", "huge", "minus", "integer")


@pytest.fixture(scope="module")
def path() -> str:
    return tiny.saved()


def run(path: str, folder: Path, functions: Any, rewards: list[Any]) -> Any:
    columns = {"answer": ["1"] * 16, "meta": ["{}"] * 16, "id": [str(i) for i in range(16)]}
    subject = EntropyGRPOTrainer(
        model=path,
        reward_funcs=functions,
        args=tiny.config(
            output_dir=str(folder), max_steps=STEPS, max_completion_length=4, save_strategy="steps", save_steps=1
        ),
        train_dataset=Dataset.from_dict({"prompt": tiny.prompts()["prompt"], **columns}),
        objective=tiny.objective(rewards=rewards),
    )
    subject.before = [p.detach().clone() for p in subject.model.parameters()]
    subject.train()
    return subject


def whole(folder: Path) -> int:
    """How many checkpoints there are: each sealed, as it was written, and of finite weights."""
    found = sorted(folder.glob("checkpoint-*"))
    for checkpoint in found:
        manifest.check(checkpoint)
        weights = load_file(checkpoint / "model.safetensors")
        assert all(value.isfinite().all() for value in weights.values())
    return len(found)


def learned(subject: Any) -> bool:
    """Something, and nothing but numbers."""
    now = list(subject.model.parameters())
    assert all(p.isfinite().all() for p in now)
    losses = [row["loss"] for row in subject.state.log_history if "loss" in row]
    assert len(losses) == STEPS and all(math.isfinite(loss) for loss in losses)
    return any(not torch.equal(a, b) for a, b in zip(subject.before, now, strict=True))


SHAPED: list[Any] = [{"diversity": {"coef": 0.3}}, {"ares": {"window": 1}}]
CASES = {f"{how}-{when}": {"how": how, "when": when} for how in BAD for when in ("some", "later", "always")}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scorer]:
    folder = tmp_path_factory.mktemp("adversarial")
    (folder / "adversarial_reward.py").write_text(VERIFIER)
    where = {"path": "adversarial_reward:score", "folder": str(folder)}
    verifiers = {name: Function(**where, timeout=5.0, options=options) for name, options in CASES.items()}
    verifiers["hang"] = Function(**where, timeout=0.2, options={"how": "hang", "when": "sixth"})
    made = Scorer(verifiers, allow_code=True, workers=1)
    yield made
    made.close()


def function(scorer: Scorer, name: str) -> Any:
    return next(f for f in scorer.functions if f.__name__ == name)


@pytest.mark.parametrize("how", [*(f"{how}-some" for how in BAD), "hang"])
def test_a_verifier_that_fails_on_some_completions_costs_those(
    how: str, scorer: Scorer, path: str, tmp_path: Path
) -> None:
    subject = run(path, tmp_path, function(scorer, how), SHAPED)
    assert learned(subject) and whole(tmp_path) == STEPS
    assert 0 < sum(scorer.problems[how].values()) < 16 or how == "none-some"


@pytest.mark.parametrize("how", ["raise", "none", "huge"])
def test_a_verifier_that_fails_on_all_from_some_generation_on_lets_the_run_go_on(
    how: str, scorer: Scorer, path: str, tmp_path: Path
) -> None:
    subject = run(path, tmp_path, function(scorer, f"{how}-later"), SHAPED)
    assert learned(subject) and whole(tmp_path) == STEPS
    assert subject.shaper.unshaped.isnan().all()


@pytest.mark.parametrize("how", ["raise", "nan", "none", "huge"])
def test_a_verifier_that_fails_on_all_of_the_first_generation_stops_the_run_in_one_line(
    how: str, scorer: Scorer, path: str, tmp_path: Path
) -> None:
    name = f"{how}-always"
    with pytest.raises(RunFault, match=rf"^reward\.{name} .* of the first generation: ") as caught:
        run(path, tmp_path, function(scorer, name), [])
    assert "\n" not in str(caught.value) and whole(tmp_path) == 0


def plain(how: Callable[[int], Any]) -> Callable[..., Any]:
    """A reward function as TRL takes it, with one bad score in each call."""

    def score(completions: list[str], **_: Any) -> list[Any]:
        found: list[Any] = [float(len(set(text)) % 3) for text in completions]
        return [how(0), *found[1:]]

    return score


PLAIN: dict[str, Any] = {
    "none": None, "nan": math.nan, "inf": math.inf, "minus inf": -math.inf, "huge": 1e30, "minus": -1e30, "beyond": 1e300,
    "a tensor": torch.tensor(math.inf),
}  # fmt: skip


@pytest.mark.parametrize("value", PLAIN)
def test_a_bad_score_of_a_plain_function_costs_its_completion(
    value: str, path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        subject = run(path, tmp_path, plain(lambda _: PLAIN[value]), SHAPED if value != "inf" else [])
    assert learned(subject) and whole(tmp_path) == STEPS
    assert subject.shaper.unshaped.isnan().tolist() == [True] + [False] * 7
    (row, *_) = [row for row in subject.state.log_history if "reward" in row]
    assert math.isfinite(row["reward"]) and math.isfinite(row["reward_std"])
    told = [r.getMessage() for r in caplog.records if "reward function score gave" in r.getMessage()]
    assert len(told) == (value not in ("none", "nan"))


def test_the_weight_of_a_plain_function_counts_towards_its_size(path: str, tmp_path: Path) -> None:
    subject = run(path, tmp_path, plain(lambda _: LARGEST_REWARD / 2), [])
    assert not subject.shaper.unshaped.isnan().any()
    subject.reward_weights = torch.tensor([3.0])
    assert subject.shaper.scores.usable(torch.tensor([[LARGEST_REWARD / 2], [1.0]])).isnan()[:, 0].tolist() == [
        True,
        False,
    ]


@pytest.mark.parametrize("wrong", ["too few", "too many", "one", "none at all"])
def test_a_plain_function_with_the_wrong_number_of_scores_stops_the_run_in_one_line(
    wrong: str, path: str, tmp_path: Path
) -> None:
    calls = iter(range(100))

    def short(completions: list[str], **_: Any) -> list[float]:
        good = [float(len(text) % 3) for text in completions]
        answers = {"too few": good[:-1], "too many": [*good, 1.0], "one": good[:1], "none at all": []}
        return good if next(calls) == 0 else answers[wrong]

    with pytest.raises(ValueError, match=r"'short' returned \d rewards?, but 8 were expected") as caught:
        run(path, tmp_path, short, [])
    assert "\n" not in str(caught.value) and whole(tmp_path) == 2
