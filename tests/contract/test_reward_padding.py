"""The score of a text in a batch is what the reward model itself says of the text alone, whatever pads."""

from __future__ import annotations

import tempfile
from typing import Any

import pytest
import torch
from support import families, tiny
from support.reward_models import loaded
from transformers import AutoModelForSequenceClassification, BertConfig, PreTrainedTokenizerFast, RobertaConfig

from entropostat.data.example import Example
from entropostat.recipe.blocks import BuildReward
from entropostat.trainers.build import preferences
from entropostat.trainers.grpo import EntropyGRPOTrainer

CPU = torch.device("cpu")
PAD, EOS, UNK = 0, 1, 2
TEXTS = ["1+1=2", "", "12345678+1=a", "3", "9-9=0", "ab"]
TEMPLATES = {
    "ends in EOS": "{% for m in messages %}{{ m['content'] }}<eos>{% endfor %}",
    "ends in text": "{% for m in messages %}{{ m['content'] }}={% endfor %}",
    "ends in two EOS": "{% for m in messages %}{{ m['content'] }}{% endfor %}<eos><eos>",
}
CONFIGURED = {"none": None, "own": PAD, "as EOS": EOS, "outside of the vocabulary": -1}
TOKENIZER = {"none": None, "own": "<pad>", "as EOS": "<eos>"}
FAMILIES = ("gpt2", "opt", "llama")


def tokenizer(pad: str | None, side: str, template: str | None = None) -> PreTrainedTokenizerFast:
    made = tiny.tokenizer()
    made.pad_token, made.padding_side, made.chat_template = pad, side, template
    return made


@torch.no_grad()
def alone(path: str, ids: list[list[int]]) -> list[float]:
    """By transformers alone, one row at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()
    return [model(input_ids=torch.tensor([row])).logits[0, 0].item() for row in ids]


def encoded(texts: list[str]) -> list[list[int]]:
    return [tiny.tokenizer()(text)["input_ids"] for text in texts]


def close(expected: list[float]) -> Any:
    return pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("spoken", TOKENIZER)
@pytest.mark.parametrize("configured", CONFIGURED)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_scores_as_its_texts_do(family: str, configured: str, spoken: str, side: str) -> None:
    model = families.reward_model(family, pad_token_id=CONFIGURED[configured])
    path = tiny.written(model, tokenizer(TOKENIZER[spoken], side))
    scores = loaded(path, batch=4)(TEXTS, [Example("=")] * len(TEXTS))
    assert scores == close(alone(path, encoded([f"={text}<eos>" for text in TEXTS])))


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("spoken", TOKENIZER)
@pytest.mark.parametrize("configured", CONFIGURED)
def test_a_conversation_scores_as_it_does_alone(configured: str, spoken: str, template: str) -> None:
    model = families.reward_model("gpt2", pad_token_id=CONFIGURED[configured])
    rendered = tokenizer(TOKENIZER[spoken], "left", TEMPLATES[template])
    path = tiny.written(model, rendered)
    asked = [Example([{"role": "user", "content": "1"}])] * len(TEXTS)
    talks = [[*asked[0].prompt, {"role": "assistant", "content": text}] for text in TEXTS]
    texts = [rendered.apply_chat_template(talk, tokenize=False) for talk in talks]
    scores = loaded(path, batch=4)(TEXTS, asked)
    assert scores == close(alone(path, encoded(texts)))


def test_a_head_that_has_learned_to_read_the_end_token_reads_it() -> None:
    """The tokenizer pads with EOS, the model was configured with another token: only the configuration is believed."""
    path = tiny.written(families.reward_model("qwen2", pad_token_id=PAD), tokenizer("<eos>", "right"))
    open_end, closed = (loaded(path, end=end)(["12", "3"], [Example("=")] * 2) for end in (False, True))
    assert all(abs(a - b) > 0.05 for a, b in zip(open_end, closed, strict=True))


def test_a_text_that_uses_all_of_the_vocabulary_leaves_room_for_padding() -> None:
    path = tiny.written(families.reward_model("gpt2", pad_token_id=None), tokenizer(None, "right"))
    texts = [tiny.CHARACTERS + "<pad><unk>", "1"]
    assert loaded(path)(texts, [Example("")] * 2) == close(alone(path, encoded([f"{text}<eos>" for text in texts])))


@pytest.mark.parametrize("kind", [BertConfig, RobertaConfig])
def test_an_encoder_scores_as_it_does_alone(kind: Any) -> None:
    sizes = {**families.SHORT, "hidden_size": 32, "intermediate_size": 64, "vocab_size": families.SIZE, "num_labels": 1}
    model = families.sharp(AutoModelForSequenceClassification.from_config(kind(**sizes, pad_token_id=PAD)))
    path = tiny.written(model, tokenizer("<eos>", "left"))
    scores = loaded(path)(TEXTS, [Example("=")] * len(TEXTS))
    assert scores == close(alone(path, encoded([f"={text}<eos>" for text in TEXTS])))


@pytest.mark.parametrize("as_path", [True, False])
@pytest.mark.parametrize("configured", CONFIGURED)
@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
def test_a_reward_model_given_to_the_trainer_scores_as_it_does_alone(
    family: str, configured: str, as_path: bool
) -> None:
    model = families.reward_model(family, pad_token_id=CONFIGURED[configured])
    path = tiny.written(model, tokenizer(None, "left", TEMPLATES["ends in EOS"]))
    trainer = EntropyGRPOTrainer(
        model=tiny.saved(),
        reward_funcs=path
        if as_path
        else [tiny.digits, AutoModelForSequenceClassification.from_pretrained(path).train()],
        args=tiny.config(),
        train_dataset=tiny.prompts(),
        objective=tiny.objective(),
    )
    prompts = [[{"role": "user", "content": "1="}]] * len(TEXTS)
    completions = [[{"role": "assistant", "content": text}] for text in TEXTS]
    inputs = [{"prompt": prompt} for prompt in prompts]
    if not as_path:
        trainer.reward_funcs[0] = lambda completions, **_: [0.0] * len(completions)
    scores = trainer._calculate_rewards(inputs, prompts, completions, [[3]] * len(TEXTS))[:, -1]
    assert scores.tolist() == close(alone(path, encoded([f"1=<eos>{text}<eos>" for text in TEXTS])))


@pytest.mark.parametrize("spoken", ["own", "as EOS"])
@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
def test_a_model_that_was_trained_here_scores_in_training_as_afterwards(family: str, spoken: str) -> None:
    """TRL's collator, the head and our scoring agree on where a text ends."""
    policy = tiny.written(families.policy(family), tokenizer(TOKENIZER[spoken], "left"))
    made = tokenizer(TOKENIZER[spoken], "left")
    pairs = [{"prompt": "=", "chosen": text or "1", "rejected": "2" + text} for text in TEXTS]
    folder = tempfile.mkdtemp(prefix="built-")
    trainer = preferences.make_trainer(BuildReward(batch=4, epochs=1), policy, made, pairs, pairs, folder)
    trainer.train()
    trainer.model.save_pretrained(folder)
    made.save_pretrained(folder)
    scores = loaded(folder)([pair["chosen"] for pair in pairs], [Example("=")] * len(pairs))
    rows = [trainer.train_dataset[i]["chosen_ids"] for i in range(len(pairs))]
    assert scores == close(alone(folder, rows))
    collated = trainer.data_collator([trainer.train_dataset[i] for i in range(len(pairs))])
    with torch.no_grad():
        batch = trainer.model.eval()(input_ids=collated["input_ids"], attention_mask=collated["attention_mask"]).logits
    assert scores == close(batch[: len(pairs), 0].tolist())
