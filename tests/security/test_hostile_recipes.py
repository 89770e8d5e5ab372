"""Any text as a recipe, as an override or as a name of a file: one line within two seconds, or a recipe that comes back."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support.loading import GOOD, comes_back, outcome

from entropostat.readers.recipe_file import recipe as read_back
from entropostat.yaml_text import DEPTH, LIMIT, VALUES, dump, nodes

CHILD = "extends: good.yaml\n"


@pytest.fixture
def told(folder: Path) -> Callable[..., str]:
    """What is said about a text with overrides; empty where it is a recipe, which then comes back from its dump."""

    def call(given: str | bytes = CHILD, *overrides: str) -> str:
        (folder / "x.yaml").write_bytes(given if isinstance(given, bytes) else given.encode("utf-8", "surrogatepass"))
        recipe, said = outcome("x.yaml", overrides)
        if recipe is not None:
            comes_back(recipe, folder / "run")
        return said

    return call


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def bomb(levels: int, last: str = "[x, x, x, x, x, x, x, x, x]") -> str:
    """Each level names the one before it nine times."""
    lines = [f"a0: &a0 {last}", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels))]
    return "\n".join(lines) + "\n"


TOO_MUCH = {
    "lists in lists": ("[" * 20_000, f"nested deeper than {DEPTH} levels"),
    "mappings in mappings": ("{a: " * 20_000, f"nested deeper than {DEPTH} levels"),
    "dashes in dashes": ("- " * 20_000, f"nested deeper than {DEPTH} levels"),
    "keys in keys": ("? " * 20_000, f"nested deeper than {DEPTH} levels"),
    "blocks in blocks": ("".join(" " * i + "a:\n" for i in range(400)), f"nested deeper than {DEPTH} levels"),
    "depth out of aliases": (
        f"a0: &a0 {nested(30)}\na1: &a1 {'[' * 30}*a0{']' * 30}\n",
        f"nested deeper than {DEPTH} levels",
    ),
    "aliases of aliases": (bomb(9), f"holds more than {VALUES} values"),
    "aliases in keys": (f"k: {{? &a0 x : &b0 [x]}}\n{bomb(9)}", f"holds more than {VALUES} values"),
    "aliases of a long text": (f"a: &a {'x' * 50_000}\nb: [{', '.join(['*a'] * 99)}]", f"more than {LIMIT} characters"),
    "an alias of itself": ("a: &a {b: *a}", "an alias may not contain itself"),
    "keys": ("".join(f"k{i}: 1\n" for i in range(20_000)), f"holds more than {VALUES} values"),
    "items": (f"a: [{'1,' * 100_000}]", f"holds more than {VALUES} values"),
    "10 MB": ("a: 1\n" * 2_000_000, f"larger than {LIMIT} bytes"),
    "10 MB in a line": (f"a: {'x' * 10_000_000}", f"larger than {LIMIT} bytes"),
    "parents": (f"{CHILD[:-10]}[{'good.yaml, ' * 2000}]", "extends: names more than 100 files in all"),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_too_much_of_anything_is_refused_in_one_line(case: str, told: Callable[..., str]) -> None:
    text, expected = TOO_MUCH[case]
    said = told(text)
    assert expected in said and "\n" not in said


def test_what_is_shared_by_aliases_is_taken(told: Callable[..., str]) -> None:
    assert told(f"{GOOD}sampler: {{stop: &s [1, 2]}}\nevaluate: {{k: *s}}\nlaunch: &l {{}}\nslurm: *l\n") == ""


NUMBERS = {
    "1" * 400: "is a whole number beyond 64 bits",
    "-" + "1" * 5000: "is a whole number beyond 64 bits",
    "0x" + "f" * 50_000: "is a whole number beyond 64 bits",
    "0o" + "7" * 50_000: "is a whole number beyond 64 bits",
    str(2**63): "is a whole number beyond 64 bits",
    "1e400": "is beyond the largest number",
    "-1e400": "is beyond the largest number",
    "!!float nan": "is not a valid float",
    "!!float " + "1" * 5000: "is beyond the largest number",
    "!!int 1" + "_" * 9: None,
}


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
@pytest.mark.parametrize(
    "key", ["seed", "trainer.learning_rate", "trainer.max_steps", "objective.penalties.kl_ref.coef"]
)
def test_a_number_that_is_none_is_refused_by_its_key(key: str, number: str, told: Callable[..., str]) -> None:
    expected, said = NUMBERS[number], told(CHILD, f"{key}={number}")
    assert said == "" if expected is None else said.startswith(f"command line: {key}: ") and expected in said
    assert "\n" not in said and len(said) < 250


@pytest.mark.parametrize(
    "form", ['"a\\x85b"', '"a\\u2028b\\u2029"', "'a\x85b\u2028'", '"\\ufeffa\\t\\r\\n \\x07\\x1b\\x7f\\x9f "']
)
def test_a_text_of_odd_characters_comes_back(form: str, told: Callable[..., str]) -> None:
    assert told(f"{CHILD}data: {{system: {form}}}\nlaunch: {{}}\n") == ""
    keys = f"trainer: {{lr_scheduler_kwargs: {{{form}: 1, '1': 2, 'null': 3, 'a: b': 4, '': 5, '<<': 6, '=': 7}}}}\n"
    assert told(CHILD + keys) == ""


BYTES = {
    b"name: a\0b": "the character #x0000 may not stand in it",
    b'data: {system: "a\\0"}': "data.system: text may not hold a NUL character",
    b'data: {system: "a\\ud800"}': "data.system: text may not hold half of a surrogate pair",
    b'data: {"\\udfff": 1}': "data: text may not hold half of a surrogate pair",
    b"name: \xed\xa0\x80": "is no UTF-8",
    b'name: "\\U00110000"': "not valid YAML: ",
    "name: a".encode("utf-16"): "is UTF-16",
    b"%YAML 1.1\n---\nname: a": "a recipe is YAML 1.2",
    b"%YAML 9.9\n---\nname: a": "not valid YAML: ",
    b"%TAG ! !x\n---\n!y a": "tag '!xy' is refused",
    b"a: 1\n---\nb: 2": "but found another document",
    b"name:\t'a'\n\tseed: 1": "not valid YAML: ",
    b"? [a]\n: b": "a key must be a plain word",
    b"name: *a": "found undefined alias",
    b"&a &b c": "not valid YAML: ",
}


@pytest.mark.parametrize("text", BYTES)
def test_what_is_no_yaml_of_a_recipe_is_said(text: bytes, told: Callable[..., str]) -> None:
    said = told(text)
    assert BYTES[text] in said and "\n" not in said


@pytest.mark.parametrize("form", ["\ufeff{}", "{}...\n", "%YAML 1.2\n---\n{}", "%FOO x\n---\n{}"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_marks_and_line_ends_of_other_systems_are_taken(form: str, end: str, told: Callable[..., str]) -> None:
    assert told(form.format(GOOD).replace("\n", end).encode()) == ""


OVERRIDES = {
    "=": "'=' is not an override",
    "a..b=1": "'a..b=1' is not an override",
    f"{'a.' * 10_000}b=1": f"nested deeper than {DEPTH} levels",
    f"{'a.' * DEPTH}b=1": f"nested deeper than {DEPTH} levels",
    f"{'a.' * (DEPTH - 3)}b={nested(4)}": f"nested deeper than {DEPTH} levels",
    "extends=other.yaml": "extends: stands in a file only",
    "data.sources.0=": "data.sources.0: must be a mapping, not null",
    "objective.weights.999999999=1": "there is no term '999999999' here",
    f"data.curriculum.{'9' * 5000}=1": "there is no item ",
    "data.curriculum.²=1": "data.curriculum: must be a list",
    "data.\0=1": "data.\\x00: text may not hold a NUL character",
    "data.\udcff=1": "text may not hold half of a surrogate pair",
    "name=\x1b[31m": "the character #x001b may not stand in it",
    "\x1b[31m=1": "\\x1b[31m: unknown key '\\x1b[31m'",
    f"{'k' * 100_000}=1": "unknown key 'kkk",
    f"launch.strategy={'z' * 200_000}": "must be one of single, ddp",
    f"trainer.{'learning_rate' * 5000}=1": "unknown key 'learning_rate",
    'model.path=""': "model.path: ",
    "model.path=a b": "model.path: 'a b' is no folder here, and no name that the hub could have",
    f"model.path={'z' * 5000}": "is no path: at most 3000 bytes, and 255 from one / to the next",
}


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: ascii(override[:30]))
def test_an_override_that_is_none_is_refused(override: str, told: Callable[..., str]) -> None:
    said = told(CHILD, override)
    assert OVERRIDES[override] in said and said.startswith("command line: ") and "\n" not in said


def test_near_names_of_any_length_are_not_compared(told: Callable[..., str]) -> None:
    name = "".join(chr(0x4E00 + i // 190) for i in range(36_000))
    near = "".join(random.Random(0).sample(name, len(name)))
    stages = [f"{{source: &near {near}, steps: 1}}", *["{source: *near, steps: 1}"] * 3]
    said = told(f"{CHILD}data: {{sources: {{? {name} : {{chain: {{}}}}}}, curriculum: [{', '.join(stages)}]}}")
    assert "there is no source" in said


def test_a_controller_without_options_is_asked_for_those_that_it_needs(told: Callable[..., str]) -> None:
    key = "objective.penalties.kl_ref.coef"
    assert f"{key}.pid.target: missing" in told(CHILD, f"{key}={{pid: null}}")
    assert told(CHILD, f"{key}={{aer: null}}") == ""


def test_many_mistakes_are_told_as_a_few_and_a_number(told: Callable[..., str]) -> None:
    said = told(CHILD + "trainer:\n" + "".join(f"  learning_rat{i}: 1\n" for i in range(2000)))
    assert len(said.splitlines()) == 51 and said.endswith("\nand 1950 more")


def test_the_fix_at_the_end_of_a_long_message_is_kept(told: Callable[..., str]) -> None:
    said = told(f"{CHILD}objective: {{penalties: [{'z' * 900}: {{}}]}}")
    assert said.startswith("x.yaml:2: objective.penalties.zzz") and said.endswith("known: " + said.split("known: ")[1])


def test_files_that_extend_one_file_twice_over_and_over_are_read_once(folder: Path) -> None:
    for i in range(40):
        (folder / f"d{i}.yaml").write_text(f"extends: [d{i + 1}.yaml, d{i + 1}.yaml]\n")
    (folder / "d40.yaml").write_text(GOOD)
    assert outcome("d0.yaml")[0] is not None


def test_a_chain_of_files_ends(folder: Path) -> None:
    for i in range(1500):
        (folder / f"e{i}.yaml").write_text(f"extends: e{i + 1}.yaml\n")
    (folder / "e1500.yaml").write_text(GOOD)
    assert outcome("e1450.yaml")[0] is not None
    assert outcome("e0.yaml")[1].startswith("e100.yaml:1: extends: names more than 100 files")


def test_parents_share_one_bound(folder: Path) -> None:
    for name in "ab":
        (folder / f"{name}.yaml").write_text(
            f"name: &n good\ntrainer: {{lr_scheduler_kwargs: {{{name}: [{'1,' * 3000}]}}}}"
        )
    (folder / "x.yaml").write_text("extends: [a.yaml, b.yaml]")
    assert "b.yaml:2: trainer.lr_scheduler_kwargs.b" in outcome("x.yaml")[1]


@pytest.fixture
def places(folder: Path) -> Path:
    os.symlink("loop", folder / "loop")
    os.symlink(".", folder / "here")
    os.mkfifo(folder / "pipe")
    (folder / "a\x1b[31m.yaml").write_text("a: [")
    return folder


NAMES = [
    "loop",
    "loop/x.yaml",
    "pipe",
    ".",
    "/dev/zero",
    "a" * 5000,
    "~nobody-at-all/x.yaml",
    "gone/x.yaml",
    "here/here/gone.yaml",
]


@pytest.mark.parametrize("name", [*NAMES, "a\0b", "a\ud800b", "a\x1b[31m.yaml", "entropostat:", "entropostat:../.."])
def test_a_recipe_that_is_no_file_is_one_line(name: str, places: Path) -> None:
    recipe, said = outcome(name)
    assert recipe is None and said and "\n" not in said


@pytest.mark.parametrize("name", NAMES)
def test_a_parent_that_is_no_file_is_one_line(name: str, places: Path) -> None:
    (places / "x.yaml").write_text(f"extends: {name}")
    recipe, said = outcome("x.yaml")
    assert recipe is None and said and "\n" not in said


def test_links_do_not_hide_a_circle(places: Path) -> None:
    (places / "x.yaml").write_text(f"extends: {'here/' * 30}x.yaml")
    assert outcome("x.yaml")[1] == "x.yaml:1: extends: goes round in a circle: x.yaml -> x.yaml"


FILES = ("model.path", "data.sources.easy.file.path", "data.sources.easy.hub.path", "evaluate.sets.x.file.path")


@pytest.mark.parametrize("key", FILES)
@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_names_no_file_or_folder_stops_nothing_but_the_plan(key: str, name: str, places: Path) -> None:
    (places / "x.yaml").write_text(CHILD)
    outcome("x.yaml", [f"{key}={name}"])
    keys = key.split(".")
    (places / "x.yaml").write_text(
        CHILD + "".join("  " * i + f"{k}:\n" for i, k in enumerate(keys))[:-1] + f" {name}\n"
    )
    outcome("x.yaml")


@pytest.mark.parametrize(
    "content", ["", "[" * 100_000, "[]", "3", '{"model_type": "llama"}', '{"model_type": []}', "\0", '{"r": "x"}']
)
@pytest.mark.parametrize("file", ["config.json", "adapter_config.json"])
def test_a_model_folder_of_any_content_is_planned_or_refused(file: str, content: str, places: Path) -> None:
    (places / "policy").mkdir()
    (places / "policy" / file).write_text(content)
    outcome("good.yaml", ["model.path=policy"])


def test_a_run_is_read_back_within_the_same_bounds(folder: Path) -> None:
    for text, why in [(bomb(9), f"more than {VALUES} values"), ("[" * 3000, f"deeper than {DEPTH} levels")]:
        (folder / "recipe.yaml").write_text(text)
        assert why in read_back(folder)[2][0]
    (folder / "recipe.yaml").write_text(dump({"a": [1.5, "\x85", {"b": None}], "odd": "2001-01-01"}))
    assert read_back(folder)[1] == {"a": [1.5, "\x85", {"b": None}], "odd": "2001-01-01"}
    assert nodes("") is None
