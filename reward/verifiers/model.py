"""A reward model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option


@VERIFIERS.register("model", paper="arXiv:2203.02155")
@dataclass(frozen=True, kw_only=True)
class RewardModel(Verifier):
    """The score that a sequence-classification model gives to prompt and completion.

    It runs in the trainer's process, whole on every rank, in evaluation mode. A score says which completion is liked
    better, and not what is right: evaluation asks the first verifier that is no model, and judges more than form. Give that
    one ``weight: 0`` to measure by it without training on it.
    """

    path: str | None = option(None, doc="hub id or local folder of a sequence-classification model")
    build: dict[str, Any] | None = option(  # noqa: RUF009
        None, doc="trained here on preferences between completions of the initial policy; {} for the defaults"
    )
    revision: str | None = option(None, doc="branch, tag or commit on the hub")
    label: int | None = option(None, low=0, doc="which output is the score; null: the model has only one")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option("auto", doc="of the weights; auto: as saved")
    device: str | None = option(None, doc="such as cuda:1 or cpu; null: the trainer's own")
    batch: int = option(64, low=1, doc="completions scored at once")
    max_length: int | None = option(
        None, low=1, doc="tokens; a longer text loses its beginning, and is counted; null: what the model can read"
    )
    end: bool = option(True, doc="close plain text with the end token, as TRL's RewardTrainer does")

    learned: ClassVar[bool] = True
    compares = False

    def __post_init__(self) -> None:
        if (self.path is None) == (self.build is None):
            raise ValueError("give exactly one of path and build, such as path: my-reward-model")
        if self.build is not None and self.label is not None:
            raise ValueError("label: a model that is built here has one output; leave label out")
