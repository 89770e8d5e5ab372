"""The plan's estimate of memory and communication: shapes, formulas against torch's own tensors, and what plan says of it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cost import scaling, scaling_cases, scaling_docs
from entropostat.__main__ import main
from entropostat.cli.plan import plan
from entropostat.recipe import load
from entropostat.recipe.blocks import Build, Critic, Peft
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.machine_blocks import STRATEGIES
from entropostat.scaling import source
from entropostat.scaling.activations import activations
from entropostat.scaling.communication import communication, seconds
from entropostat.scaling.memory import memory
from entropostat.scaling.presets import PRESETS, named
from entropostat.scaling.run import Run, of_recipe
from entropostat.scaling.shape import UnknownShape, from_config
from entropostat.trainers.build.pretrain import make_model, make_tokenizer

SEVEN = str(RECIPES / "models" / "qwen2.5-7b-grpo.yaml")
PLAIN = str(RECIPES / "quickstart" / "plain.yaml")
SHAPE = PRESETS["qwen2.5-7b"].shape
RUN = Run(SHAPE, "zero3", world=8, micro=2, accumulation=4, slices=8, updates=Fraction(2), dtype=2, mixed=True)


# ---------------------------------------------------------------------------------------------- shapes


def test_weights_and_states_are_counted_exactly() -> None:
    """Three families, tied and not, every preset, value heads, AdamW in two precisions, and Muon."""
    rows = scaling.exact()
    assert len(rows) == 6 + len(PRESETS) + 2 + 3
    assert [row for row in rows if row["measured"] != row["computed"]] == []


def test_a_preset_has_the_published_number_of_weights() -> None:
    assert {name: preset.shape.parameters - preset.parameters for name, preset in PRESETS.items()} == dict.fromkeys(
        PRESETS, 0
    )


def test_the_built_policy_has_the_shape_that_plan_takes() -> None:
    block = Build(hidden=32, layers=3, heads=4, ff=40)
    built = make_model(block, make_tokenizer())
    assert source.built(block).parameters == sum(p.numel() for p in built.parameters())
    assert source.built(block) == from_config(built.config.to_dict())


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3-70b"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m"),
        ("Qwen/Qwen2.5-7Billion", None),
        ("Qwen/Qwen2.5-Math-7B", None),
    ],
)
def test_a_name_means_a_preset_only_as_a_whole(name: str, preset: str | None) -> None:
    assert named(name) == preset


def test_a_local_configuration_comes_before_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "qwen2.5-7b"
    folder.mkdir()
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 128, "vocab_size": 100}))
    shape, where = source.find(load(PLAIN, [f"model={{path: {folder}}}"]))
    assert (shape.layers, where) == (2, str(folder / "config.json"))
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnknownShape, match="has no intermediate_size"):
        source.find(load(PLAIN, [f"model={{path: {folder}}}"]))


def test_an_unknown_model_is_said_to_be_so_in_one_line_and_plan_goes_on() -> None:
    planned = plan(load(PLAIN, ["model={path: someone/something-new}"]))
    (line,) = planned["scaling"]["text"]
    assert "someone/something-new is not on this machine" in line and "--shape" in line and "\n" not in line
    (line,) = plan(load(PLAIN, ["trainer.max_completion_length=null"]))["scaling"]["text"]
    assert "max_completion_length is null" in line
    with pytest.raises(UnknownShape, match="model_type 'gemma3'"):
        from_config({"model_type": "gemma3"})


# ---------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("name", ["float32", "bfloat16, checkpointing"])
def test_the_live_bytes_of_a_training_step_are_foreseen(name: str) -> None:
    case = scaling_cases.training("qwen2", *scaling_cases.TRAINING[name])
    assert case["computed"] == pytest.approx(case["measured"], rel=0.02)
    assert case["computed before the backward"] == pytest.approx(case["measured before the backward"], rel=0.011)


def size(run: Run, *names: str) -> float:
    return sum(item.size for item in memory(run).items if item.name in names)


def test_each_strategy_splits_what_zero_says() -> None:
    """ZeRO's table: of 16 bytes a weight, each stage divides one part more by the number of ranks."""
    count = SHAPE.parameters
    runs = {name: RUN.under(name) for name in STRATEGIES}
    assert size(runs["zero1"], "weights", "gradients") == 4 * count
    assert size(runs["zero2"], "weights", "gradients") == pytest.approx((2 + 2 / 8) * count)
    assert size(runs["zero3"], "weights", "gradients") == pytest.approx(4 / 8 * count)
    for name in ("zero1", "zero2", "zero3", "zero3-offload"):
        assert size(runs[name], "optimizer") == pytest.approx(12 / 8 * count)
    assert size(runs["ddp"], "gradients", "DDP's buckets") == 2 * size(runs["single"], "gradients")
    assert memory(runs["zero3-offload"]).host > 0 == memory(runs["zero3"]).host


def test_whole_gradients_under_fsdp_are_the_price_of_accumulation() -> None:
    run = RUN.under("fsdp2")
    alone = dataclasses.replace(run, accumulation=1)
    assert memory(run).at("layers")["gradients"] == 2 * SHAPE.parameters
    assert memory(alone).at("layers")["gradients"] == 4 * SHAPE.parameters / 8


def test_no_item_grows_with_tokens_times_vocabulary() -> None:
    """Ten times the tokens: the tile is full already, and the head's gradient does not know of them."""
    head = lambda run: next(i.size for i in activations(run) if i.name.startswith("logits"))
    many = dataclasses.replace(RUN, micro=20, completion=4096)
    assert head(many) - head(dataclasses.replace(many, micro=10)) == 10 * 4096 * SHAPE.hidden * 6
    assert head(many) < many.micro * many.completion * SHAPE.vocabulary * 4 / 3


def test_second_models_cost_what_they_are() -> None:
    copy = {"reference": True, "checkpointing": True}
    full = dataclasses.replace(RUN.under("ddp"), **copy)
    assert size(full, "reference") == 2 * SHAPE.parameters
    assert size(dataclasses.replace(full, moving="ema"), "its average in float32") == 4 * SHAPE.parameters
    adapter = dataclasses.replace(full, peft=Peft(r=8))
    assert size(adapter, "reference") == 0
    assert 0 < size(dataclasses.replace(adapter, moving="ema"), "reference") < 0.01 * size(full, "reference")
    assert size(adapter, "optimizer") < 0.01 * size(full, "optimizer")
    trunk = dataclasses.replace(full, critic=Critic(trunk="separate"))
    heads = dataclasses.replace(full, critic=Critic())
    assert size(trunk, "weights") - size(heads, "weights") == 2 * SHAPE.backbone
    assert size(heads, "weights") - size(full, "weights") == 2 * (SHAPE.hidden + 1)
    assert size(trunk, "activations") == 2 * size(heads, "activations")


def test_vllm_takes_its_share_and_sleeps() -> None:
    run = dataclasses.replace(RUN, vllm="colocate", vllm_share=0.4, gpu=80 * 2**30)
    assert memory(run).at("head")["vLLM"] == 32 * 2**30
    asleep = memory(dataclasses.replace(run, vllm_sleeps=True))
    assert "vLLM" not in asleep.at("head") and "vLLM" in asleep.at("generate")
    assert size(dataclasses.replace(run, gpu=None, vllm_parallel=4), "vLLM") == SHAPE.parameters / 2
    assert size(run, "KV cache") == 0 < size(RUN, "KV cache")


def test_the_cache_holds_two_numbers_for_each_key_layer_and_token() -> None:
    tokens = RUN.rollouts * (512 + 512)
    assert size(RUN, "KV cache") == tokens * 2 * (4 * 128) * (28 + 1) * 2


# ---------------------------------------------------------------------------------------------- communication


def sent(run: Run, name: str) -> float:
    return sum(t.sent for t in communication(run) if t.name == name)


def test_rings_send_what_their_formulas_say() -> None:
    count = SHAPE.parameters
    assert sent(RUN.under("ddp"), "gradients") == pytest.approx(2 * 7 / 8 * 2 * count)
    assert sent(RUN.under("zero2"), "gradients") == 4 * sent(RUN.under("zero1"), "gradients")
    assert sent(RUN, "gradients") == pytest.approx(4 * 7 / 8 * 2 * count)
    scored = dataclasses.replace(RUN, scored=1)
    assert sent(scored, "weights in scoring") == pytest.approx(4 * 7 / 8 * 2 * count)
    assert sent(RUN, "weights to generate") == pytest.approx(7 / 8 * 2 * count / 2)
    assert communication(RUN.under("single")) == []


def test_the_slowest_link_sets_the_pace() -> None:
    near, far = RUN, dataclasses.replace(RUN, machines=2)
    assert seconds(far, communication(far), 300, 30) == 10 * seconds(near, communication(near), 300, 30)


# ---------------------------------------------------------------------------------------------- plan


def test_a_recipe_gives_its_own_numbers() -> None:
    recipe = load(SEVEN, ["launch.gpu_memory=80"])
    run = of_recipe(recipe, SHAPE)
    assert (run.world, run.micro, run.accumulation, run.slices, run.updates) == (8, 4, 8, 64, 8)
    assert (run.prompt, run.completion, run.dtype, run.mixed, run.scored) == (2048, 8192, 2, True, 1)
    assert (run.vllm, run.vllm_share, run.vllm_sleeps, run.gpu) == ("colocate", 0.4, True, 80 * 2**30)
    assert not run.reference and of_recipe(load(SEVEN, ["objective.penalties.+kl_ref={}"]), SHAPE).reference
    assert of_recipe(load(SEVEN, ["objective.penalties.+kl_ref={reference: ema}"]), SHAPE).moving == "ema"
    assert of_recipe(load(SEVEN, ["objective.penalties.+renyi_bonus={}"]), SHAPE).own_pass


def test_every_recipe_gets_an_estimate() -> None:
    for path in sorted((RECIPES / "models").glob("*.yaml")) + sorted((RECIPES / "quickstart").glob("*.yaml")):
        estimate = plan(load(path, ()))["scaling"]
        assert estimate["memory"]["peak"] == pytest.approx(sum(estimate["memory"]["items"].values())), path
        assert estimate["memory"]["largest"] in estimate["memory"]["items"], path


def test_too_small_a_gpu_is_a_warning_that_names_item_and_way_out() -> None:
    lints = lambda *more: [x for x in plan(load(SEVEN, more))["lints"] if x["key"] == "launch.gpu_memory"]
    assert lints() == lints("launch.gpu_memory=80") == []
    (lint,) = lints("launch.gpu_memory=24")
    assert lint["level"] == "warning" and "most of it" in lint["message"] and "--scaling" in lint["fix"]
    keys = [x["key"] for x in plan(load(SEVEN, ["launch.gpu_memory=24"]))["lints"]]
    assert "trainer.vllm_gpu_memory_utilization" in keys


def test_the_strategies_stand_side_by_side(capsys: Any) -> None:
    assert main(["plan", SEVEN, "--scaling", "--gpu-memory", "80", "--shape", "qwen2.5-7b"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line.split()[0] in STRATEGIES] == list(STRATEGIES)
    (ddp,) = (line for line in out.splitlines() if line.startswith("ddp"))
    assert " !" in ddp and "more than the GPU's 80 GiB" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bandwidth", "300"], "--bandwidth: '300' is not two numbers"),
        (["--bandwidth", "0,1"], "--bandwidth: '0,1' is not two numbers"),
        (["--gpu-memory", "-1"], "launch.gpu_memory: must be at least 1e-18 and at most 1e+12, not -1"),
    ],
)
def test_a_wrong_flag_is_one_line(capsys: Any, words: list[str], message: str) -> None:
    assert main(["plan", PLAIN, *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


# ---------------------------------------------------------------------------------------------- page


def test_the_page_shows_the_commands_own_output() -> None:
    page = scaling_docs.PAGE.read_text()
    assert len(scaling_docs.BLOCK.findall(page)) == 5
    assert scaling_docs.renewed(page) == page, "run: python -m benchmarks.cost.scaling --docs"


def test_the_sums_of_the_page_are_right() -> None:
    page = scaling_docs.PAGE.read_text()
    sums = re.findall(r"^([\d(][\d.e*/+() ]*) = ([\d.]+) +#", page, re.MULTILINE)
    assert len(sums) == 10
    for expression, result in sums:
        digits = len(result.partition(".")[2])
        assert eval(expression, {}) == pytest.approx(float(result), abs=0.51 * 10**-digits), expression


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="DeepSpeed runs on Linux only")
@pytest.mark.parametrize("case", ["ddp", "zero1", "zero2", "zero3", "zero3, nothing stays gathered"])
def test_two_processes_hand_over_what_the_formulas_say(case: str) -> None:
    rows = scaling.ranks(case)
    assert len(rows) >= 2
    assert [row for row in rows if row["measured"] != row["computed"]] == []
