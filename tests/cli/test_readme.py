"""What the README shows is true: its recipe plans, its mistake gives its message."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from entropostat.cli import commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def plan(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "entropostat", "plan", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True, timeout=60)


def test_the_recipe_plans(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "recipe.yaml"
    file.write_text(block)
    done = plan(str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "clip_cov(fraction=0.0002, low=1, high=5) * trl(dapo" in done.stdout


def test_the_edits_of_a_child_load(tmp_path: Path) -> None:
    (edits,) = re.findall(r"`(penalties: \{edit.*?\})`", README)
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "recipe.yaml").write_text(block)
    child = tmp_path / "child.yaml"
    child.write_text(f"extends: recipe.yaml\nname: child\nobjective:\n  {edits}\n")
    done = plan(str(child))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kl_ref(coef=0.1) + kl_cov" in done.stdout and "entropy_bonus" not in done.stdout


def test_the_mistake_gives_the_message() -> None:
    (words, message) = re.findall(r"\$ entropostat plan (.*?)\n(.*?)\n```", README)[0]
    done = plan(*words.split())
    assert done.returncode == 2
    assert done.stderr.strip() == message


def test_the_python_example_is_an_objective_that_the_trainer_takes() -> None:
    from entropostat.recipe.objective import as_control

    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    example = re.search(r"^objective = (\{.*?^\})", block, re.DOTALL | re.MULTILINE)
    assert example is not None
    control = as_control(ast.literal_eval(example[1]))
    assert [part.name for part in control.template.parts] == ["grpo", "clip_cov", "trl", "kl_ref"]
    (shortest,) = re.findall(r"`(\{\"loss\".*?\})` is the shortest", README)
    as_control(ast.literal_eval(shortest))


def test_every_command_has_its_line() -> None:
    assert set(re.findall(r"^\| `entropostat (\w+)", README, re.MULTILINE)) == set(commands())
