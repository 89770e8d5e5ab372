"""A reward model, read from its folder."""

from __future__ import annotations

from typing import Any

import torch

from entropostat.reward.verifiers.model import RewardModel
from entropostat.trainers.build.reward_model import Classifier, load_reward_model


def loaded(path: str, **options: Any) -> Classifier:
    return load_reward_model(RewardModel(path=path, **options), path, torch.device("cpu"))
