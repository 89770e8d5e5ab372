"""The plug-in of verl without verl: packages of that name stand in for it, with what it is to change."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = """
import verl                                  # as verl does at its own import
import entropostat.verl.plugin as plugin
plugin.install(); plugin.install()
print(sum(type(finder).__name__ == "_Finder" for finder in sys.meta_path))
import verl.models.transformers.monkey_patch as patch
print(patch.is_trl_available())
"""


REGISTRY = """
REGISTRY = {}
class PPOTrainer: ...
def register_trainer(name):
    return lambda cls: REGISTRY.setdefault(name, cls)
"""


def python(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", "import sys\n" + code]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


@pytest.fixture
def standins(tmp_path: Path) -> Path:
    """A verl that looks for TRL and has one trainer, and a TRL without the class that it looks for."""
    files = {
        "verl/__init__.py": "",
        "verl/models/__init__.py": "",
        "verl/models/transformers/__init__.py": "",
        "verl/models/transformers/monkey_patch.py": "def is_trl_available():\n    return True\n",
        "verl/trainer/__init__.py": "",
        "verl/trainer/ppo/__init__.py": "",
        "verl/trainer/ppo/v1/__init__.py": REGISTRY,
        "trl/__init__.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_verl_is_told_of_no_trl_that_lacks_what_it_changes(standins: Path) -> None:
    assert python(standins, PLUGIN).stdout.split() == ["1", "False"]


@pytest.mark.parametrize("home", ["__init__.py", "experimental/ppo.py"])
def test_and_of_one_that_has_it(standins: Path, home: str) -> None:
    (standins / "trl" / "experimental").mkdir()
    (standins / "trl" / "experimental" / "__init__.py").write_text("")
    (standins / "trl" / home).write_text("class AutoModelForCausalLMWithValueHead: ...\n")
    assert python(standins, PLUGIN).stdout.split() == ["1", "True"]


def test_what_verl_has_imported_already_is_changed_at_once(standins: Path) -> None:
    code = "import verl.models.transformers.monkey_patch as patch, entropostat.verl.plugin\nprint(patch.is_trl_available())"
    assert python(standins, code).stdout.split() == ["False"]


BROKEN = """
import entropostat.verl.plugin
print('loaded')
from verl.trainer.ppo.v1 import REGISTRY
print(*REGISTRY)
REGISTRY["entropostat"]({})
"""


def test_a_trainer_that_cannot_be_had_is_an_error_where_it_is_asked_for(standins: Path) -> None:
    """verl logs at DEBUG alone what a plug-in raises when it is loaded. Here nothing raises until the trainer is made."""
    done = python(standins, BROKEN)
    assert done.stdout.split() == ["loaded", "entropostat", "entropostat_colocate_async", "entropostat_separate_async"]
    assert done.returncode == 1
    assert "trainer.v1.trainer_mode=entropostat: entropostat's trainers cannot be had: No module named" in done.stderr


def test_loading_it_imports_nothing_heavy(standins: Path) -> None:
    code = "import entropostat.verl.plugin\nprint(any(m in sys.modules for m in ('torch', 'trl', 'verl', 'pydantic')))"
    assert python(standins, code).stdout.split() == ["False"]
