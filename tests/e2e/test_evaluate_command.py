"""`entropostat evaluate`: what a run told at its end, told again from its files, to the last bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.run_files import rows

from entropostat.__main__ import main
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.trainers.run import run_recipe

PLAIN = str(RECIPES / "quickstart" / "plain.yaml")
SHORT = [
    *("model.build=null", "data.curriculum=[{source: easy, steps: 4}]", "trainer.per_device_train_batch_size=16"),
    *(
        "trainer.max_completion_length=6",
        "trainer.learning_rate=0.02",
        "objective.penalties=[entropy_bonus: {coef: -1}]",
    ),
    *("trainer.save_strategy=steps", "trainer.save_steps=2"),
    "evaluate={every: 0, prompts: 5, samples: 3, k: [1, 3], reference: true, temperature: 0.9}",
]
KINDS = {
    "grpo": (),
    "lora": ("model.peft={r: 2}",),
    "ppo": ("trainer.kind=ppo", "trainer.num_generations=1", "objective.advantages=[gae: {}]"),
    "bfloat16": ("model.dtype=bfloat16",),
}


def words_of(kind: str, folder: Path) -> list[str]:
    return [*SHORT, *KINDS[kind], f"model.path={folder / 'base'}", f"output_dir={folder / 'runs'}", f"name={kind}"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("evaluate")
    shutil.move(tiny.saved(), made / "base")
    return made


def told(file: Path) -> dict[str, Any]:
    (result,) = json.loads(file.read_text())
    metrics: dict[str, Any] = result["metrics"]
    return metrics


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_of_a_run_tell_what_the_run_told(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_of(kind, folder)
    assert run_recipe(load(PLAIN, words)) == 0
    run = folder / "runs" / kind
    summary = {k: v for k, v in json.loads((run / "summary.json").read_text()).items() if k.startswith("evaluate/")}
    assert {"evaluate/easy/pass@3", "evaluate/hard/greedy", "evaluate/hard/entropy_ratio"} <= summary.keys()
    capsys.readouterr()
    names = [str(run / name) for name in ("final", "checkpoint-2", "checkpoint-4")]
    assert main(["evaluate", PLAIN, *words, "--model", *names]) == 0
    out = capsys.readouterr().out
    final, early, late = (told(Path(f"{name}.evaluation.json")) for name in names)
    assert final == late == summary, "to the last bit"
    assert early["evaluate/hard/entropy"] != final["evaluate/hard/entropy"], "it learned"
    table = out.split("\n\n")[0].splitlines()
    assert table[0].split()[:6] == ["model", "set", "prompts", "pass@1", "pass@3", "gap"] and len(table) == 1 + 3 * 2
    assert [line.split()[:3] for line in table[1:3]] == [[names[0], "easy", "5"], [names[0], "hard", "5"]]
    assert out.count("written: ") == 3


def test_without_a_model_it_is_the_recipes_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder / "runs" / "grpo"
    if not run.exists():  # of the test above, where both run in one process
        assert run_recipe(load(PLAIN, words_of("grpo", folder))) == 0
        capsys.readouterr()
    first = {k: v for k, v in rows(run)[0].items() if k.startswith("evaluate/")}
    out = tmp_path / "deep" / "results.json"
    assert main(["evaluate", PLAIN, *words_of("grpo", folder), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())
    assert told(out) == first and not (folder / "base.evaluation.json").exists()


def test_what_cannot_be_measured_is_one_line_and_costs_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, words = folder / "base", words_of("grpo", folder)
    empty, damaged = tmp_path / "empty", tmp_path / "checkpoint-2"
    (empty / "final").mkdir(parents=True)
    cases = [
        (["--model", str(whole), str(tmp_path / "emptx")], "did you mean 'empty'?"),
        (["--model", str(whole), str(empty)], f"holds no model, neither config.json nor adapter_config.json; give {empty / 'final'}"),
        (["--model", str(whole), "--out", str(empty)], f"cannot write {empty}"),
        (["evaluate.prompts=0", "--model", str(whole)], "there is nothing to evaluate: set evaluate.prompts"),
        (["reward=[function: {path: 'os:getcwd'}]", "--model", str(whole)], "pass --allow-code to allow it"),
    ]  # fmt: skip
    if (folder / "runs" / "grpo" / "checkpoint-2").exists():
        shutil.copytree(folder / "runs" / "grpo" / "checkpoint-2", damaged)
        with (damaged / "model.safetensors").open("r+b") as file:
            file.seek(-8, 2)
            file.write(b"\x01\x02")
        cases.append(
            (["--model", str(whole), str(damaged)], "the checkpoint is not complete (the content of model.safetensors")
        )
    for more, said in cases:
        capsys.readouterr()
        assert main(["evaluate", PLAIN, *words, *more]) == 2, more
        shown = capsys.readouterr()
        assert said in shown.err and len(shown.err.strip().splitlines()) == 1, (more, shown.err)
        assert not shown.out and not Path(f"{whole}.evaluation.json").exists()
