"""Adapters of rewards and advantages that are shaped by likeliness or entropy."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from golden.harness import Adapter, Inputs, Results, Where
from golden.layouts import covariance_files
from golden.layouts_shaping import before_and_after, hicra_files
from torch import Tensor

from entropostat.rl.advantages.unlikeliness import _likeliness, _ranks
from entropostat.rl.batch import TokenBatch
from entropostat.rl.phrases import matches, shannon
from entropostat.rl.registry import ADVANTAGES, WEIGHTS
from entropostat.rl.reshaping import sequence_entropy
from entropostat.rl.term import Advantage

INTERVALS = {f"interval{i + 1}": (i / 4, (i + 1) / 4) for i in range(4)}
INTERVALS |= {f"lower{high}": (0.0, high) for high in (0.25, 0.5, 0.75)}


def rollout(x: Inputs, **fields: Any) -> TokenBatch:
    mask = x["response_mask"]
    return TokenBatch(logps=torch.zeros_like(mask), mask=mask, **fields)


def siblings(groups: Tensor) -> Tensor:
    """(B, 1) bool: completions that have something to be compared with; the references give the others their reward."""
    _, inverse, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    return (counts[inverse] > 1).unsqueeze(1)


def max_rl(x: Inputs, params: dict[str, Any]) -> Results:
    batch = rollout(x, rewards=x["rewards"], groups=x["index"])
    return {"advantages": ADVANTAGES.build("maxrl")(batch)[0]}


def maxrl_skyrl(x: Inputs, params: dict[str, Any]) -> Results:
    batch = rollout(x, rewards=x["token_level_rewards"].sum(1), groups=x["index"])
    options = {"epsilon": params["epsilon"]}
    released, ours = (ADVANTAGES.build("maxrl", options | {"reference": r})(batch)[0] for r in (True, False))
    counts = batch.groups.unsqueeze(0) == batch.groups.unsqueeze(1)
    sound = ((counts * batch.rewards).sum(1) > 0) & siblings(batch.groups).squeeze(1)
    assert torch.equal(torch.where(sound, released, 0.0), ours), "the two differ where the code is at fault alone"
    return {"advantages": released.unsqueeze(1) * batch.mask}


def unlikely(x: Inputs, params: dict[str, Any]) -> Results:
    options = {"beta": params["rank_penalty"], "epsilon": params["epsilon"]}
    batch = rollout(x, rewards=x["rewards"], groups=x["uid"], old_logps=x["old_log_prob"])
    whole, likeliness = batch.valid.any(1), _likeliness(batch, "mean")
    modified = torch.zeros_like(batch.rewards)
    for group in x["uid"].unique():
        rows = (x["uid"] == group).nonzero().squeeze(1)
        ranks = _ranks(batch.rewards[rows].unsqueeze(0), likeliness[rows].unsqueeze(0))
        modified[rows] = batch.rewards[rows] * (1 - options["beta"] * ranks.squeeze(0))
    # The code lets a completion without a token take the highest rank of its prompt, and move the statistics.
    sound = torch.stack([whole[x["uid"] == group].all() for group in x["uid"]])
    values = ADVANTAGES.build("unlikeliness", options)(batch)[0].unsqueeze(1).expand_as(batch.mask)
    return {
        "mean_old_log_prob": Where(likeliness, whole),
        "modified_rewards": Where(modified, sound),
        "advantages": Where(values * batch.mask, (siblings(x["uid"]) & sound.unsqueeze(1)).expand_as(batch.mask)),
    }


def ar_term(params: dict[str, Any]) -> Advantage:
    """The options of one of the code's names; some of its branches do not read ``neg_adv_weight``."""
    name, negative = params["reweight_method"], {"negative": params["neg_adv_weight"]}
    slope = {"k": params["reweight_k"], "tau": params["reweight_tau"]}
    balanced = "balance1" in name
    if "negative_sigmoid" in name:
        options = (
            {"method": "sigmoid", "side": "negative", "balance": balanced} | slope | (negative if balanced else {})
        )
    elif "both_sigmoid" in name:
        options = {"method": "sigmoid"} | slope | (negative if balanced else {})
    elif "both_linear" in name:
        read = balanced or "normal" in name
        options = {"side": "positive" if balanced else "both"} | slope | (negative if read else {})
    elif "RAFT" in name:
        options = {"imitate": True} | (slope if "linear" in name else {"k": 0.0, "tau": 1.0})
    else:
        low, high = next(band for part, band in INTERVALS.items() if part in name)
        options = {"method": "band", "low": low, "high": high}
    return ADVANTAGES.build("ar", options)


def ar(x: Inputs, params: dict[str, Any]) -> Results:
    batch = rollout(x, old_logps=x["old_log_prob"], advantages=x["before"])
    return {"advantages": Where(ar_term(params)(batch)[0], batch.mask)}


def repo(x: Inputs, params: dict[str, Any]) -> Results:
    rewards = torch.zeros(len(x["before"]))
    batch = rollout(x, old_logps=x["log_prob"], old_entropy=x["entropys"], advantages=x["before"], rewards=rewards)
    relative = ADVANTAGES.build("repo", {"zeta": params["zeta"]})(batch)[0]
    centred = ADVANTAGES.build("repo", {"rule": "centred", "beta": params["beta"]})(batch)[0]
    same = relative.sign() == x["before"].sign()  # nothing was at the bound
    free = {f"advantages_{name}": Where(relative, same) for name in ("unclamped", "absbeta")}
    return {"advantages": relative, "advantages_repo": centred, **free}


def gtpo(x: Inputs, params: dict[str, Any]) -> Results:
    options = {key: params[key] for key in ("alpha_1", "alpha_2", "min_std")}
    batch = rollout(x, rewards=x["rewards"], groups=x["uid"], old_entropy=x["entropys"])
    token, sequence = (ADVANTAGES.build("gtpo", options | {"level": level}) for level in ("token", "sequence"))
    rewards = [(shaped := term._shaped(batch)).own(shaped.rewards) for term in (token, sequence)]
    everywhere, precise = torch.ones_like(batch.valid), batch.mask.dtype == torch.float64
    return {
        "shaped_rewards": rewards[0],
        "sequence_rewards": rewards[1],
        # The recorded ones divide by the deviation of rewards that are near alpha_1, in the precision of the run.
        "advantages_popstd": Where(token(batch)[0], everywhere, 0.0 if precise else 2e-5),
        "mean_entropy": sequence_entropy(batch),
    }


def lopti(x: Inputs, params: dict[str, Any]) -> Results:
    """Both passes; a negative threshold or portion takes the likely part first."""
    by_portion = not params["seperate_prob"]
    edge = params["seperate_portion"] if by_portion else params["seperate_prob"]
    order = "low_first" if edge > 0 else "high_first"
    term = WEIGHTS.build("lopti", {("portion" if by_portion else "threshold"): abs(edge), "order": order})
    batch = rollout(x, old_logps=x["old_log_prob"])
    batch = batch.set(stats=term.prepare(batch))
    kept = [term(batch.set(iteration=i))[0] for i in range(2)]
    results = {"indication": Where(kept[0] > 0, batch.valid), "sep_prob": batch.stats["threshold"]}
    for name, mask in zip(("first", "second"), kept, strict=True):
        results[f"kl_entropy_mask_{name}"] = Where(mask, batch.valid)
        results[f"advantages_{name}"] = Where(mask * x["before"], batch.valid)
    # The code counts masked tokens of the first part, too, and by portion it repeats what it was asked for.
    share, low = term(batch)[1]["fraction"], x["old_log_prob"].exp() < batch.stats["threshold"]
    stray = (batch.invalid & (low if order == "low_first" else ~low)).any()
    return results | {"sep_portion": Where(share, ~stray & (not by_portion))}


def hicra(x: Inputs, params: dict[str, Any]) -> Results:
    """Token ids stand for words, by which phrases are found: in padding as well, whose ids the files hold."""
    results: Results = {}
    for i, case in params["cases"].items():
        phrases = [" ".join(map(str, gram)) for grams in case["strategic_grams"].values() for gram in grams]
        ids, mask, before = x[f"completion_ids@{i}"], x[f"mask@{i}"], x[f"base_adv@{i}"]
        planning, counts = torch.zeros_like(mask, dtype=torch.bool), Counter()
        for row, tokens in enumerate(ids.int().tolist()):
            for first, n, phrase in matches([str(t) for t in tokens], phrases):
                planning[row, first : first + n] = True
                counts[phrase] += 1
        fields = {"old_entropy": x[f"entropies@{i}"], "groups": torch.arange(len(ids)) // case["group_size"]}
        batch = TokenBatch(logps=mask * 0, mask=mask, advantages=before, planning=planning, **fields)
        options = {"alpha": case["alpha"], "planning": case["use_planning"], "top": case["entropy_topk"]}
        released = ADVANTAGES.build("hicra", options | {"reference": True})
        found = {
            "planning_mask": planning,
            "semantic_entropy_nats": shannon(counts.values()),
            "topk_threshold": released._threshold(batch),
            "adv_released_verl_style": released(batch)[0],
            "adv_paper_formula": ADVANTAGES.build("hicra", {"alpha": case["alpha"]})(batch)[0],
        }
        for name, value in found.items():
            exact = value.dtype == torch.bool if isinstance(value, Tensor) and value.shape == mask.shape else True
            results[f"{name}@{i}"] = value if exact else Where(value, mask)
    return results


ADAPTERS = (
    Adapter(("max_rl",), max_rl, covariance_files),
    Adapter(("maxrl_skyrl",), maxrl_skyrl, covariance_files),
    Adapter(("unlikely",), unlikely, covariance_files),
    Adapter(("ar",), ar, before_and_after),
    Adapter(("repo_r",), repo, before_and_after),
    Adapter(("gtpo",), gtpo, covariance_files),
    Adapter(("lopti",), lopti, before_and_after),
    Adapter(("hicra",), hicra, hicra_files),
)
