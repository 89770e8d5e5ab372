"""A verifier that scores nothing of the first generation ends the run, on every rank, in one line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from entropostat.data.example import Example
from entropostat.faults import RunFault
from entropostat.reward.judge import Outcome
from entropostat.reward.scoring import Scorer
from entropostat.reward.silence import Silence
from entropostat.reward.verifier import Verifier
from entropostat.reward.verifiers.numeric import Numeric
from entropostat.trainers.rollout.first_scores import check_first_scores


class Says(Verifier):
    """Gives what the completion says."""

    compares = False

    def score(self, completion, example):
        if completion == "raise":
            raise ValueError("on purpose")
        return None if completion == "none" else float(completion)


def trainer(verifiers, sources=("a",), training=True):
    scorer = Scorer(verifiers)
    table = Dataset.from_dict({"source": list(sources)})
    weights = torch.tensor(scorer.weights)
    model = SimpleNamespace(training=training)
    return SimpleNamespace(reward_funcs=scorer.functions, train_dataset=table, reward_weights=weights, model=model)


def generation(trainer, completions, answers=None):
    """Score them with every verifier, as TRL does, and look."""
    answers = answers or [None] * len(completions)
    columns = {"answer": answers, "meta": ["{}"] * len(answers), "id": [f"e{i}" for i in range(len(answers))]}
    prompts = ["p"] * len(answers)
    scores = [function(prompts=prompts, completions=completions, **columns) for function in trainer.reward_funcs]
    check_first_scores(trainer, torch.tensor([[float("nan") if s is None else s for s in f] for f in scores]).T)


OF_THE_FIRST = "of the first generation"
LINES = [
    ({"mine": Says()}, ["raise", "raise"], f"reward.mine failed on all 2 completions {OF_THE_FIRST}: ValueError: on purpose; mend it"),
    ({"mine": Says()}, ["none", "none"], f"reward.mine gave no score to all 2 completions {OF_THE_FIRST}: it returned None each time; let"),
    ({"mine": Says()}, ["none", "raise"], f"reward.mine failed on, or gave no score to, all 2 completions {OF_THE_FIRST}: ValueError: on"),
    ({"number": Numeric()}, ["1", "2", "3"], f"reward.number gave no score to all 3 completions {OF_THE_FIRST}: no prompt has a reference"),
    ({"mine": Says(), "number": Numeric()}, ["1", "2"], "reward.number gave no score to all 2 completions"),
    ({"mine": Says(weight=0.0)}, ["raise", "raise"], "reward.mine failed on all 2"),
]  # fmt: skip


@pytest.mark.parametrize(("verifiers", "completions", "line"), LINES)
def test_the_line_names_verifier_reason_and_fix(verifiers, completions, line):
    with pytest.raises(RunFault) as caught:
        generation(trainer(verifiers), completions)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_one_score_is_enough():
    generation(trainer({"mine": Says()}), ["none", "raise", "0"])


def test_later_generations_and_evaluations_are_left_alone():
    run = trainer({"mine": Says()})
    generation(run, ["1", "none"])
    generation(run, ["none", "none"])
    generation(trainer({"mine": Says()}, training=False), ["raise", "raise"])


def test_a_verifier_may_have_no_say_where_another_source_is_still_to_come():
    two = {"mine": Says(), "number": Numeric()}
    generation(trainer(two, sources=("a", "b")), ["1", "2"])
    with pytest.raises(RunFault, match=r"reward\.mine failed"):
        generation(trainer({"mine": Says(), "number": Numeric()}, sources=("a", "b")), ["raise", "raise"], ["1", "1"])
    with pytest.raises(RunFault, match=r"reward\.number gave no score"):
        generation(trainer({"number": Numeric(), "more": Says(weight=0.0)}, sources=("a", "b")), ["1", "2"])


def test_functions_that_are_no_verifiers_are_trl_s_own_business():
    plain = SimpleNamespace(reward_funcs=[lambda **_: None], model=SimpleNamespace(training=True))
    check_first_scores(plain, torch.full((4, 1), torch.nan))


def test_what_ranks_know_adds_up():
    examples = [Example(prompt="p", answer="1"), Example(prompt="p")]
    late = Outcome(problem="timeout", message="took longer than 1 s")
    one, two = Silence.of([Outcome(), Outcome()], examples), Silence.of([late, late], examples)
    bad = Silence.of([Outcome(problem="error", message="bad")] * 2, examples)
    both = one + two + bad
    assert (both.completions, both.errors, both.timeouts, both.answers, both.message) == (6, 2, 2, 3, late.message)
    assert both.failed and not one.failed
    assert (
        (two + two).line("reward.f", False).endswith("took longer than 1 s; raise reward.f.timeout, or make it faster")
    )
