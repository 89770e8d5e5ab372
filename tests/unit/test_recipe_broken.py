"""Broken recipes, each with the whole of what the user is told."""

from __future__ import annotations

import pytest

from entropostat import catalog
from entropostat.recipe import RecipeError, load

GOOD = """\
name: good
model: {build: {}}
data:
  sources:
    easy: {chain: {length: 2}}
    hard: {chain: {length: 5}}
reward: [chain: {}]
objective:
  weights: [clip_cov: {fraction: 0.1}]
  penalties:
    - kl_ref: {coef: 0.001}
trainer:
  learning_rate: 1e-5
"""


def complaint(folder, text: str, overrides: tuple[str, ...] = ()) -> str:
    (folder / "x.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load("x.yaml", overrides)
    return str(caught.value)


def child(text: str) -> str:
    return f"extends: good.yaml\n{text}"


BROKEN = {
    # Files and YAML
    "bad yaml": ("a: [1\nb: 2", "x.yaml:2: not valid YAML: expected ',' or ']', but got ':'"),
    "list at the top": ("- a\n", "x.yaml:1: a recipe is a mapping of keys, not ['a']"),
    "duplicate key": (
        child("seed: 1\nname: a\nseed: 2\n"),
        "x.yaml:4: seed: key 'seed' is given twice; first in line 2",
    ),
    "python tag": (
        child("name: !!python/object/apply:os.system [ls]\n"),
        "x.yaml:2: name: must be text, not ['ls']",
    ),
    "scalar with a tag": (
        child("name: !!python/name:os.system x\n"),
        (
            "x.yaml:2: name: tag 'tag:yaml.org,2002:python/name:os.system' is refused: a recipe holds plain text, numbers, "
            "lists and mappings only"
        ),
    ),
    "nan": (child("trainer: {learning_rate: .nan}\n"), "x.yaml:2: trainer.learning_rate: '.nan' is not a valid float"),
    # Inheritance
    "missing parent": (
        "name: a\nextends: ../gone.yaml\n",
        "x.yaml:2: extends: there is no file '../gone.yaml' (../gone.yaml)",
    ),
    "circle": ("extends: x.yaml\n", "x.yaml:1: extends: goes round in a circle: x.yaml -> x.yaml"),
    "extends a number": ("extends: 3\n", "x.yaml:1: extends: must be a file name or a list of them, not 3"),
    "edit of an absent term": (
        child("objective:\n  penalties:\n    edit: {kl_reff: {coef: 1.0}}\n"),
        "x.yaml:4: objective.penalties.kl_reff: there is no term 'kl_reff' here; did you mean 'kl_ref'?",
    ),
    "edit without its word": (
        child("objective: {penalties: {kl_ref: {coef: 1.0}}}\n"),
        "x.yaml:2: objective.penalties.kl_ref: write 'edit: {kl_ref: ...}', or give a list to replace the parent's",
    ),
    "removal with options": (
        child("objective: {penalties: {-kl_ref: {coef: 1.0}}}\n"),
        "x.yaml:2: objective.penalties.-kl_ref: removing a term takes no options; write '-kl_ref: null'",
    ),
    # Keys
    "unknown key of a term": (
        child("objective: {weights: [clip_cov: {fracton: 0.1}]}\n"),
        "x.yaml:2: objective.weights.clip_cov.fracton: unknown key 'fracton' (value 0.1); did you mean 'fraction'?",
    ),
    "unknown block": (
        child("smapler: {}\n"),
        "x.yaml:2: smapler: unknown key 'smapler' (value {}); did you mean 'sampler'?",
    ),
    "unknown key of a nested block": (
        child("tracking:\n  wandb:\n    projct: p\n"),
        "x.yaml:4: tracking.wandb.projct: unknown key 'projct' (value 'p'); did you mean 'project'?",
    ),
    "trainer key at the top": (
        child("num_generations: 4\n"),
        "x.yaml:2: num_generations: unknown key 'num_generations' (value 4); use trainer.num_generations",
    ),
    "unknown trainer key": (
        child("trainer: {learnig_rate: 1e-5}\n"),
        "x.yaml:2: trainer.learnig_rate: unknown key 'learnig_rate' (value 1e-05); did you mean 'learning_rate'?",
    ),
    "key owned by the objective": (
        child("trainer: {beta: 0.1}\n"),
        "x.yaml:2: trainer.beta: belongs to another block (value 0.1); use objective.penalties.kl_ref.coef",
    ),
    "key owned by the sampler": (
        child("trainer: {temperature: 0.7}\n"),
        "x.yaml:2: trainer.temperature: belongs to another block (value 0.7); use sampler.temperature",
    ),
    "remote code": (
        child("trainer: {trust_remote_code: true}\n"),
        (
            "x.yaml:2: trainer.trust_remote_code: cannot be set (value true): code from a model repository is never run; "
            "convert the model to a class that transformers has"
        ),
    ),
    "secret": (
        child("tracking: {wandb: {api_key: abc}}\n"),
        (
            "x.yaml:2: tracking.wandb.api_key: a recipe may hold no secret; put it into the environment (HF_TOKEN, "
            "WANDB_API_KEY, ...)"
        ),
    ),
    # Values
    "text for a number": (
        child("trainer: {learning_rate: fast}\n"),
        "x.yaml:2: trainer.learning_rate: must be a number, not 'fast'",
    ),
    "fraction for a whole number": (
        child("trainer:\n  num_generations: 2.5\n"),
        "x.yaml:3: trainer.num_generations: must be a whole number, not 2.5",
    ),
    "truth for a number": (
        child("objective: {penalties: {edit: {kl_ref: {coef: true}}}}\n"),
        "x.yaml:2: objective.penalties.kl_ref.coef: must be a number or a controller, not true",
    ),
    "number for text": (child("name: 3\n"), "x.yaml:2: name: must be text, not 3"),
    "folder name": (
        child("name: a/b\n"),
        "x.yaml:2: name: 'a/b' names a folder: use letters, digits and . _ + = - only",
    ),
    "out of range": (
        child("objective: {weights: [clip_cov: {fraction: 0.7}]}\n"),
        "x.yaml:2: objective.weights.clip_cov.fraction: must be at least 1e-18 and at most 0.5, not 0.7",
    ),
    "at the open end of a range": (
        child("sampler: {temperature: 0}\n"),
        "x.yaml:2: sampler.temperature: must be at least 0.001 and at most 1000, not 0",
    ),
    "unknown choice": (
        child("objective: {advantages: [grpo: {scale: grup}]}\n"),
        "x.yaml:2: objective.advantages.grpo.scale: must be one of group, batch, none, not 'grup'; did you mean 'group'?",
    ),
    "negative seed": (child("seed: -1\n"), "x.yaml:2: seed: must be a whole number from 0 to 4294967295, not -1"),
    "scalar for a block": (child("sampler: hot\n"), "x.yaml:2: sampler: must be a mapping, not 'hot'"),
    # Terms and controllers
    "unknown term": (
        child("objective: {weights: [clip_cv: {}]}\n"),
        "x.yaml:2: objective.weights.clip_cv: unknown weights term 'clip_cv'; did you mean 'clip_cov'?",
    ),
    "term in the wrong slot": (
        child("objective: {weights: [kl_ref: {}]}\n"),
        "x.yaml:2: objective.weights.kl_ref: 'kl_ref' is no weights term; move it to objective.penalties",
    ),
    "term as bare text": (
        child("objective: {advantages: [grpo]}\n"),
        (
            "x.yaml:2: objective.advantages: give one advantages term as a mapping of one key, such as 'grpo: {}', not "
            "'grpo'"
        ),
    ),
    "two terms of one name": (
        child("objective: {penalties: [kl_ref: {}, kl_ref: {}]}\n"),
        "x.yaml:2: objective.penalties.kl_ref: two terms are called 'kl_ref'; give one of them its own 'name:'",
    ),
    "one name in two slots": (
        child("objective: {penalties: [entropy_bonus: {name: clip_cov}]}\n"),
        "x.yaml:2: objective.penalties.clip_cov: objective.weights has a 'clip_cov' too; give one its own 'name:'",
    ),
    "no advantages": (
        child("objective: {advantages: []}\n"),
        "x.yaml:2: objective.advantages: is empty; begin with one, such as '- grpo: {}'",
    ),
    "unknown controller": (
        child("objective: {penalties: [kl_ref: {coef: {pidd: {}}}]}\n"),
        "x.yaml:2: objective.penalties.kl_ref.coef.pidd: unknown controller 'pidd'; did you mean 'pid'?",
    ),
    "two controllers on one field": (
        child("objective: {penalties: [kl_ref: {coef: {pid: {}, step: {}}}]}\n"),
        (
            "x.yaml:2: objective.penalties.kl_ref.coef: name exactly one controller "
            f"({', '.join(sorted(catalog.load().terms['controllers']))}), not pid, step"
        ),
    ),
    "unknown key of a controller": (
        child("objective: {penalties: [kl_ref: {coef: {pid: {signal: kl, target: 1.0, kii: 1}}}]}\n"),
        "x.yaml:2: objective.penalties.kl_ref.coef.pid.kii: unknown key 'kii' (value 1); did you mean 'ki'?",
    ),
    "controller without a target": (
        child("objective: {penalties: [kl_ref: {coef: {pid: {signal: kl}}}]}\n"),
        (
            "x.yaml:2: objective.penalties.kl_ref.coef.pid.target: missing; it says: set point, in the signal's unit: a number, "
            "or {schedule: {points: ...}}"
        ),
    ),
    "controller on a fixed field": (
        child("objective: {penalties: [kl_ref: {clamp: {pid: {}}}]}\n"),
        (
            "x.yaml:2: objective.penalties.kl_ref.clamp: is fixed for the whole run: give a number, not a controller "
            "({'pid': {}})"
        ),
    ),
    "controller that contradicts itself": (
        child("objective: {penalties: [kl_ref: {coef: {pid: {signal: kl, target: 1.0, start: 9}}}]}\n"),
        "x.yaml:2: objective.penalties.kl_ref.coef: pid.start: 9 must lie in [low, high] = [0, 1]",
    ),
    # Blocks
    "no model": (
        "data: {sources: {a: {chain: {}}}}\nreward: [chain: {}]\n",
        "x.yaml: model: missing; it says: The policy that training starts from: exactly one of path, build and package.",
    ),
    "two models": (
        "model: {build: {}, path: gpt2}\ndata: {sources: {a: {chain: {}}}}\nreward: [chain: {}]\n",
        "x.yaml:1: model: give exactly one of path, build and package, not path and build",
    ),
    "unknown source kind": (
        child("data: {sources: {easy: {chian: {}}}}\n"),
        "x.yaml:2: data.sources.easy.chian: unknown source 'chian'; did you mean 'chain'?",
    ),
    "stage without its source": (
        child("data:\n  curriculum:\n    - {source: esy, steps: 3}\n"),
        "x.yaml:4: data.curriculum.0.source: there is no source 'esy' in data.sources; did you mean 'easy'?",
    ),
    "stage without steps": (
        child("data:\n  curriculum:\n    - {source: easy}\n"),
        "x.yaml:4: data.curriculum.0.steps: missing; it says: optimizer steps; edges are rounded to the nearest generation",
    ),
    "no reward": (
        "model: {build: {}}\ndata: {sources: {a: {chain: {}}}}\n",
        "x.yaml: reward: missing; give at least one verifier, such as '- exact_match: {}'",
    ),
    "k above samples": (
        child("evaluate: {samples: 4, k: [1, 8]}\n"),
        "x.yaml:2: evaluate.k.1: must lie between 1 and evaluate.samples (4), not 8",
    ),
    "unknown strategy": (
        child("launch: {strategy: zero4}\n"),
        (
            "x.yaml:2: launch.strategy: must be one of single, ddp, zero1, zero2, zero3, zero3-offload, fsdp2, not 'zero4'; "
            "did you mean 'zero3'?"
        ),
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_recipe_gives_this_line(case, folder):
    text, expected = BROKEN[case]
    assert complaint(folder, text) == expected


def test_missing_recipe_names_the_nearest_file(folder):
    with pytest.raises(RecipeError) as caught:
        load("goood.yaml")
    assert str(caught.value) == "goood.yaml: no such file; did you mean good.yaml?"


def test_all_problems_are_reported_one_line_each(folder):
    lines = complaint(folder, child("seed: x\ntrainer: {beta: 1, learnig_rate: 2}\nsmapler: {}\n")).splitlines()
    assert len(lines) == 4
    assert {line.split(":")[1] for line in lines} == {"2", "3", "4"}


def test_problem_in_a_parent_names_the_parent(folder):
    (folder / "good.yaml").write_text(GOOD.replace("fraction", "fracton"))
    expected = (
        "good.yaml:9: objective.weights.clip_cov.fracton: unknown key 'fracton' (value 0.1); did you mean 'fraction'?"
    )
    assert complaint(folder, child("seed: 3\n")) == expected


def test_secret_value_is_not_repeated(folder):
    assert "abc123" not in complaint(folder, child("trainer: {hub_token: abc123}\n"))


def test_circle_over_two_files_is_found(folder):
    (folder / "y.yaml").write_text("extends: x.yaml\n")
    line = complaint(folder, "extends: y.yaml\n")
    assert line == "y.yaml:1: extends: goes round in a circle: x.yaml -> y.yaml -> x.yaml"
