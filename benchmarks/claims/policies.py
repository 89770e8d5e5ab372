"""The policy that the puzzle begins with, pre-trained as the quickstart's is, on demonstrations that end anywhere."""

from __future__ import annotations

import inspect
from pathlib import Path
from random import Random

import torch
import transformers

from benchmarks.claims import puzzle
from entropostat.data import chain, split
from entropostat.recipe.blocks import Build
from entropostat.trainers.build.cache import cached, content_key, save_model
from entropostat.trainers.build.characters import make_tokenizer
from entropostat.trainers.build.pretrain import fit


def build(block: Build, held_out: float, seed: int) -> Path:
    """Folder of the policy that ``block`` describes; what it says of chains means nothing here."""
    block = block.model_copy(update={"seed": seed if block.seed is None else block.seed})
    code = [inspect.getsource(module) for module in (puzzle, inspect.getmodule(fit)) if module]
    key = {"block": block.model_dump(), "held_out": held_out, "code": code}
    key["versions"] = [torch.__version__, transformers.__version__]

    def make(folder: Path) -> None:
        tokenizer = make_tokenizer()
        rng = Random(f"puzzle-demonstrations-{block.seed}")
        asked = [text + chain.END for text in puzzle.prompts(4096, 0)]
        shown = [prompt for prompt in asked if not split.is_held_out(prompt, held_out)]
        drawn = [rng.choice(shown) for _ in range(block.steps * block.batch)]
        pairs = [(prompt, puzzle.demonstration(prompt, rng)) for prompt in drawn]
        save_model(fit(block, pairs, tokenizer), folder)
        tokenizer.save_pretrained(folder)

    return cached("policies", content_key(key), make)
