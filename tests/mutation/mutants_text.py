"""Faults of what reads a recipe, of any text, and of sources that are asked for more than there is."""

from __future__ import annotations

from mutation.mutants import Mutant

TESTS = ("tests/security/test_hostile_recipes.py",)
DATA = ("tests/unit/test_data_bounds.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = TESTS) -> Mutant:
    return Mutant(f"text {file} {name}", f"{file}.py", old, new, tests, "entropostat")


TEXT = (
    fault("loses the end of a line", "yaml_text", "style='\"' if ODD.search(data) else None", "style=None"),
    fault("takes NaN", "yaml_text", "if math.isnan(number):", "if False:"),
    fault("takes infinity for a number", "yaml_text", "if math.isinf(number) and", "if False and"),
    fault("reads any number of digits", "yaml_text", "if len(digits) > LONGEST:", "if False:"),
    fault("takes half a pair", "yaml_text", "if match:", 'if match and match[0] == "\\0":'),
    fault("reads YAML 1.1", "yaml_text", "if version is not None and", "if False and"),
    fault("reads parents again", "recipe/extends", "if real(path) in self.known:", "if False:"),
    fault("extends for ever", "recipe/extends", "if self.named > FILES:", "if False:"),
    fault("gives each file a room of its own", "recipe/extends", "read(path, self.room)", "read(path)"),
    fault("prints keys as they are", "recipe/errors", "text = visible(text)", "text = str(text)"),
    fault("tells all", "recipe/errors", "self.problems[:TOLD]", "self.problems[:]"),
    fault("compares names of any length", "recipe/errors", "if len(name) <= NAME else []", ""),
    fault("takes any digit for an index", "recipe/merge", 're.compile("[0-9]+")', 're.compile("\\\\d+|²")'),
    fault("counts any digits", "recipe/merge", "len(key) > DIGITS or ", ""),
    fault("draws what there is not", "data/chain", "if size > total // 2:", "if False:", DATA),
    fault("catches what is late", "data/deadline", "class _Late(BaseException)", "class _Late(Exception)", DATA),
    fault("ends the alarm of others", "data/deadline", "if left:", "if False:", DATA),
)
