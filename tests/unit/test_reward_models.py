"""Reward models score what they are given, whatever shares their batch, and refuse what is no reward model."""

from __future__ import annotations

import math

import pytest
import torch
from support.evaluated import measured
from support.reward_models import loaded
from tokenizers import processors
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3ForSequenceClassification

from entropostat.data.example import Example
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifiers.model import RewardModel
from entropostat.trainers.build.pretrain import make_tokenizer
from entropostat.trainers.build.reward_model import attach, load_reward_model
from entropostat.trainers.evaluation.draws import EvaluateSettings

CPU = torch.device("cpu")
PROMPT = "2*8+6\n"
TEXTS = ["=2", ":2*8=6+6=2", "", "=", "=12345678", "==="]
EXAMPLES = [Example(PROMPT, "2", {"modulus": 10}, str(i)) for i in range(len(TEXTS))]


def config(**changes):
    tokenizer = make_tokenizer()
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": len(tokenizer), "max_position_embeddings": 40}
    return Qwen3Config(**sizes, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, **changes)


def saved(folder, kind=Qwen3ForSequenceClassification, template=None, **changes):
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    kind(config(**changes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("reward"), num_labels=1)


def alone(path, text, label=0):
    """The score of one text, without padding, by transformers alone."""
    ids = torch.tensor([make_tokenizer()(text)["input_ids"]])
    with torch.no_grad():
        return Qwen3ForSequenceClassification.from_pretrained(path).eval()(input_ids=ids).logits[0, label].item()


def test_scores_in_a_batch_are_those_of_each_text_alone(path):
    model = loaded(path, batch=4)
    scores = model(TEXTS, EXAMPLES)
    assert scores == pytest.approx([alone(path, f"{PROMPT}{text}<eos>") for text in TEXTS], abs=1e-5)
    assert len(set(scores)) == len(TEXTS) and model.truncated == 0
    back = model(TEXTS[::-1], EXAMPLES)
    assert back[::-1] == pytest.approx(scores, abs=1e-5)
    assert not model.model.training and not any(p.requires_grad for p in model.model.parameters())


def test_an_open_end_and_another_precision_are_options(path):
    assert loaded(path, end=False)(TEXTS[:2], EXAMPLES[:2]) == pytest.approx(
        [alone(path, PROMPT + text) for text in TEXTS[:2]], abs=1e-5
    )
    half = loaded(path, dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    assert half(TEXTS, EXAMPLES) == pytest.approx(loaded(path)(TEXTS, EXAMPLES), abs=0.05)


def test_a_text_that_is_too_long_loses_its_beginning_and_is_counted(path):
    model = loaded(path, max_length=5)
    scores = model(TEXTS, EXAMPLES)
    assert scores[4] == pytest.approx(alone(path, "5678<eos>"), abs=1e-5)
    assert scores[0] == pytest.approx(alone(path, "6\n=2<eos>"), abs=1e-5)
    assert model.truncated == len(TEXTS)
    whole = loaded(path)
    assert whole.limit == 40  # what its positions allow
    whole(["1" * 50], EXAMPLES[:1])
    assert whole.truncated == 1


def test_the_token_in_front_survives_a_cut(tmp_path):
    """An encoder's head reads it."""
    path = saved(tmp_path, num_labels=1)
    model = loaded(path, max_length=4, end=False)
    core = model.tokenizer._tokenizer
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    (score,) = model(["=123"], EXAMPLES[:1])
    assert score == pytest.approx(alone(path, "<bos>123"), abs=1e-5) and model.truncated == 1


def test_a_text_without_a_token_has_no_score(path):
    model = loaded(path, end=False)
    assert model(["", "=2"], [Example(""), Example("")])[0] is None
    assert model([], []) == []


def test_conversations_go_through_the_chat_template(tmp_path, path):
    template = "{% for m in messages %}{{ m['role'][0] == 'u' and '1' or '2' }}{{ m['content'] }}{% endfor %}"
    chat = saved(tmp_path, template=template, num_labels=1)
    asked = [Example([{"role": "user", "content": "1+1"}])]
    model = loaded(chat)
    wanted = alone(chat, "11+12=2")
    assert model([[{"role": "assistant", "content": "=2"}]], asked) == pytest.approx([wanted], abs=1e-5)
    assert model(["=2"], asked) == pytest.approx([wanted], abs=1e-5)
    with pytest.raises(ValueError, match="its tokenizer has no chat template; save one with the tokenizer"):
        loaded(path)(["=2"], asked)


def test_one_of_several_outputs_needs_its_label(tmp_path):
    names = {0: "help", 1: "harm", 2: "style"}
    several = saved(tmp_path, id2label=names, label2id={name: k for k, name in names.items()})
    with pytest.raises(ValueError, match=r"has 3 outputs; say which is the score by label: 0 \(help\), 1 \(harm\)"):
        loaded(several)
    with pytest.raises(ValueError, match=r"label: .* has outputs 0 to 2, not 3"):
        loaded(several, label=3)
    assert loaded(several, label=2)(["=2"], EXAMPLES[:1]) == pytest.approx(
        [alone(several, f"{PROMPT}=2<eos>", 2)], abs=1e-5
    )


def test_what_is_no_reward_model_is_refused(tmp_path):
    with pytest.raises(OSError, match=r"reward.model.path: there is no folder ./nowhere: "):
        loaded("./nowhere")
    with pytest.raises(OSError, match=r"reward.kind.path: cannot open .*: Unrecognized model"):
        load_reward_model(RewardModel(path=str(tmp_path)), tmp_path, CPU, name="kind")
    with pytest.raises(ValueError, match=r"is a Qwen3ForCausalLM, whose weights lack score.weight"):
        loaded(saved(tmp_path, Qwen3ForCausalLM))
    for options in ({}, {"path": "a", "build": {}}):
        with pytest.raises(ValueError, match="exactly one of path and build"):
            VERIFIERS.build("model", options)
    with pytest.raises(ValueError, match="leave label out"):
        VERIFIERS.build("model", {"build": {}, "label": 1})


def scorer(path, judged=True):
    verifiers = {"model": VERIFIERS.build("model", {"path": path})}
    if judged:
        verifiers["chain"] = VERIFIERS.build("chain", {"weight": 0.0})
    made = Scorer(verifiers)
    attach(made, {"model": path}, CPU)
    return made


def test_the_first_verifier_that_is_no_model_judges(path):
    judged_by = scorer(path)
    assert (judged_by.judge(), judged_by.weights, judged_by.strategies()) == (
        "chain",
        [1.0, 0.0],
        ("working", "blurting"),
    )
    assert [outcome.right for outcome in judged_by.verify(["=2", "=3"], EXAMPLES[:2])] == [True, False]
    assert list(judged_by.learned(["=2"], EXAMPLES[:1])) == ["model"]
    with pytest.raises(RuntimeError, match=r"reward.model: no model is loaded"):
        Scorer({"model": VERIFIERS.build("model", {"path": path})}).functions[0](
            prompts=[PROMPT], completions=["=2"], answer=["2"], meta=["{}"], id=["a"]
        )


def test_a_score_that_is_no_number_costs_one_reward(path):
    made = scorer(path)
    model, logged = made.models["model"], {}
    columns = {"prompts": [PROMPT] * 2, "answer": ["2"] * 2, "meta": ["{}"] * 2, "id": ["a", "b"]}
    call = lambda texts: made.functions[0](completions=texts, log_metric=logged.__setitem__, **columns)
    model.forward = lambda rows: torch.tensor([math.nan if len(row) > 10 else 1.0 for row in rows])
    assert call(["=2", "=23456"]) == [1.0, None]
    assert logged == {"verifier/model/errors": 1.0, "verifier/model/failed": 0.5, "verifier/model/truncated": 0.0}


@pytest.mark.parametrize("judged", [True, False])
def test_evaluation_reports_the_models_beside_the_judge(path, judged):
    torch.manual_seed(0)
    policy, tokenizer = Qwen3ForCausalLM(config()).eval(), make_tokenizer()
    made = scorer(path, judged)
    settings = EvaluateSettings(max_new_tokens=4, prompts=3, samples=4, k=(1, 4), judged=judged)
    seen = []

    def learned(texts, examples):
        seen.append(made.learned(texts, examples))
        return seen[-1]

    metrics = measured(policy, tokenizer, {"a": EXAMPLES}, made.verify, settings, learned=learned)
    (scores,) = seen
    assert len(scores["model"]) == 12
    assert metrics["evaluate/a/reward/model"] == pytest.approx(sum(scores["model"]) / 12)
    assert {key in metrics for key in ("evaluate/a/pass@1", "evaluate/a/pass@4", "evaluate/a/greedy")} == {judged}
