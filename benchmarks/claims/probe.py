"""A look at a policy on held-out prompts: how often it is right, in how many ways, and how uncertain it is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback

from benchmarks.claims.tasks import PROMPTS, SAMPLES, K
from entropostat.data.example import Example
from entropostat.trainers.evaluation.draws import EvaluateSettings, chunked, drawn_here
from entropostat.trainers.evaluation.entropy import completion_entropy
from entropostat.trainers.evaluation.generation import completion_ids, prompt_ids
from entropostat.trainers.evaluation.summary import pass_at_k
from entropostat.trainers.prompts import load_data

Look = dict[str, float]


class Probe(TrainerCallback):  # type: ignore[misc]
    """Looks before the first step, every so many steps, and after the last one. Leaves random states as they were.

    Sampling is plain, at temperature 1, whatever a method does to its own: policies are compared, and not samplers.
    """

    def __init__(self, run: Any, every: int, prompts: int = PROMPTS, samples: int = SAMPLES, k: int = K) -> None:
        self.trainer, self.verify, self.every, self.k = run.trainer, run.scorer.verify, every, k
        name, examples = list(load_data(run.recipe).tests.items())[-1]
        stop = tuple(self.trainer.eos_token_ids)
        length = self.trainer.max_completion_length
        self.settings = EvaluateSettings(length, prompts, samples, (k,), greedy=False, stop=stop)
        self.chunks = chunked({name: examples}, self.settings, self.trainer)
        self.looks: dict[int, Look] = {}
        self.seconds = 0.0
        """Of this process's time, spent on looking."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.look(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.every == 0 or control.should_training_stop or state.global_step == state.max_steps:
            self.look(state.global_step)

    def look(self, step: int) -> None:
        began = time.process_time()
        self.looks[step] = self()
        self.seconds += time.process_time() - began

    @torch.no_grad()
    def __call__(self) -> Look:
        model, tokenizer = self.trainer.model, self.trainer.processing_class
        was = model.training
        model.eval()
        try:
            with torch.random.fork_rng(devices=[]):
                texts, asked, entropy, tokens = self._drawn(model, tokenizer)
        finally:
            model.train(was)
        verdicts = self.verify(texts, asked)
        return summary(
            texts, [v.right for v in verdicts], [v.strategy for v in verdicts], self.settings.samples, self.k
        ) | {"entropy": entropy / tokens, "length": tokens / len(texts)}

    def _drawn(self, model: Any, tokenizer: Any) -> tuple[list[str], list[Example], float, int]:
        draw, n = drawn_here(model, tokenizer, self.settings), self.settings.samples
        texts: list[str] = []
        asked: list[Example] = []
        entropy, tokens = 0.0, 0
        for chunk in self.chunks:
            samples = draw(chunk).samples
            prompt, attention = prompt_ids([p for p in chunk.prompts for _ in range(n)], tokenizer, model.device)
            completion, mask = completion_ids(samples, tokenizer, model.device)
            ids, whole = torch.cat([prompt, completion], 1), torch.cat([attention, mask], 1)
            entropy += float(completion_entropy(model, ids, whole, prompt.shape[1]).sum())
            tokens += int(mask.sum())
            texts += tokenizer.batch_decode(samples, skip_special_tokens=True)
            asked += [example for example in chunk.examples for _ in range(n)]
        return texts, asked, entropy, tokens


def summary(
    texts: Sequence[str], right: Sequence[bool], strategies: Sequence[str | None], n: int, k: int
) -> dict[str, float]:
    """pass@1; pass@k; expected number of different right texts among k samples, as a share of k; share that shows its working."""
    groups = [list(zip(texts[i : i + n], right[i : i + n], strict=True)) for i in range(0, len(texts), n)]
    return {
        "pass@1": statistics.mean(map(float, right)),
        f"pass@{k}": statistics.mean(pass_at_k(n, sum(ok for _, ok in group), k) for group in groups),
        "distinct": statistics.mean(distinct([text for text, ok in group if ok], n, k) for group in groups) / k,
        "working": statistics.mean(strategy == "working" for strategy in strategies),
    }


def distinct(right: Sequence[str], n: int, k: int) -> float:
    """Unbiased estimate of how many different right texts ``k`` samples have, from ``n``: each counts by the probability that a
    subset of k has it.
    """
    return sum(pass_at_k(n, right.count(text), k) for text in set(right))
