"""Which project code recomputes which golden file. No formula here: only names, shapes and parameters of the files."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from golden.harness import Adapter, Inputs, Record, Results, Rows, Share, Where
from golden.layouts import covariance_files, kl_cov_files, klest_files, plain_files, trajectory_files
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.covariance import clipped_tokens, token_covariance
from entropostat.rl.divergences import estimator
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import aggregate, masked_mean
from entropostat.rl.registry import CONTROLLERS, PENALTIES

MEANS = {torch.float64: 3e-8, torch.float32: 1e-5}
"""The references add 1e-8 to the token count under both means of the covariance; float32 cancels in its product."""
CAP = 10.0
"""OpenRLHF cuts every estimator off here; we offer no such cut, so the comparison stays inside."""


def objective(loss: str, loss_options: Mapping[str, Any], **terms: list[dict[str, Any]]) -> Objective:
    """An objective of terms over one micro-batch, as the references pool them."""
    parts = {slot: [(k, k, o) for term in t for k, o in term.items()] for slot, t in terms.items()}
    return Objective.build({"loss": (loss, loss, dict(loss_options)), **parts})


def token_batch(x: Inputs, **changes: Any) -> TokenBatch:
    return TokenBatch(
        logps=x["log_prob"],
        old_logps=x["old_log_prob"],
        advantages=x["advantages"],
        mask=x["response_mask"],
        **changes,
    )


def to_scalar(loss: Tensor, mask: Tensor, params: Mapping[str, Any]) -> Tensor:
    """The file's aggregation; ``global_batch_info`` replaces this batch's counts by a rank's share of the global ones."""
    world = params.get("global_batch_info")
    counts = {}
    if world:
        ranks = world["dp_size"]
        counts = {
            "tokens": world["batch_num_tokens"] / ranks,
            "rows": world["global_batch_size"] / ranks,
            "length": world["loss_scale_factor"],
        }
    elif params["fork"] and params["loss_agg_mode"] == "seq-mean-token-sum":
        counts = {"rows": loss.shape[0]}  # the fork counts fully masked rows
    return aggregate(loss, mask, params["loss_agg_mode"], **counts)


def correction(x: Inputs, params: Mapping[str, Any]) -> Tensor | None:
    return x["rollout_is_weights"] if params.get("rollout_is") else None


def losses(total: Tensor, batch: TokenBatch, params: Mapping[str, Any], clamp: float | None = None) -> Results:
    log_ratio = batch.log_ratio if clamp is None else batch.log_ratio.clamp(-clamp, clamp)
    return {
        "loss": to_scalar(total, batch.mask, params),
        "loss_mat": Where(torch.where(batch.valid, total, 0.0), batch.mask),
        "ppo_kl": Share(masked_mean(-log_ratio, batch.mask)),
    }


def clip_cov(x: Inputs, params: dict[str, Any]) -> Results:
    options = {"fraction": params["clip_cov_ratio"], "scope": "micro"}
    band = {"low": params["clip_cov_lb"], "high": params["clip_cov_ub"]}
    clip = {"epsilon": params["clip_low"], "epsilon_high": params["clip_high"], "clamp": None}
    o = objective("ppo_clip", clip, weights=[{"clip_cov": options | band}])
    batch = token_batch(x, clip=o.loss.term.clip)
    term = o.weights[0].term
    admissible = term.prepare(batch.detached())["admissible"]
    batch = batch.set(keys=keys_of(x["perm"], admissible))
    stats = term.prepare(batch.detached())
    total, metrics = o.token_loss(batch, {"clip_cov": stats}, correction(x, params))
    open_band = objective("unclipped", {}, weights=[{"clip_cov": options | {"low": -1e12, "high": 1e12}}])
    drawn = open_band.weights[0].term.prepare(batch.detached().set(keys=None, clip=None))["drawn"]
    return losses(total, batch, params) | {
        "cov": Where(token_covariance(batch.detached()), batch.mask, MEANS[batch.mask.dtype]),
        "ppo_clipped": Where(clipped_tokens(batch.detached()), batch.mask),
        "admissible": Rows(admissible.nonzero()),
        "selected": Rows(stats["drawn"].nonzero()),
        "clip_num": drawn.sum(),
        "n_admissible": admissible.sum(),
        "n_selected": stats["drawn"].sum(),
        "pg_clipfrac": Share(metrics["clip_cov/fraction"]),
    }


def keys_of(perm: Tensor, admissible: Tensor) -> Tensor:
    """Selection keys under which the lowest are the first of ``perm``, which counts the admissible tokens by row."""
    places = admissible.nonzero()
    keys = torch.ones(admissible.shape, dtype=torch.float64)
    rank = torch.arange(perm.numel(), dtype=torch.float64) / (perm.numel() + 1)
    chosen = places[perm[perm < places.shape[0]]]
    keys[chosen[:, 0], chosen[:, 1]] = rank[: chosen.shape[0]]
    return keys


def kl_cov(x: Inputs, params: dict[str, Any]) -> Results:
    fraction = params["kl_cov_ratio"]
    if params["fork"]:
        fraction = min(fraction, float(x["response_mask"].sum()) / 100)  # the fork's percent is at most N
    options = {"fraction": fraction, "coef": params["ppo_kl_coef"], "scope": "micro"}
    # The reference does not bound its exponent.
    o = objective("unclipped", {"clamp": 80.0}, penalties=[{"kl_cov": options}])
    batch = token_batch(x)
    cov = token_covariance(batch.detached())
    stats = o.penalties[0].term.prepare(batch.detached())
    mine = stats["selected"]
    theirs = torch.zeros_like(mine)
    theirs[x["ties"][:, 0], x["ties"][:, 1]] = True
    tied = bool(x["tied"])
    # With ties at the threshold any choice among them is right: the loss is then compared on the reference's choice.
    stats = {"selected": theirs} if tied else stats
    total, _ = o.token_loss(batch, {"kl_cov": stats}, correction(x, params))
    kth = cov[mine].min() if mine.any() else cov.new_tensor(torch.nan)
    size = Share(masked_mean(batch.log_ratio.abs(), batch.mask))
    return losses(total, batch, params) | {
        "cov": Where(cov, batch.mask, MEANS[batch.mask.dtype]),
        "selected": Rows((theirs if tied else mine).nonzero()),
        "selected_cov": cov[mine].sort().values,
        "n_selected": mine.sum(),
        "kth_cov": kth,
        "n_ge_kth": (cov[batch.valid] >= kth).sum(),
        "ppo_kl_abs": size,
        "ppo_kl": size,  # verl reports the absolute one under this name
    }


def ppo(x: Inputs, params: dict[str, Any]) -> Results:
    options = {"epsilon": params["clip_low"], "epsilon_high": params["clip_high"], "dual": params.get("clip_ratio_c")}
    if params["fork"]:
        options["clamp"] = None
    batch = token_batch(x)
    o = objective("ppo_clip", options)
    total, metrics = o.token_loss(batch, correction=correction(x, params))
    return losses(total, batch, params, o.loss.term.clamp) | {
        "pg_clipfrac": Share(metrics["ppo_clip/clip_fraction"]),
        "pg_clipfrac_lower": Share(metrics.get("ppo_clip/dual_fraction", 0.0)),
    }


def split8020(x: Inputs, params: dict[str, Any]) -> Results:
    clip = {"epsilon": params["clip_low"], "epsilon_high": params["clip_high"]}
    batch = TokenBatch(
        logps=x["logp"], old_logps=x["old_logp"], advantages=x["adv"], mask=x["mask"], entropy=x["entropy"]
    )

    def build(rule: str) -> Objective:
        options = {"fraction": params["top"], "rule": rule, "denominator": "kept", "scope": "micro"}
        return objective("ppo_clip", clip, weights=[{"high_entropy": options}])

    masks = {rule: build(rule).weights[0].term.prepare(batch.detached())["keep"] for rule in ("ceil", "floor")}
    return {
        "official_ceil_mask": masks["ceil"],
        "lpregdev_floor_mask": masks["floor"],
        "lpregdev_loss": aggregate(build("floor").token_loss(batch)[0], batch.mask),
    }


def kl_estimators(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    valid = x["response_mask"].bool()
    for kind in params["kinds"]:
        ours = kind.replace("k3", "low_var_kl")  # verl's k3 is the clamped one
        value = estimator(x["log_prob"] - x["ref_log_prob"], ours)
        results[f"{kind}__value"] = Where(torch.where(valid, value, 0.0), valid)
        results[f"{kind}__loss"] = aggregate(value, x["response_mask"])
    return results


def divergence_klest(x: Inputs, params: dict[str, Any]) -> Results:
    difference = x["logp"] - x["ref_logp"]
    results: Results = {f"verl/{kind}": estimator(difference, kind) for kind in ("k1", "abs", "k2")}
    results["verl/k3"] = estimator(difference, "low_var_kl")
    for kind in ("k1", "k2", "k3"):
        value = estimator(difference, kind)
        results[f"openrlhf/{kind}"] = Where(value.clamp(-1e9, 1e9), value.abs() < CAP)
    batch = TokenBatch(
        logps=x["logp"].view(1, -1), ref_logps=x["ref_logp"].view(1, -1), mask=torch.ones(1, len(difference))
    )
    term = PENALTIES.build("kl_ref", {"coef": 1.0, "gradient": "pathwise", "clamp": 80.0})
    results["trl/grpo_k3"] = term(batch)[0].view(-1)
    return results


def agg_loss(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for name in params["names"]:
        owner, mode = name.split(":")
        world = params["global_info"] if owner == "verl_global" else None
        options = {"loss_agg_mode": mode, "fork": owner == "entmech", "global_batch_info": world}
        results[name] = to_scalar(x["loss_mat"], x["response_mask"], options)
    return results


def skywork(x: Inputs, params: dict[str, Any]) -> Results:
    term = CONTROLLERS.build(
        "step",
        {"delta": params["delta"], "low": params["min"], "high": params["max"], "start": params["init"]}
        | {"target": params["target"], "compare": "lt"},
    )
    state, rows = term.init(), []
    for entropy in x["entropy"].tolist():
        state, output = term.update(state, {"entropy": entropy})
        rows.append((state["coefficient"], float(state["error"] < 0), output))
    return dict(zip(("coef", "enabled", "effective"), torch.tensor(rows, dtype=torch.float64).T, strict=True))


def policy_gradient(record: Record) -> dict[str, tuple[str, str]]:
    return {"grad": ("loss", "log_prob")}


ADAPTERS = (
    Adapter(("clip_cov", "clip_cov_verl"), clip_cov, covariance_files, policy_gradient),
    Adapter(("kl_cov", "kl_cov_verl"), kl_cov, kl_cov_files, policy_gradient),
    Adapter(("ppo_nodual", "ppo_vanilla"), ppo, covariance_files, policy_gradient),
    Adapter(("split8020",), split8020, plain_files, lambda r: {"lpregdev_grad_logp": ("lpregdev_loss", "logp")}),
    Adapter(
        ("kl_estimators",),
        kl_estimators,
        covariance_files,
        lambda r: {f"{kind}__grad": (f"{kind}__loss", "log_prob") for kind in r.params["kinds"]},
    ),
    Adapter(("divergence_klest",), divergence_klest, klest_files),
    Adapter(
        ("agg_loss",), agg_loss, covariance_files, lambda r: {f"{n} slope": (n, "loss_mat") for n in r.params["names"]}
    ),
    Adapter(("skywork_adaptive",), skywork, trajectory_files),
)

for module in sorted(Path(__file__).parent.glob("adapters_*.py")):  # last: they build on the functions above
    ADAPTERS += importlib.import_module(f"golden.{module.stem}").ADAPTERS
