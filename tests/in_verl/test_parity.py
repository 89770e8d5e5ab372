"""Against verl's own losses: the same advantages, log-probs and masks give the same loss and the same gradient, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from in_verl.support import Recorded, apart, ours, settings, verls
from verl.workers.config import PolicyLossConfig

from entropostat.rl.covariance import selection_keys
from entropostat.verl.driver import Driver

EXACT = 1e-10
CLIP = {"ppo_clip": {"epsilon": 0.2, "epsilon_high": 0.28}}
WIDE = {"clip_ratio_low": 0.2, "clip_ratio_high": 0.28}


def block(loss: Any, **slots: Any) -> dict[str, Any]:
    """Without an estimator: the advantages are verl's."""
    return {"loss": loss, **slots}


def ours_of(given: dict[str, Any], recorded: Recorded, layout: Any = None, mode: str = "token-mean") -> Any:
    return ours(Driver(settings(given, mode, scale=24)), recorded, layout)


MODES = {
    "dapo": "token-mean",
    "grpo": "seq-mean-token-mean",
    "luspo": "seq-mean-token-sum",
    "dr_grpo": "seq-mean-token-sum-norm",
}


@pytest.mark.parametrize("kind", MODES)
def test_vanilla_by_each_of_its_means(kind: str) -> None:
    recorded, layout = Recorded(), [[0, 3, 5], [1, 2, 4, 11], [6], [7, 8, 9, 10]]
    loss = {"ppo_clip": {"epsilon": 0.2, "epsilon_high": 0.28, "type": kind}}
    theirs = verls(recorded, layout, loss_agg_mode=MODES[kind], loss_scale_factor=24, **WIDE)
    assert apart(ours_of(block(loss), recorded, layout, MODES[kind]), theirs) < EXACT


LOSSES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "dual clip": ({"ppo_clip": {"epsilon_high": 0.28, "dual": 3.0}}, "vanilla", {**WIDE, "clip_ratio_c": 3.0}),
    "cispo": ({"cispo": {"epsilon": 0.2, "epsilon_high": 0.28}}, "cispo", WIDE),
    "sapo": ({"sapo": {}}, "sapo", {"loss_agg_mode": "seq-mean-token-mean"}),
    "gspo": (
        {"gspo": {"epsilon": 0.2, "epsilon_high": 0.28}},
        "gspo",
        {**WIDE, "loss_agg_mode": "seq-mean-token-mean"},
    ),
    "dppo_tv": (
        {"dppo": {"behaviour": "old", "cap": 3.0, "value": "score", "low": 0.05, "high": 0.1}},
        "dppo_tv",
        {"clip_ratio_low": 0.05, "clip_ratio_high": 0.1, "clip_ratio_c": 3.0},
    ),
    "dppo_kl": (
        {"dppo": {"divergence": "kl", "behaviour": "old", "cap": 3.0, "value": "score", "low": 0.01, "high": 0.02}},
        "dppo_kl",
        {"clip_ratio_low": 0.01, "clip_ratio_high": 0.02, "clip_ratio_c": 3.0},
    ),
    "dro": ({"dro": {"beta": 0.05}}, "dro", {}),
    "gpg": ({"gpg": {}}, "gpg", {}),
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_of_verls_losses(name: str) -> None:
    loss, mode, actor = LOSSES[name]
    recorded = Recorded(far=0.6)
    theirs = verls(recorded, policy_loss=PolicyLossConfig(loss_mode=mode, dro_beta=0.05), **actor)
    found = ours_of(block(loss), recorded, mode=actor.get("loss_agg_mode", "token-mean"))
    assert float(theirs.logps.abs().max()) > 0
    assert apart(found, theirs) < EXACT


def test_kl_cov_selects_what_verl_selects() -> None:
    recorded, layout = Recorded(), [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9, 10, 11]]
    kl_cov = {"fraction": 0.1, "coef": 1.0, "scope": "micro"}
    theirs = verls(recorded, layout, PolicyLossConfig(loss_mode="kl_cov", kl_cov_ratio=0.1, ppo_kl_coef=1.0))
    found = ours_of(block({"unclipped": {}}, penalties=[{"kl_cov": kl_cov}]), recorded, layout)
    assert apart(found, theirs) < EXACT
    assert apart(ours_of(block({"unclipped": {}}), recorded, layout), theirs) > 1e-3, "the penalty is none"


BAND = {"low": 0.2, "high": 2.0}
COV = PolicyLossConfig(loss_mode="clip_cov", clip_cov_ratio=0.03, clip_cov_lb=0.2, clip_cov_ub=2.0)


def test_clip_cov_by_the_same_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """verl permutes its candidates by the global generator, we take those of the lowest keys: verl is given that permutation."""
    recorded = Recorded()
    mask = recorded.data()["response_mask"].to_padded_tensor(0).bool()
    places = {key: i for i, key in enumerate(sorted(recorded.keys))}
    uids = torch.tensor([places[key] for key in recorded.keys])
    batch = type(
        "Batch", (), {"keys": None, "mask": mask, "logps": mask.double(), "uids": uids, "seed": 0, "generation": 0}
    )
    keys = selection_keys(batch)  # type: ignore[arg-type]
    seen: list[torch.Tensor] = []

    def nonzero(x: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        seen.append(x)
        return real(x, **kwargs)

    real = torch.nonzero
    monkeypatch.setattr("torch.nonzero", nonzero)
    monkeypatch.setattr("torch.randperm", lambda n: keys[seen[-1]].argsort())
    theirs = verls(recorded, policy_loss=COV, **WIDE)
    monkeypatch.undo()
    given = block(CLIP, weights=[{"clip_cov": {"fraction": 0.03, "scope": "micro", **BAND}}])
    assert apart(ours_of(given, recorded), theirs) < EXACT
    assert apart(ours_of(block(CLIP), recorded), theirs) > 1e-3, "no token was drawn"


def test_entropy_bonus_and_kl_to_the_reference() -> None:
    recorded, layout = Recorded(), [[0, 1, 2], [3, 4, 5, 6, 7, 8, 9, 10, 11]]
    bonus, kl = {"entropy_bonus": {"coef": 0.01}}, {"kl_ref": {"coef": 0.1, "gradient": "pathwise"}}
    theirs = verls(recorded, layout, entropy_coeff=0.01, use_kl_loss=True, kl_loss_coef=0.1, **WIDE)
    assert apart(ours_of(block(CLIP, penalties=[bonus, kl]), recorded, layout), theirs) < EXACT
    assert float(theirs.entropy.abs().max()) > 0
    for left_out in ([bonus], [kl]):
        assert apart(ours_of(block(CLIP, penalties=left_out), recorded, layout), theirs) > 1e-3
