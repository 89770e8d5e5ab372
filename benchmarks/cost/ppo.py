"""What an update of PPO costs beside TRL's own, which was last in TRL 1.12.

    python -m venv OLD && OLD/bin/pip install trl==1.12.0 transformers==5.23.0
    python -m benchmarks.cost.ppo --python OLD/bin/python [--size small] [--updates 20]

Each row is a process of its own with one thread; they take turns update by update, in random order each round. An update is a
generation, its scoring by policy, reference, critic and reward model, and four epochs over it, on the same models and shapes.
What counts is processor time, which does not depend on what else the machine does. Results are written as they come.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast, PrinterCallback

from benchmarks.cost.pairing import ratio
from benchmarks.cost.ppo_theirs import QUIET, Told
from benchmarks.cost.subjects import LARGE, SMALL, Size, saved, tokenizer
from benchmarks.experiment import RECORDED, ROOT

THEIRS = Path(__file__).with_name("ppo_theirs.py")
EPOCHS, WARM_UP = 4, 2
SIZES = {size.name: size for size in (SMALL, LARGE)}
ROWS: dict[str, dict[str, Any]] = {
    "TRL 1.12": {"collect": True},
    "TRL 1.12 without its gc.collect": {"collect": False},
    "ours, critic on the policy's trunk": {"trunk": "shared"},
    "ours, critic of its own": {"trunk": "separate"},
}


def prepared(size: Size, folder: Path) -> None:
    """The policy with its tokenizer, and a classifier that is reward model and, in TRL's, critic."""
    Path(saved(size)).rename(folder / "policy")
    saved.cache_clear()
    tokenizer(size).save_pretrained(folder / "policy")
    config = AutoConfig.from_pretrained(folder / "policy", num_labels=1)
    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / "reward")
    tokenizer(size).save_pretrained(folder / "reward")


def spoken(folder: Path) -> PreTrainedTokenizerFast:
    """By its own class: the model's type would name another."""
    return PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")


def ours(folder: Path, settings: dict[str, Any]) -> None:
    """The other worker: the same update by our trainer."""
    from datasets import Dataset

    from entropostat.recipe.blocks import Critic
    from entropostat.trainers.ppo import EntropyPPOTrainer
    from entropostat.trainers.trl.ppo_config import PPOConfig

    torch.set_num_threads(1)
    trainer = EntropyPPOTrainer(
        model=str(folder / "policy"),
        reward_funcs=str(folder / "reward"),
        args=PPOConfig(
            output_dir=str(folder / settings["trunk"]),
            per_device_train_batch_size=settings["batch"],
            gradient_accumulation_steps=1,
            steps_per_generation=1,
            num_iterations=EPOCHS,
            max_completion_length=settings["tokens"],
            max_steps=EPOCHS * settings["updates"],
            logging_steps=EPOCHS,
            learning_rate=3e-6,
            temperature=0.7,
            **QUIET,
        ),
        processing_class=spoken(folder / "policy"),
        reward_processing_classes=spoken(folder / "reward"),
        train_dataset=Dataset.from_dict({"prompt": settings["prompts"]}),
        objective={
            "advantages": [{"gae": {"lam": 0.95, "kl_coef": 0.05, "bootstrap": False}}],
            "loss": {"trl": {"type": "dapo", "epsilon": 0.2}},
        },
        critic=Critic(trunk=settings["trunk"]),
        callbacks=[Told(EPOCHS)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


class Worker:
    """One row's process."""

    def __init__(self, python: str, row: dict[str, Any], folder: Path, settings: dict[str, Any]) -> None:
        given = json.dumps(settings | row)
        mine = [sys.executable, "-m", "benchmarks.cost.ppo", "--worker", str(folder), given]
        command = [python, str(THEIRS), str(folder), given] if "collect" in row else mine
        self.log = (folder / f"{'-'.join(map(str, row.values()))}.log").open("w+")
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" or "collect" not in row}
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )

    def update(self) -> dict[str, float]:
        """Seconds of the next one."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        for line in self.process.stdout:  # trainers print, too
            if line.startswith('{"cpu"'):
                told: dict[str, float] = json.loads(line)
                return told
        self.log.seek(0)
        raise RuntimeError(f"the worker ended:\n{self.log.read()[-4000:]}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def measure(python: str, size: Size, updates: int, note: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(size, folder)
        settings = {
            "batch": size.micro_batch,
            "tokens": size.tokens,
            "epochs": EPOCHS,
            "updates": updates + WARM_UP + 2,
            "prompts": [" ".join(f"w{(i * j) % 20}" for j in range(1, 6)) for i in range(256)],
        }
        workers = {name: Worker(python, row, folder, settings) for name, row in ROWS.items()}
        times: dict[str, list[dict[str, float]]] = {name: [] for name in ROWS}
        order = random.Random(0)
        try:
            for index in range(WARM_UP + updates):
                for name in order.sample(list(workers), len(workers)):
                    seconds = workers[name].update()
                    if index >= WARM_UP:
                        times[name].append(seconds)
                if index >= WARM_UP:
                    note(times)
        finally:
            for worker in workers.values():
                worker.close()


def report(results: dict[str, Any]) -> str:
    lines = ["# PPO beside TRL's own", "", *(__doc__ or "").strip().splitlines()[2:], ""]
    for name, row in results.items():
        base = [x["cpu"] for x in row["times"]["TRL 1.12"]]
        bare = [x["cpu"] for x in row["times"]["TRL 1.12 without its gc.collect"]]
        lines += [f"## {name}", "", row["subject"], "", f"{len(base)} updates each, after {WARM_UP} that warm up.", ""]
        lines += ["| | processor seconds an update, median | to TRL 1.12 | to it without its gc.collect |", "|---|---|---|---|"]  # fmt: skip
        for subject, times in row["times"].items():
            seconds = [x["cpu"] for x in times]
            cells = [_cell(ratio(seconds, other)) for other in (base, bare)]
            lines.append(f"| {subject} | {statistics.median(seconds):.3f} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(found: dict[str, float]) -> str:
    return f"{found['median']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def main() -> int:
    parser = argparse.ArgumentParser(description="PPO beside TRL's own.")
    parser.add_argument("--python", help="an interpreter with trl 1.12")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--updates", type=int, default=20, help="measured updates of each row (default 20)")
    parser.add_argument("--out", type=Path, default=RECORDED / "cost", help="folder of the results")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        ours(Path(options.worker[0]), json.loads(options.worker[1]))
        return 0
    if options.python is None:
        parser.error("--python: an interpreter with trl 1.12 is needed, which had the last PPOTrainer")
    options.out.mkdir(parents=True, exist_ok=True)
    file, size = options.out / "ppo.json", SIZES[options.size]
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def note(times: dict[str, list[dict[str, float]]]) -> None:
        results[size.name] = {"subject": size.describe().partition(", micro")[0] + ".", "times": times}
        file.write_text(json.dumps(results, indent=1) + "\n")
        file.with_suffix(".md").write_text(report(results))

    measure(options.python, size, options.updates, note)
    print(file.with_suffix(".md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
