"""Reward models: sequence classification in the trainer's process, the same whole model on every rank."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

from entropostat.data.example import Completion, Example
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifiers.model import RewardModel
from entropostat.trainers.build.models import check_attention
from entropostat.trainers.build.opened import unreachable
from entropostat.trainers.model.reward_padding import configured_pad, score_as_alone


@dataclass
class Classifier:
    """Scores completions by one output of a model. ``truncated`` counts those of the last call that were cut."""

    term: RewardModel
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    limit: int
    truncated: int = 0

    @torch.no_grad()
    def __call__(self, completions: Sequence[Completion], examples: Sequence[Example]) -> list[float | None]:
        texts = [self.render(example, completion) for example, completion in zip(examples, completions, strict=True)]
        rows = [self.encode(text, whole) for text, whole in texts]
        self.truncated = sum(len(row) > self.limit for row in rows)
        # By the tokenizer, which keeps the special token in front that an encoder's head reads.
        cut: dict[str, Any] = {"truncation": True, "max_length": self.limit}
        rows = [
            self.encode(*text, **cut) if len(row) > self.limit else row for text, row in zip(texts, rows, strict=True)
        ]
        # Rows of like length together: a batch is as slow as its longest row.
        order = sorted((i for i, row in enumerate(rows) if row), key=lambda i: len(rows[i]))
        scores: list[float | None] = [None] * len(rows)
        for start in range(0, len(order), self.term.batch):
            places = order[start : start + self.term.batch]
            for place, score in zip(places, self.forward([rows[i] for i in places]).tolist(), strict=True):
                scores[place] = score
        return scores

    def encode(self, text: str, whole: bool, **options: Any) -> list[int]:
        """Token ids. A ``whole`` text has its special tokens already."""
        return list(self.tokenizer(text, add_special_tokens=not whole, **options)["input_ids"])

    def render(self, example: Example, completion: Completion) -> tuple[str, bool]:
        """Prompt and completion as one text, and whether a chat template has put the special tokens in."""
        if isinstance(example.prompt, str):
            text = example.prompt + (completion if isinstance(completion, str) else _joined(completion))
            text += (self.tokenizer.eos_token or "") if self.term.end else ""
            return text, False
        said = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
        if self.tokenizer.chat_template is None:
            raise ValueError(
                f"reward model {self.model.name_or_path}: prompts are conversations, and its tokenizer has no chat "
                "template; save one with the tokenizer, or leave data.system out"
            )
        messages = [dict(message) for message in (*example.prompt, *said)]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False)), True

    def forward(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """(N,) scores of N rows of ids, padded on the right, where positions stay as they are (see reward_padding.py)."""
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=self.model.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.model.device)
        attention = (torch.arange(longest, device=self.model.device) < lengths[:, None]).long()
        logits: Tensor = self.model(input_ids=ids, attention_mask=attention).logits
        return logits[:, self.term.label or 0].float()


def load_reward_model(
    term: RewardModel, path: str | Path, device: torch.device, plugin: Any = None, name: str = "model"
) -> Classifier:
    """Open a reward model for scoring. ``plugin`` is accelerate's DeepSpeed plug-in, whose engine must not shard it.

    Raises OSError for what cannot be opened and ValueError for what is no reward model; ``name`` is the term's.
    """
    path, key = str(path), f"reward.{name}"
    options: dict[str, Any] = {"revision": term.revision or "main", "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(path, **options)
        tokenizer = AutoTokenizer.from_pretrained(path, truncation_side="left", **options)
    except (OSError, ValueError) as error:
        if text := unreachable(f"{key}.path", path, error):
            raise OSError(text) from error
        folder = "there is no folder" if path.startswith((".", "/", "~")) and not Path(path).is_dir() else "cannot open"
        raise OSError(f"{key}.path: {folder} {path}: {str(error).splitlines()[0]}") from error
    check_attention(f"{key}.path", config)
    dtype = term.dtype if term.dtype == "auto" else getattr(torch, term.dtype)
    with _unsharded(plugin):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            path, config=config, dtype=dtype, output_loading_info=True, **options
        )
    check_outputs(term, path, config, report, key)
    score_as_alone(model, configured_pad(model))
    model.requires_grad_(False).eval().to(device if term.device is None else term.device)
    positions = getattr(config.get_text_config(), "max_position_embeddings", None) or tokenizer.model_max_length
    return Classifier(term, model, tokenizer, term.max_length or min(positions, tokenizer.model_max_length))


def check_outputs(term: RewardModel, path: str, config: Any, report: Mapping[str, Any], key: str) -> None:
    """Raise ValueError where the score would be random or is not the only output."""
    missing = sorted(report["missing_keys"])
    if missing:
        kind = ", ".join(config.architectures or ["model without a class"])
        raise ValueError(
            f"{key}.path: {path} is a {kind}, whose weights lack {missing[0]}: its score would be random. "
            "Give a sequence-classification model"
        )
    outputs = int(config.num_labels)
    if term.label is None and outputs != 1:
        names = ", ".join(f"{k} ({name})" for k, name in sorted(config.id2label.items())[:8])
        raise ValueError(f"{key}.path: {path} has {outputs} outputs; say which is the score by label: {names}")
    if (term.label or 0) >= outputs:
        raise ValueError(f"{key}.label: {path} has outputs 0 to {outputs - 1}, not {term.label}")


def attach(scorer: Scorer, paths: Mapping[str, str | Path], device: torch.device, plugin: Any = None) -> None:
    """Load a model for every learned verifier of ``scorer``; ``paths`` says where each lies, by name."""
    for name, term in scorer.verifiers.items():
        if isinstance(term, RewardModel):
            scorer.models[name] = load_reward_model(term, paths[name], device, plugin, name)


@contextlib.contextmanager
def _unsharded(plugin: Any) -> Iterator[None]:
    """Inside, transformers does not know of ZeRO-3: it would cut the model as it cuts the policy, and no engine would
    ever put it together.
    """
    config = getattr(plugin, "dschf", None)
    if config is None:
        yield
        return
    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        set_hf_deepspeed_config(config)


def _joined(messages: Sequence[Mapping[str, str]]) -> str:
    return "".join(message["content"] or "" for message in messages)
