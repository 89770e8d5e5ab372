"""What each check of the checklist asks of a GPU, tried on a machine that has none: all of it but the run itself."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.smoke import sampler, training
from benchmarks.smoke.checklist import find
from benchmarks.smoke.checks import kernel_speed, kernels, memory, overhead, resume, versions, vllm_server
from benchmarks.smoke.row import Failed, Place, Seen, Skipped
from benchmarks.smoke.runner import run
from entropostat import gate
from entropostat.cli import launch
from entropostat.recipe import load

ENGINES = {
    "single": "Qwen3ForCausalLM",
    "ddp": "DistributedDataParallel",
    "zero3": "DeepSpeedEngine, stage 3",
    "fsdp2": "FSDPQwen3ForCausalLM",
}


class Card:
    """Stands for `entropostat launch` on a machine with GPUs: reads and plans the recipe, and leaves what a run would leave."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
        self.runs: list[Any] = []
        self.env: list[dict[str, str]] = []
        self.changes: dict[str, Any] = {}
        """Of the last row."""
        self.told: dict[str, Any] = {}
        """Of run.json and summary.json, in place of what is true."""
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(f"GPU-{i}" for i in range(gpus)))
        monkeypatch.setattr(training, "entropostat", self)

    def __call__(self, words: list[str], env: dict[str, str]) -> None:
        again = "--resume" in words
        said = words[2 : words.index("--resume")] if again else words[2:]
        recipe = load(words[1], said)
        assert gate.reasons(gate.findings(recipe)) == []
        seen = len(
            (env | {"CUDA_VISIBLE_DEVICES": env.get("CUDA_VISIBLE_DEVICES", "GPU-0" * 8)})[
                "CUDA_VISIBLE_DEVICES"
            ].split(",")
        )
        launch.command(recipe, said, seen, {})
        folder = recipe.run_dir
        (folder / "final").mkdir(parents=True, exist_ok=again)
        steps = recipe.trainer["max_steps"]
        rows: list[dict[str, Any]] = [
            {"step": i, "loss": 0.1, "grad_norm": 0.5, "entropy": 2.0, "kl": 0.01 * (i > 1)}
            for i in range(1, steps + 1)
        ]
        if recipe.trainer.get("use_vllm"):
            rows[-1][sampler.GAP] = 0.004
        rows[-1] |= self.changes
        (folder / "metrics.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in [*rows, {"step": steps, "evaluate/x": 1}])
        )
        facts = {
            "world_size": recipe.launch.num_processes or 1,
            "device": "cuda:0",
            "engine": ENGINES[recipe.launch.strategy],
        }
        for name in ("run", "summary"):
            (folder / f"{name}.json").write_text(json.dumps(facts | self.told))
        (folder / "final" / "config.json").write_text(json.dumps({"dtype": recipe.model.dtype}))
        self.runs.append(recipe)
        self.env.append(env)


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> Card:
    return Card(monkeypatch, 8)


def made(name: str, tmp_path: Path, gpus: int = 8) -> Seen:
    return find(name).load().check(Place("cuda", gpus, tmp_path))


@pytest.mark.parametrize(
    ("name", "strategy", "processes", "dtype"),
    [("bf16", "single", 1, "bfloat16"), ("zero3", "zero3", 8, "bfloat16"), ("fsdp2", "fsdp2", 8, "bfloat16")],
)
def test_a_run_has_the_engine_of_its_row_on_all_gpus(
    eight: Card, name: str, strategy: str, processes: int, dtype: str, tmp_path: Path
) -> None:
    seen = made(name, tmp_path)
    (recipe,) = eight.runs
    assert (recipe.launch.strategy, recipe.model.dtype, recipe.trainer["max_steps"]) == (strategy, dtype, 10)
    assert recipe.launch.num_processes in (processes, None) and recipe.trainer["bf16"] is True
    assert f"{ENGINES[strategy]} on {processes} process(es), first on cuda:0; loss 0.1" in seen.text


@pytest.mark.parametrize(
    ("changes", "told", "why"),
    [
        ({"loss": math.nan}, {}, "step 10: loss is missing or not finite"),
        ({"kl": math.inf}, {}, "kl is missing or not finite"),
        ({"entropy": None}, {}, "entropy is missing or not finite"),
        ({"grad_norm": 0.0}, {}, "step 10: the gradient is 0"),
        ({"kl": 0.0}, {}, "the policy is still the reference"),
        ({}, {"engine": "DistributedDataParallel"}, "wanted was DeepSpeedEngine, stage 3"),
        ({}, {"world_size": 1}, "wanted were 8"),
        ({}, {"device": "cpu"}, "wanted was cuda"),
    ],
)
def test_a_run_that_is_not_sound_fails(
    eight: Card, changes: dict[str, Any], told: dict[str, Any], why: str, tmp_path: Path
) -> None:
    eight.changes, eight.told = changes, told
    with pytest.raises(Failed, match=why):
        made("zero3", tmp_path)


def test_a_run_that_ends_early_fails(eight: Card, tmp_path: Path) -> None:
    trained = training.train(Place("cuda", 8, tmp_path), "trainer.max_steps=7")
    with pytest.raises(Failed, match="7 of 10 steps"):
        training.sound(trained, Place("cuda", 8, tmp_path), "Qwen3", 1)


def test_bf16_is_asked_of_the_weights_too(eight: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.smoke.checks.bf16.HALF", ("trainer.bf16=true",))
    with pytest.raises(Failed, match="saved in float32"):
        made("bf16", tmp_path)


@pytest.fixture
def with_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "find_spec", lambda name: object())


@pytest.mark.usefixtures("with_vllm")
def test_vllm_has_to_sample_from_the_newest_weights(eight: Card, tmp_path: Path) -> None:
    assert "0.0040 nats apart" in made("vllm_colocate", tmp_path / "good").text
    assert eight.runs[-1].trainer["vllm_mode"] == "colocate" and eight.runs[-1].launch.strategy == "ddp"
    eight.changes = {sampler.GAP: 0.3}
    with pytest.raises(Failed, match=r"0\.3000 nats apart"):
        made("vllm_colocate", tmp_path / "stale")
    eight.changes = {sampler.GAP: None}
    with pytest.raises(Failed, match="vLLM did not sample"):
        made("vllm_colocate", tmp_path / "unused")


@pytest.mark.usefixtures("with_vllm")
def test_vllm_s_server_has_the_last_gpu_and_the_training_the_others(
    eight: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[list[str], dict[str, str]]] = []
    popen = subprocess.Popen

    def serve(words: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        started.append((words, env))
        return popen([sys.executable, "-c", "import time; time.sleep(60)"])

    monkeypatch.setattr(vllm_server.subprocess, "Popen", serve)
    monkeypatch.setattr(vllm_server, "wait", lambda port, process: None)
    monkeypatch.setattr(vllm_server, "policy", lambda place: str(tmp_path / "policy"))
    made("vllm_server", tmp_path)
    ((words, env),) = started
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-7" and env["VLLM_SERVER_DEV_MODE"] == "1"
    assert eight.env == [{"CUDA_VISIBLE_DEVICES": ",".join(f"GPU-{i}" for i in range(7))}]
    trained = eight.runs[0]
    assert (trained.launch.num_processes, trained.trainer["vllm_mode"]) == (7, "server")
    assert words[words.index("--port") + 1] == str(trained.trainer["vllm_server_port"])
    assert words[words.index("serve") + 1] == trained.model.path == str(tmp_path / "policy")


def test_a_server_that_ends_or_is_late_is_no_server() -> None:
    gone = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(RuntimeError, match="ended with 3 before it answered"):
        vllm_server.wait(vllm_server.free_port(), gone)
    late = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with pytest.raises(RuntimeError, match=r"did not answer within 0\.2 s"):
            vllm_server.wait(vllm_server.free_port(), late, patience=0.2)
    finally:
        late.kill()
        late.wait()


def test_what_is_missing_is_a_reason_to_skip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def why(name: str, device: Any, gpus: int) -> str:
        with pytest.raises(Skipped) as skipped:
            find(name).load().check(Place(device, gpus, tmp_path))
        return str(skipped.value)

    assert "no FSDP on CPUs" in why("fsdp2", "cpu", 0) and "on GPUs only" in why("vllm_colocate", "cpu", 0)
    assert "interpreted" in why("kernel_speed", "cpu", 0)
    monkeypatch.setattr(sampler, "find_spec", lambda name: None)
    assert "entropostat[vllm]" in why("vllm_colocate", "cuda", 1)
    monkeypatch.setattr(sampler, "find_spec", lambda name: object())
    assert why("vllm_server", "cuda", 1) == "needs 2 GPUs, one for the server, and there is 1"
    for module in (kernels, kernel_speed):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert why("kernels", "cuda", 1) == why("kernel_speed", "cuda", 1) == "Triton is not installed"


def test_the_steps_after_a_resume_are_those_before_it() -> None:
    first = [{"step": i, "loss": 0.1 * i, "grad_norm": 1.0, "entropy": 2.0, "kl": 0.01} for i in range(1, 7)]
    assert resume.judge(first, first).numbers == {"apart": 0.0}
    for step, factor in ((4, 1.002), (6, 0.998)):
        again = [row | {"entropy": 2.0 * factor} if row["step"] == step else row for row in first]
        with pytest.raises(Failed, match=r"2\.0e-03 apart"):
            resume.judge(first, again)
    with pytest.raises(Failed, match=r"has steps \[1, 2, 3, 4, 5\]"):
        resume.judge(first, first[:5])


def test_overhead_is_judged_by_the_lower_end_of_its_interval() -> None:
    def result(low: float) -> dict[str, Any]:
        ours = {"pairs": 40, "median": 1.1, "low": low, "high": 1.2}
        return {"ours / stock": ours, "stock / stock": ours | {"median": 1.0}, "median seconds": {}}

    assert (
        "1.100 [1.020, 1.200] of 40 paired steps, stock / stock 1.000" in overhead.told(result(1.02), judged=True).text
    )
    assert "not judged" in overhead.told(result(1.05), judged=False).text
    with pytest.raises(Failed, match=r"lower end at most 1\.03"):
        overhead.told(result(1.05), judged=True)


@pytest.mark.parametrize(("measured", "fits"), [(0.5, False), (0.7, True), (1.05, True), (1.2, False)])
def test_memory_is_held_between_the_estimate_and_the_room_that_it_leaves(measured: float, fits: bool) -> None:
    if fits:
        assert f"{measured:.3f} of it" in memory.judge(measured * 2**30, 2.0**30).text
    else:
        with pytest.raises(Failed, match=r"estimated 1.00 GiB.*wanted was 0.6 to 1.11"):
            memory.judge(measured * 2**30, 2.0**30)


def test_the_run_whose_memory_is_measured_may_run_and_is_large_enough_to_measure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def configured(device: str, folder: Path) -> Path:
        folder.mkdir()
        heads = {"num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 64, "tie_word_embeddings": False}
        (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", **memory.SHAPES[device], **heads}))
        return folder

    def ran(own: list[str]) -> float:
        recipe = load(str(training.RECIPE), own)
        assert gate.reasons(gate.findings(recipe)) == []
        return 0.9 * memory.estimate(own, "cuda")

    monkeypatch.setattr(memory, "policy", configured)
    monkeypatch.setitem(memory.MEASURES, "cuda", ran)
    seen = made("memory", tmp_path, gpus=1)
    assert "0.900 of it" in seen.text and 4 * 2**30 < seen.numbers["estimated"] < 20 * 2**30


def test_kernels_are_held_to_their_tolerances_and_to_torch_s_time() -> None:
    good = {"entropy": 0.5, "gradient": 5e-5}
    kernels.judge("float32", good, "float32")
    kernels.judge("bfloat16", good | {"gradient": 5e-3}, "bfloat16")
    for wrong in ({"entropy": 1.1}, {"gradient": 5e-3}, {"entropy": math.nan}, {"gradient": math.nan}):
        with pytest.raises(Failed, match=f"float32: {next(iter(wrong))} is off by"):
            kernels.judge("float32", good | wrong, "float32")
    rows = [
        {"pass": p, "path": path, "s": s}
        for p in ("forward", "both")
        for path, s in (("Triton", 0.002), ("torch", 0.004))
    ]
    assert kernel_speed.judge(rows).text == "forward Triton 2.00, torch 4.00 ms; both Triton 2.00, torch 4.00 ms"
    with pytest.raises(Failed, match="at most 1 of torch's time"):
        kernel_speed.judge([*rows[:3], rows[3] | {"s": 0.001}])


def test_versions_are_those_of_the_pins_and_all_gpus_are_seen(tmp_path: Path) -> None:
    assert set(versions.pins()) >= {"torch", "trl", "transformers", "accelerate", "deepspeed", "vllm"}
    found = versions.installed()
    versions.judge(found, 2, Place("cuda", 2, tmp_path))
    with pytest.raises(Failed, match="torch sees 1 of 2 GPUs"):
        versions.judge(found, 1, Place("cuda", 2, tmp_path))
    for name in ("trl", "vllm"):
        with pytest.raises(Failed, match=f"{name} 0.1 is installed, and wanted is"):
            versions.judge(found | {name: "0.1"}, 2, Place("cuda", 2, tmp_path))


def test_the_kernels_row_runs_on_processors() -> None:
    row = run(find("kernels"), "cpu", 0)
    assert row.status in ("pass", "skipped"), row.seen + row.tail
    assert row.status == "pass" or row.seen == "Triton is not installed"


def test_cards_are_named_as_the_environment_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, 3")
    assert vllm_server.cards(2) == ["GPU-a", "3"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert vllm_server.cards(2) == ["0", "1"]
