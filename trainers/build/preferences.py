"""A reward model of our own: TRL's RewardTrainer on preferences between completions of the initial policy.

    python -m entropostat.trainers.build.preferences JOB FOLDER       what ``build_reward`` runs

It runs in a process of its own: a trainer inside a trainer would share accelerate's state and, with several ranks, wait
for processes that wait for it.
"""

from __future__ import annotations

import inspect
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset  # type: ignore[import-untyped]
from transformers import PrinterCallback
from trl import RewardConfig, RewardTrainer

from entropostat.data.example import Example, Prompt
from entropostat.recipe.blocks import BuildReward
from entropostat.recipe.terms import Term
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
from entropostat.trainers.build.cache import cached, content_key
from entropostat.trainers.build.models import load_model, load_tokenizer
from entropostat.trainers.evaluation import generation, rendering
from entropostat.trainers.evaluation.generation import generate, prompt_ids
from entropostat.trainers.evaluation.rendering import Asking, rendered
from entropostat.trainers.trl import stops
from entropostat.trainers.trl.stops import stop_tokens

TESTED = 0.1
"""Share of the prompts whose preferences, without noise, test the model."""
AT_ONCE = 1024
"""Completions generated at once."""
DISTRIBUTED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
REPORT = "preferences.json"
"""Beside the model: how many preferences, and the share of the tested ones that it gets right."""

Pair = dict[str, Any]
"""prompt, chosen, rejected."""


def build_reward(
    options: Mapping[str, Any],
    policy: str,
    examples: Sequence[Example],
    judges: Sequence[Term],
    tokens: int,
    seed: int,
    stop: Sequence[int | str] = (),
    chat: Mapping[str, Any] | None = None,
) -> Path:
    """Folder of the reward model that ``options``, a BuildReward block, describes, from the cache where it was built before.

    ``policy`` is the folder of the initial policy, ``examples`` what it is asked, ``judges`` the verifiers, of which the first
    of an example's source prefers one completion to another, and ``tokens`` the longest completion. ``seed`` is the recipe's and applies where the block
    sets none, and so is ``stop``, its sampler.stop; ``chat`` is its trainer.chat_template_kwargs.
    """
    block = BuildReward(**options)
    job = {
        "block": block.model_copy(update={"seed": seed if block.seed is None else block.seed}).model_dump(),
        "policy": policy,
        "examples": [asdict(example) for example in examples],
        "judges": [judge._asdict() for judge in judges],
        "tokens": tokens,
        "stop": list(stop),
        "chat": dict(chat or {}),
    }
    judging = [inspect.getmodule(VERIFIERS[kind]) for kind in dict.fromkeys(judge.kind for judge in judges)]
    modules = (sys.modules[__name__], generation, rendering, stops, *judging)
    code = [inspect.getsource(module) for module in modules if module]
    versions = [torch.__version__, transformers.__version__, trl.__version__]
    return cached("rewards", content_key([job, code, versions]), lambda folder: _run(job, folder))


def _run(job: Mapping[str, Any], folder: Path) -> None:
    file = folder / "job.json"
    file.write_text(json.dumps(job))
    # The ranks of a launch find each other by these variables; the child is alone.
    alone = {k: v for k, v in os.environ.items() if k not in DISTRIBUTED and not k.startswith(("ACCELERATE_", "FSDP_"))}
    command = [sys.executable, "-W", "ignore", "-m", __name__, str(file), str(folder)]
    done = subprocess.run(command, env={**alone, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"reward.model.build: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")
    file.unlink()
    report = json.loads((folder / REPORT).read_text())
    print(
        f"built the reward model: {report['pairs']} preferences, {report['accuracy']:.0%} of "
        f"{report['tested']} held-out ones right",
        file=sys.stderr,
        flush=True,
    )


def build(job: Mapping[str, Any], folder: Path) -> None:
    """Draw, judge, train, test, save."""
    block = BuildReward(**job["block"])
    tokenizer = load_tokenizer(job["policy"])
    policy = load_model(job["policy"], dtype="float32").eval()
    examples = [Example(**example) for example in job["examples"]]
    rng = random.Random(f"preferences-{block.seed}")
    rng.shuffle(examples)
    tested = max(1, round(TESTED * len(examples)))
    judges = {judge["name"]: VERIFIERS.build(judge["kind"], judge["options"]) for judge in job["judges"]}
    scorer = Scorer(judges, allow_code=True)
    stop, asking = stop_tokens(job["stop"], tokenizer), Asking(tokenizer, job["chat"])
    torch.manual_seed(block.seed or 0)
    try:
        test = collect(policy, asking, examples[:tested], scorer, block, job["tokens"], block.pairs, stop)
        pairs = collect(policy, asking, examples[tested:], scorer, block, job["tokens"], block.pairs, stop)
    finally:
        scorer.close()
    if not pairs or not test:
        raise ValueError(
            "the judge scores all completions of a prompt alike, so nothing is preferred; raise draws, or take easier prompts"
        )
    trainer = make_trainer(block, job["policy"], tokenizer, noisy(pairs, block.noise, block.seed or 0), test, folder)
    trainer.train()
    measured = trainer.evaluate()
    model: Any = trainer.model
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    report = {"pairs": len(pairs), "tested": len(test), "accuracy": measured["eval_accuracy"]}
    (folder / REPORT).write_text(json.dumps(report) + "\n")


def collect(
    policy: Any,
    asking: Asking,
    examples: Sequence[Example],
    scorer: Scorer,
    block: BuildReward,
    tokens: int,
    most: int,
    stop: Sequence[int] = (),
) -> list[Pair]:
    """Preferences, at most one a prompt: its best completion over its worst, where their scores differ."""
    size, tokenizer = max(1, AT_ONCE // block.draws), asking.processing_class
    pairs: list[Pair] = []
    for start in range(0, len(examples), size):
        part = examples[start : start + size]
        prompt, attention = prompt_ids(rendered(asking, part), tokenizer, policy.device)
        with torch.no_grad():
            ids = generate(
                policy, tokenizer, prompt, attention, tokens, stop, do_sample=True, num_return_sequences=block.draws
            )
        texts = tokenizer.batch_decode(ids[:, prompt.shape[1] :], skip_special_tokens=True)
        outcomes = scorer.verify(texts, [example for example in part for _ in range(block.draws)])
        for index, example in enumerate(part):
            rows = range(index * block.draws, (index + 1) * block.draws)
            scored = [(score, texts[i]) for i in rows if (score := outcomes[i].score) is not None]
            if not scored:
                continue
            best, worst = max(scored, key=lambda pair: pair[0]), min(scored, key=lambda pair: pair[0])
            if best[0] > worst[0]:
                pairs.append(_pair(example.prompt, best[1], worst[1]))
        if len(pairs) >= most:
            break
    return pairs[:most]


def noisy(pairs: Sequence[Pair], share: float, seed: int) -> list[Pair]:
    """The same preferences, of which ``share`` say the opposite."""
    rng = random.Random(f"noise-{seed}")
    turned = lambda pair: {**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]}
    return [turned(pair) if rng.random() < share else pair for pair in pairs]


def _pair(prompt: Prompt, chosen: str, rejected: str) -> Pair:
    if isinstance(prompt, str):
        return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    said = lambda text: [{"role": "assistant", "content": text}]
    return {"prompt": [dict(m) for m in prompt], "chosen": said(chosen), "rejected": said(rejected)}


def make_trainer(
    block: BuildReward, policy: str, tokenizer: Any, pairs: list[Pair], test: list[Pair], folder: Path
) -> RewardTrainer:
    """TRL's, on a model whose weights are the policy's and whose head is new."""
    args = RewardConfig(
        output_dir=str(folder),
        per_device_train_batch_size=block.batch,
        per_device_eval_batch_size=block.batch,
        num_train_epochs=block.epochs,
        learning_rate=block.learning_rate,
        lr_scheduler_type="linear",
        center_rewards_coefficient=0.01,
        max_length=None,
        seed=block.seed or 0,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        model_init_kwargs={"dtype": "float32"},
    )
    trainer = RewardTrainer(
        model=policy,
        args=args,
        train_dataset=Dataset.from_list(pairs),
        eval_dataset=Dataset.from_list(test),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    job, folder = map(Path, sys.argv[1:])
    build(json.loads(job.read_text()), folder)
