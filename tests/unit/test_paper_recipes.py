"""Recipes of published runs have the numbers of the scripts that they name, and the index of papers tells of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from entropostat import catalog
from entropostat.cli import paper_index
from entropostat.cli.plan import plan
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES

FOLDER = RECIPES / "papers"

BATCHES = {
    # prompts of a generation, completions of each, prompts of an update; in scripts: train_batch_size, n, ppo_mini_batch_size
    "dapo-32b": (512, 16, 32),
    "clip-cov-32b": (256, 8, 32),
    "kl-cov-32b": (256, 8, 32),
    "kl-cov-7b": (256, 8, 32),
    "skywork-or1": (256, 16, 256),
    "polaris-4b": (128, 8, 128),
    "justrl": (256, 8, 64),
    "olmo3-think": (64, 8, 64),
}

FILTERED = {"dynamic_sampling.max_rounds": 9, "dynamic_sampling.oversample": 3.0}
"""max_num_gen_batches 10, the first one counted; gen_prompt_bsz = 3 x train_prompt_bsz."""

CONSTANTS = {
    "dapo-32b": {
        "trainer.max_completion_length": 20480,
        "trainer.learning_rate": 1e-6,
        "trainer.weight_decay": 0.1,
        "trainer.warmup_steps": 10,
        "loss.epsilon": 0.2,
        "loss.epsilon_high": 0.28,
        "loss.dual": 10.0,
        "loss.type": "dapo",
        "overlong.buffer": 4096,
        **FILTERED,
    },
    "clip-cov-32b": {
        "trainer.max_completion_length": 8192,
        "trainer.learning_rate": 1e-6,
        "trainer.weight_decay": 0.0,
        "loss.epsilon": 1.0,
        "loss.epsilon_high": 1.0,
        "clip_cov.fraction": 2e-4,
        "clip_cov.low": 1.0,
        "clip_cov.high": 5.0,
        **FILTERED,
    },
    "kl-cov-32b": {"trainer.max_completion_length": 8192, "kl_cov.fraction": 2e-4, "kl_cov.coef": 1.0, **FILTERED},
    "kl-cov-7b": {"trainer.max_completion_length": 8192, "kl_cov.fraction": 2e-3, "kl_cov.coef": 1.0, **FILTERED},
    "skywork-or1": {
        "trainer.max_completion_length": 8192,
        "trainer.learning_rate": 1e-6,
        "entropy_bonus.coef": {
            "step": {"start": 0.0, "target": 0.2, "delta": 1e-4, "low": 0.0, "high": 0.005, "compare": "lt"}
        },
    },
    "polaris-4b": {
        "trainer.max_completion_length": 39936,
        "sampler.temperature": 1.4,
        "loss.epsilon": 0.2,
        "loss.epsilon_high": 0.28,
    },
    "justrl": {
        "trainer.max_completion_length": 15360,
        "trainer.weight_decay": 0.1,
        "trainer.warmup_steps": 10,
        "loss.epsilon": 0.2,
        "loss.epsilon_high": 0.28,
        "loss.dual": 10.0,
    },
    "olmo3-think": {
        "trainer.max_completion_length": 32768,
        "trainer.learning_rate": 1e-6,
        "loss.epsilon": 0.2,
        "loss.epsilon_high": 0.272,
        "trainer.vllm_importance_sampling_clip_max": 2.0,
    },
    "prorl": {"sampler.temperature": 1.2, "loss.epsilon": 0.2, "loss.epsilon_high": 0.4, "kl_ref.reference": "reset"},
    "prorl-v2": {
        "loss.epsilon": 0.2,
        "loss.epsilon_high": 0.27,
        "kl_ref.coef": 1e-4,
        "reinforce_pp.baseline": "group",
        "icepop.low": 0.5,
        "icepop.high": 5.0,
        "dynamic_sampling.max_rounds": 9,
        "dynamic_sampling.oversample": 1.5,
    },
    "scalerl": {"difficulty.high": 0.9, "loss.epsilon_high": 4.0, "grpo.scale": "batch", "trainer.num_generations": 16},
    "deepswe": {"loss.epsilon_high": 0.28, "trainer.mask_truncated_completions": True},
    "magistral": {"loss.epsilon_high": 0.26},
}


def value(recipe, key):
    """Of ``trainer.x``, ``sampler.x``, ``loss.x`` or ``TERM.x``."""
    owner, name = key.split(".")
    if owner in ("trainer", "sampler"):
        block = getattr(recipe, owner)
        return block.get(name) if isinstance(block, dict) else getattr(block, name)
    (term,) = [t for slot, t in recipe.terms if t.kind == owner or (owner == "loss" and slot == "loss")]
    return term.options[name]


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_a_published_run_has_the_constants_of_its_script(name):
    recipe = load(FOLDER / f"{name}.yaml")
    assert {key: value(recipe, key) for key in CONSTANTS[name]} == CONSTANTS[name]


UNCORRECTED = {"dapo-32b", "clip-cov-32b", "kl-cov-32b", "kl-cov-7b", "justrl", "prorl-v2"}
"""Scripts of several updates per generation that correct nothing for the sampler, or by a term of the objective."""


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_no_published_run_drops_long_completions_by_the_product_of_their_ratios(name):
    trainer = load(FOLDER / f"{name}.yaml").trainer
    assert (trainer.get("vllm_importance_sampling_correction") is False) == (name in UNCORRECTED)
    assert trainer["vllm_importance_sampling_mode"] == "token_truncate"


def test_groups_without_a_spread_are_replaced_in_the_runs_that_do_so():
    asking = {f.stem for f in FOLDER.glob("*.yaml") if any(t.kind == "dynamic_sampling" for _, t in load(f).terms)}
    assert asking == {"dapo-32b", "clip-cov-32b", "kl-cov-32b", "kl-cov-7b", "prorl", "prorl-v2", "olmo3-think"}


@pytest.mark.parametrize("name", sorted(BATCHES))
def test_a_published_run_has_the_batch_of_its_script(name):
    batch = plan(load(FOLDER / f"{name}.yaml"))["batch"]
    prompts, group, update = BATCHES[name]
    assert (batch["prompts_per_generation"], batch["completions_per_prompt"]) == (prompts, group)
    assert batch["sequences_per_step"] == update * group


def test_no_published_run_goes_unchecked():
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(CONSTANTS)


def test_a_run_whose_script_was_read_has_its_batch_checked_and_names_a_commit():
    read = {run.name for run in paper_index.runs() if "@" in run.script and "TRL" not in run.title}
    assert set(BATCHES) <= read


def test_the_index_has_every_term_with_a_paper_and_every_run():
    index = paper_index.papers()
    terms = {term for terms, _ in index.values() for term in terms}
    cited = {
        f"{slot}/{t.name}" for slot, ts in catalog.load().terms.items() for t in ts.values() if "arXiv:" in t.paper
    }
    assert terms == cited
    assert index["2505.22617"][1] == ["clip-cov-32b", "kl-cov-32b", "kl-cov-7b"]
    text = "\n".join(paper_index.text())
    assert all(run.title in text and run.script in text for run in paper_index.runs())


@pytest.mark.parametrize(
    "head", ["# schema", "# schema\n# A run\n# Script: x", "# schema\n# A run\n# from x\n# Differs:\n# - all"]
)
def test_a_head_that_does_not_say_its_script_and_differences_is_refused(head, tmp_path):
    file = Path(tmp_path / "run.yaml")
    file.write_text(head + "\nname: run\n")
    with pytest.raises(ValueError, match=r"run\.yaml.*Script"):
        paper_index.Run.read(file)
