"""Every key of a recipe, with every kind of value: it loads and plans, or it is refused in a line; no number is without a range."""

from __future__ import annotations

import math
from typing import Any

import pytest
from support.leaves import Leaf, leaves

from entropostat.catalog import load
from entropostat.cli.plan import plan
from entropostat.recipe import load as load_recipe
from entropostat.recipe.errors import RecipeError, show
from entropostat.recipe.owned import NOT_IN_TRAINER
from entropostat.recipe.ranges import Range
from entropostat.recipe.source import parse
from entropostat.recipe.trainer_ranges import CHOICES, IMPOSSIBLE, NEVER_NULL, PARSED, RANGES
from entropostat.rl.registry import LARGEST, SMALLEST

LEAVES = list(leaves())
ABSURD = (math.inf, -math.inf, math.nan, 1e300, -1e300, 10**400, -(10**400), 2**64)
LONG = 5000 * "x"
VALUES = (
    *ABSURD,
    -1,
    0,
    1,
    0.5,
    1e-300,
    2**31 - 1,
    2**31,
    LARGEST,
    "x",
    "",
    "\0",
    "\ud800",
    5000 * "x",
    None,
    [],
    {},
    True,
)
SIGNED = frozenset(
    [
        "target",
        "success",
        "center",
        "floor",
        "zeta",
        "beta",
        "alpha",
        "threshold",
        "start",
        "low",
        "high",
        "value",
        "velocity",
        "phases",
        "solved",
        *("right_short", "right_long", "wrong_short", "wrong_long", "exceed"),
        "points",
        "coef",
        "weight",
        "vespo_k_pos",
        "vespo_lambda_pos",
        "vespo_k_neg",
        "vespo_lambda_neg",
    ]
)
"""Options of terms of which every sign and size means something: they have the range of all numbers."""


def tried(leaf: Leaf, value: Any) -> str:
    """The complaint, or nothing; any other exception passes through."""
    try:
        plan(leaf.loaded(value))
    except RecipeError as error:
        return str(error)
    return ""


def same_name(leaf: Leaf) -> str:
    return leaf.key


@pytest.mark.parametrize("leaf", LEAVES, ids=same_name)
def test_any_value_of_any_key_plans_or_is_refused_in_a_line_that_names_both(leaf: Leaf) -> None:
    secret = leaf.key == "trainer.hub_token"  # its value is not repeated
    for value in VALUES:
        said = tried(leaf, value)
        assert all(
            line.startswith("x.yaml:1: ") and (len(line) < 1200 or value == LONG) for line in said.splitlines()
        ), said
        if value in ABSURD or math.isnan(value if isinstance(value, float) else 0):
            assert secret or leaf.key in said, (value, said)
            assert secret or show(value) in said, (value, said)


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf.range is not None], ids=same_name)
def test_a_number_out_of_range_is_refused_with_the_range(leaf: Leaf) -> None:
    allowed = leaf.range
    assert allowed is not None
    annotation = str(leaf.form.model_fields[str(leaf.place[-1])].annotation)
    if "list" in annotation or "dict[" in annotation:
        return
    whole = "float" not in annotation
    for value in (-(10**12) * 2, 10**13, *(() if whole else (math.inf, -math.inf, 1e300, 10**400))):
        assert f"{leaf.key}: must be {allowed}, not {show(value)}" in tried(leaf, value)


@pytest.mark.parametrize("leaf", [leaf for leaf in LEAVES if leaf.range is not None], ids=same_name)
def test_a_range_has_two_ends(leaf: Leaf) -> None:
    allowed = leaf.range
    assert allowed is not None
    low = [end for end in (allowed.low, allowed.above) if end is not None]
    high = [end for end in (allowed.high, allowed.below) if end is not None]
    assert len(low) == len(high) == 1 and -LARGEST <= low[0] < high[0] <= LARGEST


@pytest.mark.parametrize("kind", load().trainer)
def test_every_number_of_the_trainers_config_has_a_range(kind: str) -> None:
    fields = {f.name: f for f in load().trainer[kind] if f.name not in NOT_IN_TRAINER}
    numbers = {name for name, f in fields.items() if {"int", "float"} & set(f.type.split("|"))}
    assert numbers == set(RANGES)
    assert {*CHOICES, *IMPOSSIBLE, *NEVER_NULL, *PARSED} <= set(fields)
    assert set(PARSED) == {name for name, f in fields.items() if {"dict", "str"} <= set(f.type.split("|"))}
    for name, f in fields.items():
        if name in RANGES and f.default is not None and f.default != "auto":
            assert RANGES[name].holds(f.default), name


def test_every_number_of_a_term_declares_its_range_or_is_known_to_have_both_signs() -> None:
    for slot, terms in load().terms.items():
        for name, info in terms.items():
            for f in info.fields:
                if {"int", "float", "list[float]", "list[list[float]]"} & set(f.type.split("|")):
                    assert f.limits or f.name in SIGNED, f"{slot}.{name}.{f.name}"


@pytest.mark.parametrize(
    ("words", "message"),
    {
        "trainer.learning_rate=1e400": "trainer.learning_rate: '1e400' is beyond the largest number, 1.8e308",
        "trainer.max_steps=0": "trainer.max_steps: must be -1 or at least 1 and at most 2147483647, not 0",
        "trainer.save_steps=1.5": "must be at least 1e-18 and at most 2147483647, whole from 1 on, not 1.5",
        "trainer.pad_to_multiple_of=x": "must be a whole number or one of auto, not 'x'",
        "trainer.num_generations=null": "trainer.num_generations: must be a whole number, not null",
        "trainer.vllm_mode=colocated": "must be one of server, colocate, not 'colocated'; did you mean 'colocate'?",
        "trainer.lr_scheduler_type=greedy": "trainer.lr_scheduler_type: must be one of linear, cosine",
        "trainer.generation_kwargs={top_h: .inf}": "generation_kwargs.top_h: must be at least -1e+12 and at most 1e+12",
        "trainer.chat_template_kwargs=x": "chat_template_kwargs: must be a mapping, or one as JSON text, not 'x'",
        """trainer.generation_kwargs='{"top_h": Infinity}'""": "generation_kwargs: top_h must be at least -1e+12",
        "evaluate.k=[1, 0]": "evaluate.k.1: must be at least 1 and at most 2147483647, not 0",
        "trainer.save_only_model=true": "its checkpoints have no optimizer, so nothing resumes from them",
        "trainer.hub_model_id=a/b": "'a/b' does nothing without trainer.push_to_hub: true",
        "trainer.trackio_space_id=a": "'a' does nothing without tracking.trackio: {}",
        "trainer.dataloader_prefetch_factor=2": "2 needs dataloader_num_workers of at least 1",
        "trainer.log_completions_hub_repo=a/b": "needs log_completions: true",
        "trainer.vllm_importance_sampling_clip_min=5": "the least, 5, must lie below the largest, 3",
        "name=..": "command line: name: '..' names a folder: this one is another's",
        "name=.": "command line: name: '.' names a folder",
        f"name={'n' * 201}": "at most 200 bytes, not 201",
        'output_dir="a\\0b"': "output_dir: text may not hold a NUL character",
        f"output_dir={'a' * 256}": "is no path: at most 3000 bytes, and 255 from one / to the next",
        "model.attn_implementation=foo": "must be one of eager, sdpa",
        "model.attn_implementation=../x": "must be one of eager, sdpa",
        "objective.penalties.kl_ref.coef={schedule: {points: [[0, 1], [5, .inf]]}}": "coef.schedule.points.1.1: must be",
    }.items(),
)
def test_what_is_out_of_range_is_said(words: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("recipes/methods/kl_ref.yaml", [words])
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["trainer.push_to_hub=false", "trainer.hub_model_id=a/b"],
            ["trainer.max_steps=-1"],
            ["trainer.save_steps=0.1"],
        ),
        *(["tracking={trackio: null}", "trainer.trackio_space_id=a"], ["trainer.max_grad_norm=0"]),
        *(["trainer.dataloader_num_workers=1", "trainer.dataloader_prefetch_factor=2"], ["trainer.warmup_steps=0.1"]),
        *(["trainer.pad_to_multiple_of=auto"], ["trainer.save_total_limit=0"], ["name=a.."], ["output_dir=/tmp/ä b"]),
        ["trainer.generation_kwargs='{\"use_cache\": true}'"],
    ],
)
def test_what_has_a_meaning_of_its_own_passes(words: list[str]) -> None:
    load_recipe("recipes/methods/kl_ref.yaml", words)


def test_bfloat16_and_float16_together_are_refused_wherever_the_one_is_said() -> None:
    for words in (["trainer.bf16=true"], ["model.dtype=bfloat16"]):
        with pytest.raises(RecipeError, match="fp16: true contradicts bfloat16"):
            load_recipe("recipes/methods/kl_ref.yaml", [*words, "trainer.fp16=true"])
    load_recipe("recipes/methods/kl_ref.yaml", ["model.dtype=bfloat16", "trainer.bf16=false", "trainer.fp16=true"])


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (Range(low=0, below=1), [0, 0.99], [-SMALLEST, 1, math.nan, math.inf]),
        (Range(above=0, high=1).closed(whole=False), [SMALLEST, 1], [0, 1e-19, 1.1]),
        (Range(low=1, special=(-1,)).closed(whole=True), [-1, 1, 2**31 - 1], [0, -2, 2**31]),
        (Range(low=0, whole_from_1=True).closed(whole=False), [0, 0.5, 1, 7], [1.5, -0.5, math.inf, 10**400]),
        (Range().closed(whole=False), [-LARGEST, 0, LARGEST], [2 * LARGEST, -math.inf, math.nan]),
    ],
)
def test_a_range_holds_what_it_says(allowed: Range, inside: list[float], outside: list[float]) -> None:
    assert all(map(allowed.holds, inside)) and not any(map(allowed.holds, outside))


def test_a_range_is_in_the_schema_for_editors() -> None:
    import json

    from entropostat.recipe.schema import to_json

    open_ends = []

    def walk(item: Any, path: str) -> None:
        if isinstance(item, dict):
            low, high = {"minimum", "exclusiveMinimum"} & item.keys(), {"maximum", "exclusiveMaximum"} & item.keys()
            if item.get("type") in ("number", "integer") and not (low and high):
                open_ends.append(path)
            for key, below in item.items():
                if key != "where":  # conditions on the numbers of a user's own columns
                    walk(below, f"{path}.{key}")
        elif isinstance(item, list):
            for below in item:
                walk(below, path)

    walk(json.loads(to_json()), "")
    assert open_ends == []


def test_a_value_from_a_file_is_judged_as_any(tmp_path: Any) -> None:
    (tmp_path / "r.yaml").write_text("extends: entropostat:methods/kl_ref.yaml\nsampler: {temperature: .inf}\n")
    with pytest.raises(RecipeError, match=r"r\.yaml:2: sampler\.temperature: must be at least 0\.001 and at most 1000"):
        load_recipe(tmp_path / "r.yaml")
    assert parse("-.inf", "x").content == -math.inf
