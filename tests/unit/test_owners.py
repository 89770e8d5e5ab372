"""The switchboard alone knows all owners: none of them reaches for another through the trainer, and no class of ours chains into another."""

from __future__ import annotations

import ast
from pathlib import Path

TRAINERS = Path(__file__).parents[2] / "trainers"
SWITCHBOARD = ("seams.py", "generation_seams.py", "run_seams.py", "control/clock.py", "run.py", "measurement.py")
"""The overrides, the clock between steps, who builds the run, and who measures it."""
PARTS = ("seams.py", "generation_seams.py", "run_seams.py")
"""Where the overrides are."""


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def owners() -> set[str]:
    """The annotated attributes at the head of EntropyMixin."""
    (mixin,) = (node for node in parsed(TRAINERS / "seams.py").body if isinstance(node, ast.ClassDef))
    names = [n.target.id for n in mixin.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    return {name for name in names if not name.startswith("_")}


def reached(tree: ast.AST) -> list[str]:
    """`trainer.NAME`, `self.trainer.NAME` where NAME is an owner."""
    places = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in owners() and ast.unparse(node.value).endswith("trainer"):
            places.append(ast.unparse(node))
    return places


def test_the_head_of_the_class_lists_the_owners() -> None:
    assert {"thermostat", "monitors", "guard", "shaper", "saving", "vocabulary", "critic"} <= owners()


def test_no_owner_reaches_for_another_through_the_trainer() -> None:
    files = [file for file in TRAINERS.rglob("*.py") if str(file.relative_to(TRAINERS)) not in SWITCHBOARD]
    assert len(files) > 60
    assert {str(file): names for file in files if (names := reached(parsed(file)))} == {}
    assert reached(ast.parse("self.trainer.monitors.memory")) == ["self.trainer.monitors"]  # or this test sees nothing


def test_an_override_calls_super_once_and_the_parts_share_none() -> None:
    methods: dict[str, set[str]] = {}
    for name in PARTS:
        (mixin,) = (node for node in parsed(TRAINERS / name).body if isinstance(node, ast.ClassDef))
        defined = [node for node in mixin.body if isinstance(node, ast.FunctionDef)]
        methods[name] = {node.name for node in defined} - {"__init__"}
        for method in defined:
            calls = [
                n for n in ast.walk(method) if isinstance(n, ast.Call) and ast.unparse(n.func).startswith("super().")
            ]
            assert len(calls) <= 1, (name, method.name)
            assert all(ast.unparse(call.func) == f"super().{method.name}" for call in calls), (name, method.name)
    names = [name for own in methods.values() for name in own]
    assert len(names) == len(set(names))
