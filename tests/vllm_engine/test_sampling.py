"""What the engine draws: by the seed, the temperature, the samplers and the ends that the trainer names, in training and in evaluation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support import tiny
from support.log_history import logged
from support.streams import make
from vllm_engine.shared import COLOCATED

from entropostat.data.example import Example
from entropostat.recipe.generation_rules import ENGINE_TEMPERATURES
from entropostat.trainers.evaluation.draws import EvaluateSettings, chunked
from entropostat.trainers.evaluation.engine import drawn_by_engine
from entropostat.trainers.grpo import EntropyGRPOTrainer

ONCE: dict[str, Any] = {**COLOCATED, "steps_per_generation": 1, "per_device_train_batch_size": 8, "max_steps": 1}
EOS, FOUR = 1, 7
"""Ids of the end token and of '4'."""


def watched(trainer: Any) -> list[dict[str, Any]]:
    """What every generation from now on gives to TRL's buffer."""
    seen, generate = [], trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda *a: seen.append(generate(*a)) or seen[-1]
    return seen


def completions(trainer: Any) -> list[list[list[int]]]:
    return [
        [ids[mask.bool()].tolist() for ids, mask in zip(o["completion_ids"], o["completion_mask"], strict=True)]
        for o in watched_to_the_end(trainer)
    ]


def logits(trainer: Any, output: dict[str, Any]) -> torch.Tensor:
    """(B, T, V) of the policy as it is."""
    ids, mask = (torch.cat([output[f"prompt_{x}"], output[f"completion_{x}"]], 1) for x in ("ids", "mask"))
    width = output["completion_ids"].size(1)
    with torch.no_grad():
        return trainer.model(input_ids=ids, attention_mask=mask).logits[:, -width - 1 : -1].float()


def test_the_seed_of_a_run_is_that_of_its_completions(path: str) -> None:
    first, again, other = (completions(tiny.ours(path, **ONCE, seed=seed, shuffle_dataset=False)) for seed in (1, 1, 2))
    assert first == again != other


def test_the_temperature_of_the_moment_is_that_of_the_engine(path: str) -> None:
    """Greedily almost, then nearly evenly: as the schedule of the recipe says, generation by generation."""
    value = {"schedule": {"points": [[0, 0.01], [2, 2.0]], "shape": "hold"}}
    spec = tiny.objective() | {"scalars": [("temperature", "temperature", {"value": value})]}
    trainer = tiny.ours(path, spec, **ONCE | {"max_steps": 4, "learning_rate": 0.0})
    cold, again, hot, _ = watched_to_the_end(trainer)
    shares = [share_of_likeliest(trainer, output) for output in (cold, again, hot)]
    assert min(shares[:2]) > 0.5 and shares[2] < 0.2
    assert trainer.vllm_generation.temperature == trainer.temperature == 1.0
    assert max(logged(trainer, "sampling/sampling_logp_difference/mean")[2:]) < 0.01


def watched_to_the_end(trainer: Any) -> list[dict[str, Any]]:
    seen = watched(trainer)
    trainer.train()
    return seen


def share_of_likeliest(trainer: Any, output: dict[str, Any]) -> float:
    likeliest = logits(trainer, output).argmax(-1) == output["completion_ids"]
    return float(likeliest[output["completion_mask"].bool()].float().mean())


def test_it_samples_at_the_temperatures_that_we_say_and_at_no_other() -> None:
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError

    low, high = ENGINE_TEMPERATURES
    assert [SamplingParams(temperature=t).temperature for t in (low / 2, low, high)] == [low, low, high]
    with pytest.raises(VLLMValidationError, match="temperature must be in"):
        SamplingParams(temperature=high * 1.01)


def test_min_p_forbids_and_the_gap_is_the_share_that_it_took_away(path: str) -> None:
    trainer = tiny.ours(path, **ONCE, min_p=0.97)
    seen = watched(trainer)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    trainer.model.load_state_dict(before)
    output, (gap,) = seen[0], logged(trainer, "trust/sampler_gap")
    p = logits(trainer, output).softmax(-1)
    drawn = p.gather(-1, output["completion_ids"][..., None])[..., 0] / p.amax(-1)
    valid = output["completion_mask"].bool()
    assert drawn[valid].min() > 0.97 - 0.02, "as far as bfloat16 tells them apart"
    kept = torch.where(p >= 0.97 * p.amax(-1, keepdim=True), p, 0.0).sum(-1)
    assert gap == pytest.approx(float(-kept.log()[valid].mean()), rel=0.2) and gap > 0.5


@pytest.mark.parametrize("by", ["stop", "generation_kwargs"])
def test_a_stop_token_ends_a_completion_in_the_engine_and_in_the_masks(path: str, by: str) -> None:
    spelt = {"stop": ["4"]} if by == "stop" else {}
    kwargs = {"generation_kwargs": {"stop_token_ids": [FOUR]}} if by == "generation_kwargs" else {}
    trainer = EntropyGRPOTrainer(
        model=path, reward_funcs=tiny.digits, train_dataset=tiny.prompts(), objective=tiny.objective(), **spelt,
        args=tiny.config(**ONCE | kwargs | {"per_device_train_batch_size": 32, "max_completion_length": 40}),
    )  # fmt: skip
    (rows,) = completions(trainer)
    ended = [row for row in rows if row[-1] == FOUR]
    assert ended and any(row[-1] == EOS for row in rows)
    assert not any(FOUR in row[:-1] or EOS in row[:-1] for row in rows)
    unended = sum(row[-1] not in (FOUR, EOS) for row in rows) / len(rows)
    assert logged(trainer, "completions/clipped_ratio") == [pytest.approx(unended)]


def test_further_rollouts_are_drawn_hotter_and_scored_at_the_trainers_temperature(path: str) -> None:
    spec = tiny.objective(penalties=[{"aepo": {"coef": 0.5, "target": 5.0, "success": -1.0, "share": 1.0}}])
    trainer = tiny.ours(path, spec, **ONCE)
    asked, generate = [], trainer.vllm_generation.generate
    trainer.vllm_generation.generate = lambda **k: asked.append(trainer.vllm_generation.temperature) or generate(**k)
    trainer.train()
    assert asked == [1.0, 1.2] and trainer.vllm_generation.temperature == 1.0
    assert logged(trainer, "aepo/temperature") == [1.2]
    assert math.isfinite(logged(trainer, "loss")[0])


def test_every_round_of_dynamic_sampling_asks_the_engine_for_other_completions(path: str) -> None:
    trainer = make(path, [{"dynamic_sampling": {}}], **COLOCATED, max_steps=6, max_completion_length=2)
    asked, generate = [], trainer.vllm_generation.generate

    def watch(prompts: list[list[int]], **rest: Any) -> Any:
        found = generate(prompts=prompts, **rest)
        asked.append((prompts, found[1]))
        return found

    trainer.vllm_generation.generate = watch
    trainer.train()
    rounds = sum(logged(trainer, "dynamic_sampling/rounds"))
    assert rounds >= 1 and len(asked) == 3 + rounds
    assert len({str(prompts) for prompts, _ in asked}) == len(asked), "other prompts in every round"
    assert max(logged(trainer, "sampling/sampling_logp_difference/mean")) < 0.01


SETS = {"a": [Example(f"{i}+{i}=", None, {}, str(i)) for i in range(4)]}


def test_an_evaluation_is_drawn_with_the_weights_of_the_moment_and_greedily_as_transformers_would(path: str) -> None:
    trainer = tiny.ours(path, **ONCE)
    trainer.train()
    with (
        torch.no_grad()
    ):  # as the best checkpoint may have been loaded since: now the least likely token is the likeliest
        trainer.model.get_output_embeddings().weight.mul_(-10)
    settings = EvaluateSettings(max_new_tokens=6, samples=3, k=(1,), temperature=0.01)
    chunks = chunked(SETS, settings, trainer)
    draw = drawn_by_engine(trainer, chunks, settings)
    drawn = draw(chunks[0])
    assert len(drawn.samples) == 12 and len(drawn.greedy) == 4
    for prompt, row in zip(chunks[0].prompts, drawn.greedy, strict=True):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            for token in row:
                scores = trainer.model(ids).logits[0, -1]
                assert scores[token] > scores.max() - 0.1, "the likeliest, as far as bfloat16 tells them apart"
                ids = torch.cat([ids, torch.tensor([[token]])], 1)
