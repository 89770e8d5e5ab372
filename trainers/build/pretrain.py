"""The quickstart's policy: a small Qwen3-shaped character model, pre-trained on demonstrations of the chain task.

Nothing is downloaded. Held-out prompts are never shown, so that 'held out' means unseen by the weights.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from entropostat.data import chain, split
from entropostat.recipe.blocks import Build
from entropostat.trainers.build import characters
from entropostat.trainers.build.cache import cached, content_key, save_model
from entropostat.trainers.build.characters import make_tokenizer

Progress = Callable[[int, int, float], None]
"""(steps done, steps in all, loss)."""

POSITIONS = 512
WARM_UP = 30
REFUSED = 1000
"""Held-out chains drawn for each one that is not."""
FLOOR = 0.1
"""The learning rate ends at this share of its peak."""


def build_policy(block: Build, held_out: float, seed: int, progress: Progress | None = None) -> Path:
    """Folder of the policy that ``block`` describes, from the cache where it was built before.

    ``seed`` is the recipe's and applies where the block sets none. ``held_out`` is the recipe's share of held-out
    prompts.
    """
    block = block.model_copy(update={"seed": seed if block.seed is None else block.seed})
    recipe = {
        "block": block.model_dump(),
        "held_out": held_out,
        "code": [
            inspect.getsource(module)
            for module in (inspect.getmodule(build_policy), characters, chain, split)
            if module
        ],
        "versions": [torch.__version__, transformers.__version__],
    }

    def make(folder: Path) -> None:
        tokenizer = make_tokenizer()
        model = pretrain(block, held_out, tokenizer, progress)
        save_model(model, folder)
        tokenizer.save_pretrained(folder)

    return cached("policies", content_key(recipe), make)


def make_model(block: Build, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=block.hidden,
        intermediate_size=block.ff,
        num_hidden_layers=block.layers,
        num_attention_heads=block.heads,
        num_key_value_heads=block.heads,
        head_dim=block.hidden // block.heads,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def demonstrations(block: Build, held_out: float, count: int) -> list[tuple[str, str]]:
    """``count`` pairs of prompt and completion, none of them on a held-out prompt.

    A slip puts a random value in place of the right one and the working goes on from there.
    """
    rng = random.Random(f"demonstrations-{block.seed}")
    verdicts: dict[str, bool] = {}
    pairs: list[tuple[str, str]] = []
    refused = 0
    while len(pairs) < count:
        length = rng.choice(block.lengths)
        places = range(2 * length - 1)
        expression = "".join([rng.choice(chain.OPERATORS if i % 2 else chain.DIGITS) for i in places])
        if expression not in verdicts:
            verdicts[expression] = split.is_held_out(expression + chain.END, held_out)
        if verdicts[expression]:
            refused += 1
            if refused > REFUSED * (1 + len(pairs)):
                raise ValueError(
                    f"data.held_out: {held_out:g} leaves the policy of model.build no chain of {block.lengths} numbers to "
                    "learn from; lower it"
                )
            continue
        if rng.random() < block.working:
            completion = chain.working(expression, _slipping(expression, block, rng))
        else:
            completion = f"={chain.values(expression, block.modulus)[-1]}"
        pairs.append((expression + chain.END, completion))
    return pairs


def _slipping(expression: str, block: Build, rng: random.Random) -> list[int]:
    value, steps = int(expression[0]), []
    for operator, digit in zip(expression[1::2], expression[2::2], strict=True):
        value = chain.apply(value, operator, digit, block.modulus)
        if rng.random() < block.slips:
            value = rng.randrange(block.modulus)
        steps.append(value)
    return steps


def encode(pairs: list[tuple[str, str]], tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids (N, L), labels (N, L) with -100 off the completion, and lengths (N,). All at once: the tokenizer in
    the training loop took as long as the training.
    """
    vocabulary = tokenizer.get_vocab()
    end = [tokenizer.eos_token_id]
    rows = [[vocabulary[c] for c in prompt + completion] + end for prompt, completion in pairs]
    lengths = torch.tensor([len(row) for row in rows])
    longest = int(lengths.max())
    ids = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows])
    starts = torch.tensor([len(prompt) for prompt, _ in pairs])
    place = torch.arange(longest)
    inside = (place >= starts[:, None]) & (place < lengths[:, None])
    return ids, torch.where(inside, ids, -100), lengths


def pretrain(
    block: Build, held_out: float, tokenizer: PreTrainedTokenizerFast, progress: Progress | None = None
) -> Qwen3ForCausalLM:
    """Supervised training on fresh demonstrations."""
    return fit(block, demonstrations(block, held_out, block.steps * block.batch), tokenizer, progress)


def fit(
    block: Build, pairs: list[tuple[str, str]], tokenizer: PreTrainedTokenizerFast, progress: Progress | None = None
) -> Qwen3ForCausalLM:
    """A new model after ``block.steps`` steps on pairs of prompt and completion, ``block.batch`` a step.

    Leaves the global random state and thread count as they were.
    """
    ids, labels, lengths = encode(pairs, tokenizer)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on so small a model a second thread costs more than it brings
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(block.seed or 0)
            model = make_model(block, tokenizer)
        model.train()
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=block.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        for step in range(block.steps):
            rows = slice(step * block.batch, (step + 1) * block.batch)
            scale = min(1.0, (step + 1) / WARM_UP) * (1 - (1 - FLOOR) * step / block.steps)
            for group in optimizer.param_groups:
                group["lr"] = block.learning_rate * scale
            loss = backward(model, ids[rows], labels[rows], lengths[rows])
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if progress is not None:
                progress(step + 1, block.steps, loss)
    finally:
        torch.set_num_threads(threads)
    model.eval()
    return model


def backward(model: Any, ids: Tensor, labels: Tensor, lengths: Tensor) -> float:
    """Accumulate the gradient of the mean loss over all labels; return the loss.

    Short and long rows run apart. It is the same sum, and most rows are much shorter than the longest.
    """
    count = (labels[:, 1:] != -100).sum()
    total = 0.0
    for rows in _by_length(lengths):
        width = int(lengths[rows].max())
        logits = model(input_ids=ids[rows, :width], use_cache=False).logits[:, :-1]
        targets = labels[rows, 1:width]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum") / count
        loss.backward()
        total += loss.item()
    return total


def _by_length(lengths: Tensor) -> list[Tensor]:
    """Row numbers in one group, or in the two whose padded area is smallest."""
    order = lengths.argsort(stable=True)
    ordered = lengths[order]
    cut = torch.arange(len(order))
    shorter = torch.cat([ordered.new_zeros(1), ordered[:-1]])
    area = cut * shorter + (len(order) - cut) * ordered[-1]
    best = int(area.argmin())
    return [order] if best == 0 else [order[:best], order[best:]]
