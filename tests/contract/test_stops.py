"""Where completions end: nothing after a stop token is the policy's, whoever generates and whoever counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import trl.trainer.grpo_trainer as trl_grpo
from support import tiny
from support.evaluated import measured
from transformers import GenerationConfig

from entropostat.data.example import Example
from entropostat.recipe.blocks import Shaping
from entropostat.reward.judge import Outcome
from entropostat.trainers import packages
from entropostat.trainers.evaluation.draws import EvaluateSettings
from entropostat.trainers.evaluation.entropy import completion_entropy
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.ppo import EntropyPPOTrainer
from entropostat.trainers.trl.described import truncated

EOS, PAD, LENGTH = 1, 0, 16
A, B = tiny.tokenizer().convert_tokens_to_ids(["7", "="])
WAYS: dict[str, dict[str, Any]] = {
    "ids": {"stop": [A, B]},
    "texts": {"stop": ["7", "="]},
    "generation_kwargs": {"generation_kwargs": {"eos_token_id": [A, B]}},
    "one id and one text": {"stop": ["="], "generation_kwargs": {"eos_token_id": A}},
    "vLLM's name": {"generation_kwargs": {"stop_token_ids": [A, B]}},
    "the model's own": {"own": [A, EOS, B]},
}
KINDS = {"grpo": {"objective": tiny.objective()}, "ppo": {"objective": tiny.objective(advantages=["gae"])}}


def make(kind: str, stop: Any = (), own: Any = None, shaping: Any = None, **changes: Any) -> Any:
    model = tiny.model()
    if own is not None:
        model.generation_config.eos_token_id = own
    changes = {"max_completion_length": LENGTH, **changes}
    ppo = kind == "ppo"
    return (EntropyPPOTrainer if ppo else EntropyGRPOTrainer)(
        model=model,
        reward_funcs=tiny.digits,
        args=tiny.ppo_config(**changes) if ppo else tiny.config(**changes),
        train_dataset=tiny.prompts(),
        processing_class=tiny.tokenizer(),
        stop=stop,
        shaping=shaping,
        **KINDS[kind],
    )


def watched(trainer: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
    """What transformers' generate gave, row by row with padding, and TRL's buffer, of every generation."""
    raw, outputs = [], []
    draw, generate = trainer.model.generate, trainer._generate_and_score_completions

    def drawn(*args: Any, **kwargs: Any) -> torch.Tensor:
        raw.append(draw(*args, **kwargs))
        return raw[-1]

    def output(*args: Any) -> dict[str, Any]:
        outputs.append(generate(*args))
        return outputs[-1]

    monkeypatch.setattr(trainer.model, "generate", drawn)
    trainer._generate_and_score_completions = output
    trainer.train()
    assert raw and len(raw) == len(outputs)
    return raw, outputs


def cut(row: list[int], ends: set[int]) -> list[int]:
    """The tokens up to and including the first of ``ends``."""
    kept = []
    for token in row:
        kept.append(token)
        if token in ends:
            break
    return kept


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_trains_is_what_an_independent_count_finds(kind: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(kind, **WAYS[way], max_steps=4)
    assert trainer.generation_config.eos_token_id == trainer.generation_kwargs["eos_token_id"] == trainer.eos_token_ids
    raw, outputs = watched(trainer, monkeypatch)
    early = total = 0
    for whole, output in zip(raw, outputs, strict=True):
        width = whole.size(1) - output["completion_ids"].size(1)
        rows = [cut(row.tolist(), {EOS, A, B}) for row in whole[:, width:]]
        masks = output["completion_mask"]
        assert masks.sum(1).tolist() == [len(row) for row in rows]
        for row, ids, mask in zip(rows, output["completion_ids"], masks, strict=True):
            assert ids[mask.bool()].tolist() == row
        assert int(output["num_items_in_batch"]) == sum(map(len, rows))
        assert truncated(trainer, output).tolist() == [row[-1] not in (EOS, A, B, PAD) for row in rows]
        early += sum(row[-1] in (A, B) for row in rows)
        total += sum(map(len, rows))
    first = next(row for row in trainer.state.log_history if "completions/mean_length" in row)
    lengths = outputs[0]["completion_mask"].sum(1).float()
    ended = ~truncated(trainer, outputs[0])
    assert first["completions/mean_length"] == pytest.approx(float(lengths.mean()))
    assert first["completions/clipped_ratio"] == pytest.approx(float(1 - ended.float().mean()))
    assert first["completions/max_terminated_length"] == float(lengths[ended].max())
    assert early > 3 and total < 16 * LENGTH  # the case is a case


@pytest.mark.parametrize("kind", KINDS)
def test_log_probs_of_kept_tokens_are_those_of_the_row_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make(kind, stop=[A, B], steps_per_generation=2, learning_rate=0.0)
    _, outputs = watched(trainer, monkeypatch)
    for output in outputs:
        for n in range(output["completion_ids"].size(0)):
            prompt = output["prompt_ids"][n][output["prompt_mask"][n].bool()]
            kept = output["completion_ids"][n][output["completion_mask"][n].bool()]
            with torch.no_grad():
                logits = trainer.model(input_ids=torch.cat([prompt, kept])[None]).logits[0, len(prompt) - 1 : -1]
            alone = logits.log_softmax(-1).gather(1, kept[:, None])[:, 0]
            torch.testing.assert_close(output["old_per_token_logps"][n][: len(kept)], alone, rtol=1e-4, atol=1e-5)


def test_values_and_returns_follow_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ended by a stop token is owed nothing after it; what was cut off is owed the value of what comes."""
    spec = {"gae": {"gamma": 1.0, "lam": 1.0, "kl_coef": None}}
    monkeypatch.setitem(KINDS, "ppo", {"objective": tiny.objective(advantages=[spec])})
    trainer = make("ppo", stop=[A, B], max_completion_length=5, max_steps=4)
    _, outputs = watched(trainer, monkeypatch)
    seen = set()
    for output in outputs:
        for n, was_cut in enumerate(truncated(trainer, output).tolist()):
            length = int(output["completion_mask"][n].sum())
            kept = output["completion_ids"][n][:length]
            text = tiny.tokenizer().decode(kept, skip_special_tokens=True)
            owed = float(output["entropostat/old_values"][n, length, 0]) if was_cut else 0.0
            expected = tiny.digits([text])[0] + owed
            assert output["entropostat/returns"][n, length - 1] == pytest.approx(expected, abs=1e-5)
            seen.add((was_cut, int(kept[-1]) in (A, B)))
    assert {(True, False), (False, True)} <= seen


def test_the_penalty_for_not_ending_spares_what_ended_by_a_stop_token(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make("grpo", stop=[A, B], shaping=Shaping(missing_eos_penalty=5.0))
    rewards, shape = [], trainer.shaper.shape
    monkeypatch.setattr(trainer.shaper, "shape", lambda *a, **k: rewards.append(shape(*a, **k)) or rewards[-1])
    _, outputs = watched(trainer, monkeypatch)
    for reward, output in zip(rewards, outputs, strict=True):
        last = [ids[m.bool()][-1] for ids, m in zip(output["completion_ids"], output["completion_mask"], strict=True)]
        assert (reward < 0).tolist() == [int(token) not in (EOS, A, B, PAD) for token in last]


def test_masked_truncation_keeps_what_ended_by_a_stop_token(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make("grpo", stop=[A, B], mask_truncated_completions=True)
    raw, outputs = watched(trainer, monkeypatch)
    for whole, output in zip(raw, outputs, strict=True):
        rows = [cut(r.tolist(), {EOS, A, B}) for r in whole[:, whole.size(1) - output["completion_ids"].size(1) :]]
        kept = [len(row) if row[-1] in (EOS, A, B, PAD) else 0 for row in rows]
        assert output["completion_mask"].sum(1).tolist() == kept and any(kept)


def test_a_trainer_without_stops_of_its_own_ends_where_trl_does() -> None:
    for own, expected in ((None, [EOS]), (EOS, [EOS]), ([A, B], [EOS, A, B]), ([A, EOS], [A, EOS])):
        trainer = make("grpo", own=own)
        assert trainer.eos_token_ids == trainer.generation_config.eos_token_id == expected


def test_a_turn_after_a_tool_begins_anew() -> None:
    """The prompt of a later turn holds the stop tokens of those before: they end nothing that comes."""
    trainer = make("grpo", stop=[A, B], generation_kwargs={"suppress_tokens": [EOS, A, B, PAD]})
    history = [3, A, 5, EOS, 6, B, 9]
    completions, _ = trainer._generate_single_turn([history] * 2, None, {}, 1)
    assert [len(row) for row in completions] == [LENGTH] * 2
    freely = make("grpo", stop=[A, B])
    completions, _ = freely._generate_single_turn([history] * 16, None, {}, 1)
    assert all(row == cut(row, {EOS, A, B}) for row in completions)


def test_turns_of_a_rollout_function_are_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [5, A, 9, 9, 6, B]

    def rollout(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        rows = len(prompts)
        mask = [1, 1, 0, 0, 1, 1]
        logps = [[0.0] * len(turns)] * rows
        return {
            "prompt_ids": [[3]] * rows,
            "completion_ids": [turns] * rows,
            "logprobs": logps,
            "env_mask": [mask] * rows,
        }

    trainer = make("grpo", stop=[A, B])
    trainer.rollout_func = rollout
    outputs, generate = [], trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda *a: outputs.append(generate(*a)) or outputs[-1]
    trainer.train()
    for output in outputs:
        assert (output["completion_mask"] * output["tool_mask"]).tolist() == [[1, 1, 0, 0, 1, 1]] * 8
        assert not truncated(trainer, output).any()


class Engine:
    """Stands in for TRL's VLLMGeneration, and stops where it is told."""

    def __init__(self, **settings: Any) -> None:
        self.generation_kwargs = settings["generation_kwargs"] or {}
        self.temperature, self.length = settings["temperature"], settings["max_completion_length"]
        self.rng = torch.Generator().manual_seed(0)

    def sync_weights(self) -> None: ...

    def generate(self, prompts: list[list[int]], num_generations: int, **_: Any) -> Any:
        ends = set(self.generation_kwargs["stop_token_ids"])
        drawn = torch.randint(0, 28, (len(prompts), self.length), generator=self.rng).tolist()
        rows = [cut(row, ends) for row in drawn]
        return prompts, rows, [[[-3.3]] * len(row) for row in rows], None


@pytest.mark.parametrize("mode, way", [*(("colocate", way) for way in WAYS), ("server", "texts")])
def test_vllm_stops_where_the_trainer_does(mode: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Engine.vllm_client = type(
        "C", (), {"get_server_info": lambda self: {"model_config": {"logprobs_mode": "processed_logprobs"}}}
    )()  # type: ignore[attr-defined]
    monkeypatch.setattr(trl_grpo, "VLLMGeneration", Engine)
    monkeypatch.setattr(packages, "find_spec", lambda module: module)
    extra = {"min_tokens": 2, "temperature": 1.0, **WAYS[way].get("generation_kwargs", {})}
    trainer = make("grpo", **{**WAYS[way], "generation_kwargs": extra}, use_vllm=True, vllm_mode=mode)
    assert trainer.vllm_generation.generation_kwargs == {"min_tokens": 2, "stop_token_ids": trainer.eos_token_ids}
    assert set(trainer.eos_token_ids) == {EOS, A, B}
    outputs, generate = [], trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda *a: outputs.append(generate(*a)) or outputs[-1]
    trainer.train()
    for output in outputs:
        for ids, mask, was_cut in zip(
            output["completion_ids"], output["completion_mask"], truncated(trainer, output), strict=True
        ):
            kept = ids[mask.bool()].tolist()
            assert kept == cut(kept, {EOS, A, B}) and bool(was_cut) == (kept[-1] not in (EOS, A, B, PAD))


@pytest.mark.parametrize("way", ["ids", "generation_kwargs", "the model's own"])
def test_evaluation_ends_and_counts_as_training_does(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make("grpo", **WAYS[way])
    model, tokenizer = trainer.model, trainer.processing_class
    examples = [Example(f"{i}+{i}=", None, {}, str(i)) for i in range(8)]
    settings = EvaluateSettings(
        max_new_tokens=LENGTH, samples=4, k=(1,), stop=tuple(trainer.eos_token_ids), decoding=trainer.decoding
    )
    raw, draw, texts = [], model.generate, []
    monkeypatch.setattr(model, "generate", lambda **k: raw.append((k, draw(**k))) or raw[-1][1])

    def verify(completions: list[str], asked: Any) -> list[Outcome]:
        texts.append(completions)
        return [Outcome(score=0.0)] * len(completions)

    metrics = measured(model, tokenizer, {"set": examples}, verify, settings)
    (given, sampled), (_, greedy) = raw
    width = given["input_ids"].size(1)
    rows = [cut(row.tolist(), {EOS, A, B}) for row in sampled[:, width:]]
    assert metrics["evaluate/set/mean_length"] == pytest.approx(sum(map(len, rows)) / len(rows))
    assert texts[0] == [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
    best = [cut(row.tolist(), {EOS, A, B}) for row in greedy[:, width:]]
    assert texts[1] == [tokenizer.decode(row, skip_special_tokens=True) for row in best]
    attention = torch.cat([given["attention_mask"], torch.zeros_like(sampled[:, width:])], 1)
    for n, row in enumerate(rows):
        attention[n, width : width + len(row)] = 1
    entropy = completion_entropy(model, sampled, attention, width).sum() / sum(map(len, rows))
    assert metrics["evaluate/set/entropy"] == pytest.approx(float(entropy), rel=1e-5)
    assert any(row[-1] in (A, B) for row in rows)


def test_a_stop_string_of_the_model_is_refused_before_the_first_generation() -> None:
    model = tiny.model()
    model.generation_config = GenerationConfig(stop_strings=["ab"], eos_token_id=EOS)
    with pytest.raises(
        ValueError, match=r"^the model's generation_config.stop_strings cannot stand .* use sampler.stop"
    ):
        EntropyGRPOTrainer(
            model=model, reward_funcs=tiny.digits, args=tiny.config(), train_dataset=tiny.prompts(),
            processing_class=tiny.tokenizer(), objective=tiny.objective(),
        )  # fmt: skip
