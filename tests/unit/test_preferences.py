"""Preferences between completions of a policy: the judge's, with as much noise as asked for."""

from __future__ import annotations

import json

import pytest
import torch

from entropostat.data.example import Example
from entropostat.data.registry import SOURCES
from entropostat.recipe.blocks import Build, BuildReward
from entropostat.recipe.terms import Term
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifier import Verifier
from entropostat.trainers.build.cache import save_model
from entropostat.trainers.build.preferences import collect, noisy
from entropostat.trainers.build.pretrain import make_model, make_tokenizer
from entropostat.trainers.evaluation.rendering import Asking


class ByLength(Verifier):
    """Longer is better; an empty completion cannot be judged."""

    def score(self, completion, example):
        return float(len(completion)) or None


class Alike(Verifier):
    def score(self, completion, example):
        return 0.5


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    return make_model(Build(hidden=16, ff=16, layers=1), tokenizer).eval(), tokenizer


EXAMPLES = SOURCES.build("chain", {"length": 2, "size": 40}).load()


def pairs(policy, judge, most=40, **options):
    torch.manual_seed(1)
    return collect(policy[0], Asking(policy[1]), EXAMPLES, Scorer({"judge": judge}), BuildReward(**options), 6, most)


def test_the_best_of_the_draws_is_preferred_to_the_worst(policy):
    made = pairs(policy, ByLength())
    assert len(made) > 20
    assert all(len(pair["chosen"]) > len(pair["rejected"]) > 0 for pair in made)
    assert {pair["prompt"] for pair in made} <= {example.prompt for example in EXAMPLES}
    assert len({pair["prompt"] for pair in made}) == len(made)
    wider = pairs(policy, ByLength(), draws=8)
    gap = lambda them: sum(len(p["chosen"]) - len(p["rejected"]) for p in them) / len(them)
    assert gap(wider) > gap(made)


def test_no_more_than_asked_and_none_without_a_difference(policy):
    assert len(pairs(policy, ByLength(), most=5)) == 5
    assert pairs(policy, Alike()) == []


def test_a_conversation_gives_conversations(policy):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    asked = [Example([{"role": "user", "content": example.text}]) for example in EXAMPLES[:8]]
    made = collect(policy[0], Asking(tokenizer), asked, Scorer({"judge": ByLength()}), BuildReward(), 6, 8)
    assert made and made[0]["prompt"][0]["role"] == "user" and made[0]["chosen"][0]["role"] == "assistant"


def test_noise_turns_its_share_round():
    clean = [{"prompt": "p", "chosen": f"+{i}", "rejected": f"-{i}"} for i in range(2000)]
    for share in (0.0, 0.3):
        spoiled = noisy(clean, share, seed=3)
        turned = [pair["chosen"].startswith("-") for pair in spoiled]
        assert [abs(int(p["chosen"])) for p in spoiled] == list(range(2000))
        assert sum(turned) / 2000 == pytest.approx(share, abs=0.04)
        assert all((p["chosen"][0], p["rejected"][0]) == ("-", "+") for p, t in zip(spoiled, turned, strict=True) if t)
    assert noisy(clean, 0.3, seed=3) == noisy(clean, 0.3, seed=3) != noisy(clean, 0.3, seed=4)
    assert clean[0]["chosen"] == "+0"


def test_a_model_is_built_once_for_what_it_depends_on(policy, tmp_path, monkeypatch):
    """In a process of its own, from TRL's trainer: it learns that long is good, and the cache gives it back."""
    from entropostat.reward.verifiers.model import RewardModel
    from entropostat.trainers.build import preferences
    from entropostat.trainers.build.reward_model import load_reward_model

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("WORLD_SIZE", "2")  # as under a launcher: the child must not wait for a second process
    monkeypatch.setenv("RANK", "0")
    folder = tmp_path / "policy"
    folder.mkdir()
    save_model(policy[0], folder)
    policy[1].save_pretrained(folder)
    # The judge of a run is named in its recipe: an answer among the nine that an untrained policy may hit by its format.
    judge = Term("exact_match", "exact_match", {"answer_regex": r"^(.)"})
    examples = [Example(example.prompt, "+", {}, example.id) for example in EXAMPLES * 12]
    build = lambda **options: preferences.build_reward(
        {"draws": 16, "noise": 0.0, "learning_rate": 1e-2, "batch": 16, "epochs": 4.0, **options},
        str(folder), examples, [judge], 4, 0,
    )  # fmt: skip
    path = build()
    report = json.loads((path / "preferences.json").read_text())
    assert report["pairs"] > 100 and report["tested"] > 10 and report["accuracy"] > 0.9
    assert not (path / "job.json").exists() and not list(path.glob("*.bin"))
    model = load_reward_model(RewardModel(path=str(path)), path, torch.device("cpu"))
    right, wrong = model(["+12", "=12"], EXAMPLES[:2])
    assert right > wrong + 1

    def fail(*_):
        raise AssertionError("built again")

    monkeypatch.setattr(preferences, "_run", fail)
    assert build() == path
    with pytest.raises(AssertionError, match="built again"):
        build(noise=0.1)
