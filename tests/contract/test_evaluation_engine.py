"""An evaluation of a run that samples by vLLM: drawn by the same engine, with the weights of the moment, and as the block says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import trl.trainer.grpo_trainer as trl_grpo
from support import tiny

from entropostat.data.example import Example
from entropostat.recipe import load
from entropostat.reward.judge import Outcome
from entropostat.reward.scoring import Scorer
from entropostat.trainers import packages
from entropostat.trainers.evaluation.draws import EvaluateSettings, chunked
from entropostat.trainers.evaluation.engine import drawn_by_engine
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.measurement import measurement

EOS, LENGTH = 1, 5
SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_completion_length",
    "generation_kwargs",
    "repetition_penalty",
)


class Engine:
    """Stands in for TRL's VLLMGeneration. It answers with the last token of the prompt, then with a count of its answers: so it is
    seen whose answer went where. It knows the weights that it was sent last, as TRL's does.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings, self.model = settings, settings["model"]
        for name in SAMPLING:
            setattr(self, name, settings[name])
        self.generation_kwargs = settings["generation_kwargs"] or {}
        self.calls: list[dict[str, Any]] = []
        self.synced: list[float] = []

    def sync_weights(self) -> None:
        self.synced.append(float(next(self.model.parameters()).detach().sum()))

    def generate(self, prompts: list[list[int]], images: Any, num_generations: int, profiler: Any = None) -> Any:
        assert all(prompts[i] == prompts[i - i % num_generations] for i in range(len(prompts))), "groups lie together"
        self.calls.append(
            {"prompts": prompts, "n": num_generations, **{name: getattr(self, name) for name in SAMPLING}}
        )
        rows = [[prompt[-1], 3 + i % num_generations, *([EOS] if i % 2 else [])] for i, prompt in enumerate(prompts)]
        return prompts, rows, [[[-3.3] for _ in row] for row in rows], None


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(trl_grpo, "VLLMGeneration", Engine)
    monkeypatch.setattr(packages, "find_spec", lambda module: module)
    return EntropyGRPOTrainer(
        model=tiny.model(), reward_funcs=tiny.digits, processing_class=tiny.tokenizer(), train_dataset=tiny.prompts(),
        objective=tiny.objective(),
        args=tiny.config(
            use_vllm=True, vllm_mode="colocate", vllm_importance_sampling_correction=False, temperature=0.8, top_p=0.9,
            generation_kwargs={"min_tokens": 1, "seed": 3}, max_completion_length=LENGTH, steps_per_generation=1,
            per_device_train_batch_size=8,
        ),
    )  # fmt: skip


SETS = {"a": [Example(f"{i}+{i}", None, {}, str(i)) for i in range(5)], "b": [Example("7+8", None, {}, "b")]}
SETTINGS = EvaluateSettings(max_new_tokens=LENGTH, samples=2, k=(1, 2), batch=4, temperature=0.5, top_p=0.7, top_k=4)


def state(engine: Engine) -> dict[str, Any]:
    return {name: getattr(engine, name) for name in SAMPLING}


def test_all_ranks_ask_alike_and_each_gets_its_own(trainer: Any) -> None:
    engine, chunks = trainer.vllm_generation, chunked(SETS, SETTINGS, trainer)
    assert [len(chunk.prompts) for chunk in chunks] == [2, 2, 1, 1]
    for world in (1, 2, 3, 5):
        shapes = []
        for rank in range(world):
            engine.calls.clear()
            draw = drawn_by_engine(trainer, chunks, SETTINGS, rank, world)
            shapes.append([(len(call["prompts"]), call["n"]) for call in engine.calls])
            for chunk in chunks[rank::world]:
                samples, greedy = draw(chunk)
                assert [row[0] for row in samples] == [prompt[-1] for prompt in chunk.prompts for _ in range(2)]
                assert [row[0] for row in greedy] == [prompt[-1] for prompt in chunk.prompts]
                assert [row[1] for row in samples] == [3, 4] * len(chunk.prompts), "other samples of a prompt"
        assert all(shape == shapes[0] for shape in shapes), "the engine gathers from all ranks"


def test_it_samples_as_the_block_says_then_greedily_and_leaves_the_engine_as_it_was(trainer: Any) -> None:
    engine = trainer.vllm_generation
    before = state(engine)
    drawn_by_engine(trainer, chunked(SETS, SETTINGS, trainer), SETTINGS)
    sampled, greedy = engine.calls[0], engine.calls[1]
    assert [sampled[name] for name in ("temperature", "top_p", "top_k", "min_p", "n")] == [0.5, 0.7, 4, None, 2]
    assert [greedy[name] for name in ("temperature", "top_p", "top_k", "min_p", "n")] == [0.0, 1.0, 0, None, 1]
    for call in engine.calls:
        assert call["max_completion_length"] == LENGTH and call["repetition_penalty"] == 1.0
        kwargs = call["generation_kwargs"]
        assert kwargs == {"min_tokens": 1, "stop_token_ids": trainer.eos_token_ids}, "with one seed all samples are one"
    assert state(engine) == before and engine.generation_kwargs["seed"] == 3

    def broken(*_: Any, **__: Any) -> None:
        raise ConnectionError

    engine.generate = broken
    with pytest.raises(ConnectionError):
        drawn_by_engine(trainer, chunked(SETS, SETTINGS, trainer), SETTINGS)
    assert state(engine) == before


def test_a_recipe_is_measured_by_the_engine_with_the_weights_of_the_moment(trainer: Any) -> None:
    engine = trainer.vllm_generation
    recipe = load(
        "entropostat:quickstart/plain.yaml",
        ["evaluate={samples: 2, k: [1], reference: false, top_k: 4}", "sampler.top_p=.9"],
    )

    seen: list[tuple[str, Any]] = []

    def verify(completions: Any, examples: Any) -> list[Outcome]:
        seen.extend(zip(completions, [example.prompt for example in examples], strict=True))
        return [Outcome(score=1.0)] * len(completions)

    judging: Any = SimpleNamespace(
        judge=lambda _: "digits", strategies=lambda _: (), verify=verify, learned=lambda *_: {}
    )
    measure = measurement(recipe, trainer, judging, SETS, "")
    trainer.train()
    engine.calls.clear()
    with torch.no_grad():  # as the best checkpoint may have been loaded since
        next(trainer.model.parameters()).add_(1)
    metrics = measure()
    assert engine.synced[-1] == pytest.approx(float(next(trainer.model.parameters()).detach().sum()), rel=1e-5)
    assert trainer._last_loaded_step == trainer.state.global_step
    assert {call["temperature"] for call in engine.calls} == {1.0, 0.0}, "the recipe's, and greedy"
    assert engine.calls[0]["top_p"] == 0.9 and engine.calls[0]["top_k"] == 4
    assert len(seen) == 6 * 3 and all(said[0] == prompt[-1] for said, prompt in seen)
    assert metrics["evaluate/a/pass@1"] == 1.0 and metrics["evaluate/b/mean_length"] == 2.5
    assert metrics["evaluate/a/distinct"] == 2.0 and metrics["evaluate/a/entropy"] > 0


def test_without_vllm_no_engine_is_asked(trainer: Any) -> None:
    trainer.use_vllm = False
    recipe = load("entropostat:quickstart/plain.yaml", ["evaluate={samples: 2, k: [1], reference: false, prompts: 2}"])
    assert "evaluate/a/entropy" in measurement(recipe, trainer, Scorer({}), SETS, "")()
    assert not trainer.vllm_generation.calls and not trainer.vllm_generation.synced


def test_a_controller_moves_the_temperature_no_further_than_the_engine_goes(
    monkeypatch: pytest.MonkeyPatch, trainer: Any
) -> None:
    value: Any = {"schedule": {"points": [[0, 0.001], [2, 9.0]], "shape": "hold"}}
    heated = lambda value, **how: EntropyGRPOTrainer(
        model=tiny.saved(), reward_funcs=tiny.digits, train_dataset=tiny.prompts(),
        objective=tiny.objective() | {"scalars": [("temperature", "temperature", {"value": value})]},
        args=tiny.config(**{"use_vllm": True, "steps_per_generation": 1, "max_steps": 4, **how}),
    )  # fmt: skip
    ours = heated(value)
    ours.train()
    assert [call["temperature"] for call in ours.vllm_generation.calls] == [0.01, 0.01, 2.0, 2.0]
    with pytest.raises(ValueError, match=r"objective\.scalars\.temperature: 3: vLLM samples at 0.01 to 2$"):
        heated(3.0)
    with pytest.raises(ValueError, match=r"^temperature: 0.001: vLLM samples at 0.01 to 2$"):
        heated(1.0, temperature=0.001)
    assert heated(3.0, use_vllm=False).objective.scalar("temperature").value == 3.0
