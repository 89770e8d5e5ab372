"""What the policy is asked, and what is read of its answers, in evaluation as in training: token by token."""

from __future__ import annotations

from typing import Any

import pytest
from support import standins, tiny
from support.tables import table as rows_of
from tokenizers import processors
from trl.chat_template_utils import add_response_schema

from entropostat.data.dataset import with_system
from entropostat.data.example import Example
from entropostat.reward.judge import Outcome
from entropostat.trainers.evaluation.draws import EvaluateSettings, chunked
from entropostat.trainers.evaluation.measure import evaluate
from entropostat.trainers.evaluation.rendering import Asking, completed, rendered
from entropostat.trainers.grpo import EntropyGRPOTrainer

OWN = (
    "{{ bos_token or '' }}{%- for m in messages %}<|im_start|>{{ m.role }}{% if m.name is defined %}({{ m.name }}){% endif %}"
    "{% if style %}[{{ style }}]{% endif %}{{ m.content }}<|im_end|>{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant{%- endif %}"
)
"""With words of its own, a key that only some messages have, and a special token in front."""
SAID: dict[str, Any] = {
    "nothing": None,
    "no thought": {"enable_thinking": False},
    "thought": {"enable_thinking": True},
    "as text": '{"enable_thinking": false}',
    "other words": {"style": "short", "enable_thinking": False},
}
ASKED: dict[str, tuple[str | None, list[Any]]] = {
    "text": (None, ["12+3=", "7*8=?", "", "<|im_start|>user"]),
    "text, empty system": ("", ["12+3=", "7*8=?"]),
    "text, system": ("Be brief.", ["12+3=", "7*8=?"]),
    "chat": (
        None,
        [
            [{"role": "user", "content": "12+3="}],
            [{"role": "system", "content": "Add."}, {"role": "user", "content": "1+1=", "name": "a"}],
        ],
    ),
    "chat, system": ("Be brief.", [[{"role": "user", "content": "1+2="}, {"role": "assistant", "content": "3"}, {"role": "user", "content": "and 4?"}]]),
}  # fmt: skip
"""data.system, and prompts."""


def tokenizer(chat: str, bos: bool) -> Any:
    made = standins.tokenizer(standins.template("qwen3") if chat == "qwen3" else OWN)
    if bos:  # as Llama's: in front of every text
        made.bos_token = "<|endoftext|>"
        made.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", pair="<|endoftext|> $A $B", special_tokens=[("<|endoftext|>", standins.PAD)]
        )
    return made


def trainer_of(made: Any, said: Any, examples: list[Example], system: str | None) -> EntropyGRPOTrainer:
    table = rows_of({"": [examples[i % len(examples)] for i in range(4)]}, system=system).rows()
    return EntropyGRPOTrainer(
        model=standins.model_of("qwen2"),
        reward_funcs=tiny.digits if system is None and isinstance(examples[0].prompt, str) else spoken,
        args=tiny.config(
            chat_template_kwargs=said, max_steps=1, max_completion_length=2, num_generations=2,
            per_device_train_batch_size=8, steps_per_generation=1, shuffle_dataset=False,
        ),
        processing_class=made,
        train_dataset=table,
        objective=tiny.objective(),
    )  # fmt: skip


def spoken(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(c[0]["content"])) for c in completions]


def asked_in_training(trainer: Any) -> set[tuple[int, ...]]:
    seen: list[list[int]] = []
    turn = trainer._generate_single_turn
    trainer._generate_single_turn = lambda ids, *a, **k: (seen.extend(ids), turn(ids, *a, **k))[1]
    trainer.train()
    return set(map(tuple, seen))


def asked_in_evaluation(trainer: Any, examples: list[Example]) -> set[tuple[int, ...]]:
    seen: list[list[int]] = []
    model = trainer.model
    draw = model.generate

    def generate(input_ids: Any, attention_mask: Any, **how: Any) -> Any:
        seen.extend(ids[mask.bool()].tolist() for ids, mask in zip(input_ids, attention_mask, strict=True))
        return draw(input_ids=input_ids, attention_mask=attention_mask, **how)

    model.generate = generate
    settings = EvaluateSettings(max_new_tokens=2, samples=2, k=(1,))
    chunks = chunked({"set": examples}, settings, trainer)
    verify = lambda said, asked: [Outcome(score=0.0)] * len(said)
    evaluate(model, trainer.processing_class, chunks, verify, settings, asking=trainer)
    return set(map(tuple, seen))


@pytest.mark.parametrize("chat, bos", [("qwen3", False), ("own", True)])
@pytest.mark.parametrize("form", ASKED)
def test_training_and_evaluation_ask_the_same_token_by_token(form: str, chat: str, bos: bool) -> None:
    system, prompts = ASKED[form]
    plain = [Example(prompt, None, {}, str(i)) for i, prompt in enumerate(prompts)]
    held_out = [with_system(example, system) for example in plain]
    ways = {}
    for name, said in SAID.items():
        made = tokenizer(chat, bos)
        trainer = trainer_of(made, said, plain, system)
        trained = asked_in_training(trainer)
        assert len(trained) == len(plain)
        assert asked_in_evaluation(trainer, held_out) == trained, name
        alone = Asking(made, trainer.chat_template_kwargs)
        assert set(map(tuple, rendered(alone, held_out))) == trained, "without a trainer"
        ways[name] = trained
    conversational = form != "text"
    apart = ("no thought", "thought") if chat == "qwen3" else ("nothing", "other words")
    assert (ways[apart[0]] != ways[apart[1]]) == conversational, "the case is a case"
    assert ways["as text"] == ways["no thought"]


def test_a_prompt_is_rendered_without_regard_to_those_beside_it() -> None:
    asking = Asking(tokenizer("own", False))
    mixed = [Example("12+3="), Example([{"role": "user", "content": "1+1="}]), Example("a much longer text than that")]
    assert rendered(asking, mixed) == [rendered(asking, [example])[0] for example in mixed]


ANSWERS = ["<think>\nhm\n</think>\n\n42<|im_end|>", "42", "<think>\nno end of it", "<|im_end|>", "a<|endoftext|>"]


@pytest.mark.parametrize("form, schema", [("text", False), ("text", True), ("chat", False), ("chat", True)])
def test_completions_are_read_as_the_trainer_reads_them(form: str, schema: bool) -> None:
    system, prompts = ASKED[form]
    examples = [Example(prompts[i % 2], None, {}, str(i)) for i in range(len(ANSWERS))]
    made = tokenizer("qwen3", False)
    made = add_response_schema(made) if schema else made
    trainer = trainer_of(made, None, examples, system)
    ids = [made.encode(text, add_special_tokens=False) for text in ANSWERS]
    trainer._generate_single_turn = lambda *_, **__: (ids, None)
    seen = trainer._generate([row["prompt"] for row in rows_of({"": examples}).rows()])[3]
    mine = completed(trainer, examples, rendered(trainer, examples), ids)
    assert mine == seen
    if form == "chat" and schema:
        assert mine[0][0]["content"].strip() == "42", "a thought is not what was said"
