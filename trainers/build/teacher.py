"""The recipe's ``teacher:`` block, opened: a whole model beside the policy, with the policy's tokenizer."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from entropostat.recipe.facts import teacher_readers
from entropostat.recipe.lints.teacher import different
from entropostat.recipe.recipe import Recipe
from entropostat.trainers.build.models import load_model, load_tokenizer, model_path
from entropostat.trainers.build.policy import pretraining_line


def load_teacher(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Any:
    """None where no term reads one. Raises ValueError for one whose tokenizer is not ``tokenizer``, the policy's."""
    block = recipe.teacher
    if not teacher_readers(recipe):
        return None
    package = (block.package.name, block.package.file) if block.package else None
    path = model_path(
        path=block.path, build=block.build, package=package, held_out=recipe.data.held_out, seed=recipe.seed,
        progress=pretraining_line,
    )  # fmt: skip
    own = load_tokenizer(path, revision=block.revision, key="teacher.path")
    if (why := different(tokenizer.get_vocab(), own.get_vocab())) is not None:
        raise ValueError(
            f"teacher.{block.stated[0]}: {path} has another tokenizer than the policy: {why}; distillation compares "
            "distributions over the same tokens; give a teacher of the policy's family"
        )
    how: dict[str, Any] = {
        "dtype": block.dtype,
        "attn_implementation": block.attn_implementation,
        "revision": block.revision,
    }
    return load_model(path, **how, key="teacher.path")
