"""Where a verifier of the user's own code finds its module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from entropostat.recipe import load
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer

ROOT = Path(__file__).parents[2]
RECIPE = "extends: entropostat:quickstart/plain.yaml\nreward: [function: {path: 'my_rewards:score'}]\n"
SCORE = "def score(completion, example):\n    return {}\n"


def folder_of(recipe) -> str | None:
    return recipe.reward[0].options.get("folder")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The working directory, with recipes in ``recipes``."""
    (tmp_path / "recipes" / "deeper").mkdir(parents=True)
    (tmp_path / "recipes" / "r.yaml").write_text(RECIPE)
    (tmp_path / "recipes" / "deeper" / "child.yaml").write_text("extends: ../r.yaml\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_module_beside_the_file_that_names_it_is_written_down(here):
    (here / "recipes" / "my_rewards.py").write_text(SCORE.format(1.0))
    recipes = [load("recipes/r.yaml"), load("recipes/deeper/child.yaml")]
    assert {folder_of(recipe) for recipe in recipes} == {str(here / "recipes")}
    (here / "resolved.yaml").write_text(recipes[0].dump())
    assert load("resolved.yaml").reward == recipes[0].reward


def test_a_module_beside_the_recipe_that_extends_is_found_as_well(here):
    package = here / "recipes" / "deeper" / "my_rewards"
    package.mkdir()
    (package / "__init__.py").write_text(SCORE.format(1.0))
    assert folder_of(load("recipes/deeper/child.yaml")) == str(package.parent)
    assert folder_of(load("recipes/r.yaml")) is None
    (here / "recipes" / "my_rewards.py").write_text(SCORE.format(1.0))
    assert folder_of(load("recipes/deeper/child.yaml")) == str(here / "recipes")
    assert folder_of(load("recipes/deeper/child.yaml", ["reward=[{function: {path: 'my_rewards:score'}}]"])) == str(
        package.parent
    )


def test_a_folder_of_its_own_starts_at_the_recipe(here):
    (here / "recipes" / "r.yaml").write_text(RECIPE.replace("score'", "score', folder: deeper"))
    assert folder_of(load("recipes/r.yaml")) == str(here / "recipes" / "deeper")


CHECK = """
import sys
from entropostat.data.example import Example
from entropostat.recipe import load
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
if __name__ == "__main__":
    (term,) = load(sys.argv[1]).reward
    scorer = Scorer({term.name: VERIFIERS.build(term.kind, term.options)}, allow_code=True, workers=1)
    try:
        scorer.check()
        print([o.score for o in scorer.score("function", ["x"], [Example("p")])])
    except ImportError as error:
        print(error)
    finally:
        scorer.close()
"""


def checked(here: Path, recipe: str) -> str:
    """As the console script runs: its own folder is on the path, and the working directory is not."""
    (here / "bin").mkdir(exist_ok=True)
    (here / "bin" / "script.py").write_text(CHECK)
    words = [sys.executable, str(here / "bin" / "script.py"), recipe]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_the_recipe_s_folder_comes_first_then_the_working_directory(here):
    assert checked(here, "recipes/r.yaml") == (
        f"reward.function: there is no module 'my_rewards' beside the recipe or in {here}; move it there, or correct path "
        "'my_rewards:score'"
    )
    (here / "my_rewards.py").write_text(SCORE.format(0.25))
    assert checked(here, "recipes/r.yaml") == "[0.25]"
    (here / "recipes" / "my_rewards.py").write_text("from beside import value\n" + SCORE.format("value"))
    (here / "recipes" / "beside.py").write_text("value = 0.75\n")
    assert checked(here, "recipes/r.yaml") == "[0.75]"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_thing\n", "module 'my_rewards' cannot be imported: No module named 'no_such_thing'"),
        ("1 / 0\n", "module 'my_rewards' cannot be imported: ZeroDivisionError: division by zero"),
        ("def score(:\n", "module 'my_rewards' cannot be imported: SyntaxError: "),
        ("raise SystemExit(3)\n", "3"),
        ("other = 1\n", "my_rewards.py has no function 'score'; correct path 'my_rewards:score'"),
        ("score = 1\n", "my_rewards.py has no function 'score'"),
    ],
)
def test_what_cannot_be_imported_is_one_line(tmp_path, code, said):
    (tmp_path / "my_rewards.py").write_text(code)
    verifier = VERIFIERS.build("function", {"path": "my_rewards:score", "folder": str(tmp_path)})
    scorer = Scorer({"mine": verifier}, allow_code=True, workers=1)
    try:
        with pytest.raises(ImportError) as caught:
            scorer.check()
    finally:
        scorer.close()
    text = str(caught.value)
    assert text.startswith("reward.mine: ") and said in text and "\n" not in text


def test_what_needs_no_worker_starts_none():
    scorer = Scorer({"number": VERIFIERS.build("numeric", {})})
    scorer.check()
    assert not scorer._workers
