"""Which verifier judges which source, and what it counts there: the recipe, the reward functions, the evaluation."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from support.table import columns_of

from entropostat.cli.plan import plan
from entropostat.data.example import Example
from entropostat.faults import RunFault
from entropostat.recipe import RecipeError, load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.lints import lints
from entropostat.recipe.resume import fingerprint
from entropostat.reward.calls import examples_of
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifier import Verifier
from entropostat.reward.verifiers.numeric import Numeric
from entropostat.trainers.build.recipe_rewards import load_verifiers, reward_weights
from entropostat.trainers.prompts import load_data
from entropostat.trainers.rollout.first_scores import check_first_scores

NAMES = ("a", "b", "c")


class Says(Verifier):
    """Gives what the completion says."""

    compares = False
    strategies = ("saying",)

    def score(self, completion, example):
        return None if completion == "none" else float(completion)

    def answer_key(self, completion, example):
        return f"said {completion}"


class Liked(Verifier):
    """Stands for a reward model."""

    learned = True


def example(source, name="e", answer="1"):
    return Example("p", answer, {"n": 1}, name, source)


def test_a_source_travels_through_the_trainer_s_table():
    rows = [example("a"), example("a"), example("b"), Example("q", None, {}, "x")]
    table = columns_of(rows)
    found = examples_of(table["prompts"], table)
    assert found == rows and found[0] is found[1]
    assert [e.source for e in examples_of(table["prompts"], {**table, "source": None})] == [""] * 4


weights = st.sampled_from([0.0, 0.5, 1.0, 2.0])
entries = st.builds(
    lambda sources, weight, own: (sources, weight, {k: v for k, v in own.items() if not sources or k in sources}),
    st.lists(st.sampled_from([*NAMES, "test"]), unique=True),
    weights,
    st.dictionaries(st.sampled_from(NAMES), weights),
)


@given(st.lists(entries, min_size=1, max_size=3), st.booleans())
def test_the_sum_of_a_completion_is_that_of_who_judges_its_source_at_the_weight_there(given, known):
    verifiers = {f"v{i}": Says(sources=s, weight=w, weights=own) for i, (s, w, own) in enumerate(given)}
    scorer = Scorer(verifiers, sources=NAMES if known else ())
    rows = [example(source, str(i)) for i, source in enumerate(NAMES * 2)]
    texts = [str(i + 1) for i in range(len(rows))]
    scores = [function(completions=texts, **columns_of(rows)) for function in scorer.functions]
    assert len({f.__name__ for f in scorer.functions}) == len(scorer.functions) == len(scorer.weights)
    for row, (text, asked) in enumerate(zip(texts, rows, strict=True)):
        mine = [v for v in verifiers.values() if v.judges(asked.source)]
        there = [w * s[row] for w, s in zip(scorer.weights, scores, strict=True) if s[row] is not None]
        assert len(there) == len(mine)
        wanted = math.fsum(v.weights.get(asked.source, v.weight) * float(text) for v in mine)
        assert math.isclose(math.fsum(there), wanted)
        assert scorer.judge(asked.source) == next((n for n, v in verifiers.items() if v.judges(asked.source)), None)
    if known:
        assert all(any(s is not None for s in column) for column in scores)
    if scores:
        keys = [
            f"said {t}" if any(v.judges(e.source) for v in verifiers.values()) else None
            for t, e in zip(texts, rows, strict=True)
        ]
        assert scorer.answers == keys


def test_each_set_is_judged_by_the_verifier_of_its_own():
    scorer = Scorer({"liked": Liked(), "number": Numeric(sources=["a"]), "says": Says(sources=["b"])})
    scorer.models["liked"] = lambda texts, examples: [7.0] * len(texts)
    asked = [example("a"), example("b"), example("a"), example("c"), example("b")]
    outcomes = scorer.verify(["1", "1.5", "2", "1", "0.5"], asked)
    assert [outcome.score for outcome in outcomes] == [1.0, 1.5, 0.0, None, 0.5]
    assert [scorer.judge(name) for name in NAMES] == ["number", "says", None]
    assert [scorer.strategies(name) for name in NAMES] == [(), ("saying",), ()]


def test_a_model_scores_its_own_sources_only():
    scorer, asked = Scorer({"liked": Liked(sources=["b"])}, sources=["a", "b"]), []
    scorer.models["liked"] = lambda texts, examples: asked.extend(e.source for e in examples) or [7.0] * len(texts)
    scorer.models["liked"].truncated = 3
    rows, logged = [example("a"), example("b"), example("a")], {}
    assert scorer.learned(["x"] * 3, rows) == {"liked": [None, 7.0, None]}
    (function,) = scorer.functions
    assert function(completions=["x"] * 3, log_metric=logged.__setitem__, **columns_of(rows)) == [None, 7.0, None]
    assert logged["verifier/liked/truncated"] == 3.0 and asked == ["b", "b"]
    assert function(completions=["x"], log_metric=logged.__setitem__, **columns_of(rows[:1])) == [None]
    assert logged["verifier/liked/truncated"] == 0.0 and asked == ["b", "b"]


def looked_at(scorer, sources, texts):
    """As the trainer looks at its first scores, those of ``sources``."""
    rows = [example(source, str(i), None) for i, source in enumerate(sources)]
    table, model = Dataset.from_dict({"source": list(NAMES)}), SimpleNamespace(training=True)
    functions = scorer.functions if not hasattr(scorer, "kept") else scorer.kept
    scorer.kept = functions
    found = [function(completions=texts, **columns_of(rows)) for function in functions]
    trainer = SimpleNamespace(
        reward_funcs=functions, train_dataset=table, reward_weights=torch.tensor(scorer.weights), model=model
    )
    check_first_scores(trainer, torch.tensor([[math.nan if s is None else s for s in column] for column in found]).T)


def test_a_verifier_whose_source_is_still_to_come_has_not_begun():
    scorer = Scorer({"early": Says(sources=["a"]), "late": Says(sources=["b"])}, sources=NAMES)
    looked_at(scorer, "aa", ["1", "2"])
    with pytest.raises(RunFault, match=r"reward\.late gave no score to all 2 completions"):
        looked_at(scorer, "abb", ["1", "none", "none"])


def test_a_part_of_a_verifier_with_another_weight_is_told_by_the_verifier_s_name():
    scorer = Scorer({"one": Says(sources=["a"]), "mine": Says(weights={"b": 0.5})}, sources=["a", "b"])
    assert [f.__name__ for f in scorer.functions] == ["one", "mine", "mine@b"] and scorer.weights == [1.0, 1.0, 0.5]
    with pytest.raises(RunFault, match=r"^reward\.mine failed on all 1 completions"):
        looked_at(scorer, "ab", ["1", "oops"])


RECIPE = """\
name: base
model: {build: {}}
data: {sources: {easy: {chain: {length: 3, size: 4096}}, hard: {chain: {length: 5, size: 4096}}}}
reward: REWARD
evaluate: {sets: {test: {chain: {length: 4, size: 512}}}}
trainer: {per_device_train_batch_size: 64, steps_per_generation: 4, num_generations: 8, max_steps: 8}
"""


@pytest.fixture
def make(tmp_path):
    def run(reward: str, *overrides: str):
        (tmp_path / "base.yaml").write_text(RECIPE.replace("REWARD", reward))
        return load(tmp_path / "base.yaml", overrides)

    return run


ALL = "{chain: {weight: 0, name: rest}}"
WRONG = {
    "an unknown source": (
        f"[{{chain: {{sources: [easy, hrd]}}}}, {ALL}]",
        "reward.chain.sources.1: there is no 'hrd' in data.sources or evaluate.sets; did you mean 'hard'?",
    ),
    "an unknown weight": (
        "[{chain: {weights: {esay: 2}}}]",
        "reward.chain.weights.esay: there is no 'esay' in data.sources; did you mean 'easy'?",
    ),
    "the weight of a set": ("[{chain: {weights: {test: 2}}}]", "reward.chain.weights.test: is a set of evaluate.sets"),
    "a weight without a say": (
        f"[{{chain: {{sources: [easy], weights: {{hard: 2}}}}}}, {ALL}]",
        "reward.chain.weights.hard: has no say: 'hard' is not in reward.chain.sources; add it there",
    ),
    "no judge": (
        "[{chain: {sources: [easy, test]}}]",
        "data.sources.hard: nothing judges it: each verifier has sources, and 'hard' is in none; add it to one, such as reward.chain",
    ),
    "no judge of a set": ("[{chain: {sources: [easy, hard]}}]", "evaluate.sets.test: nothing judges it"),
    "a weight that is text": ("[{chain: {weights: {easy: much}}}]", "reward.chain.weights.easy: must be a number"),
    "a weight that is too large": ("[{chain: {weights: {easy: 1.0e+300}}}]", "reward.chain.weights.easy: must be at least -1e+12"),
    "a list of weights": ("[{chain: {weights: [1]}}]", "reward.chain.weights: must be a mapping, not"),
    "one name": ("[{chain: {sources: easy}}]", "reward.chain.sources: must be a list, not 'easy'"),
    "a model without a judge": (
        "[{chain: {sources: [hard, test]}}, {model: {build: {}, sources: [easy]}}]",
        "reward.model.build: no other verifier judges its sources",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_mistake_is_one_line_with_its_place(make, kind):
    reward, line = WRONG[kind]
    with pytest.raises(RecipeError) as caught:
        make(reward)
    assert line in str(caught.value) and "base.yaml:" in str(caught.value)


def said_by(recipe):
    return [f"{lint.level}: {lint.key}: {lint.message}" for lint in lints(recipe, arithmetic(recipe))]


def test_a_source_on_which_nothing_weighs_is_an_error(make):
    fine = make("[{chain: {weight: 0, weights: {easy: 1, hard: .5}}}]")
    assert not [line for line in said_by(fine) if "weight 0" in line]
    for reward in (
        "[{chain: {weights: {hard: 0}}}]",
        f"[{{chain: {{sources: [easy], weight: 2}}}}, {ALL}]",
    ):
        (line,) = [line for line in said_by(make(reward)) if "weight 0" in line]
        assert line.startswith("error: reward.") and "every verifier that judges hard has weight 0 there" in line


def test_the_plan_and_the_trainer_have_the_same_weights(make):
    recipe = make("[{chain: {sources: [easy, test], weight: 2}}, {chain: {name: other, weights: {hard: .5}}}, {chain: {name: far, sources: [test]}}]")  # fmt: skip
    assert plan(recipe)["reward"] == [
        "2 * chain on easy",
        "other on easy",
        "0.5 * other on hard",
        "far on test, measured only",
    ]
    scorer = load_verifiers(recipe, allow_code=False)
    assert [f.__name__ for f in scorer.functions] == ["chain", "other", "other@hard"]
    assert reward_weights(recipe) == scorer.weights == [2.0, 1.0, 0.5]
    assert scorer.judge("test") == "chain" and scorer.judge("hard") == "other"


def test_data_says_its_source(make):
    table = load_data(make("[{chain: {}}]"))
    for name, rows in [*table.train.items(), *table.held_out.items(), *table.tests.items()]:
        assert {row.source for row in rows} == {name}


def test_other_sources_and_weights_are_another_recipe(make):
    kinds = ["{}", "{sources: [easy, hard, test]}", "{weights: {easy: 2}}", "{weights: {easy: 3}}"]
    assert len({fingerprint(make(f"[{{chain: {kind}}}]"), 4) for kind in kinds}) == 4
