"""Adapter of the advantage estimators, which share one kind of file."""

from __future__ import annotations

from typing import Any

import torch
from golden.adapters import objective
from golden.harness import Adapter, Inputs, Results, Where
from golden.layouts import covariance_files

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.parts import Part
from entropostat.rl.registry import ADVANTAGES


def advantages(x: Inputs, params: dict[str, Any]) -> Results:
    groups, mask = x["index"], x["response_mask"]
    batch = TokenBatch(
        logps=torch.zeros_like(mask),
        old_logps=x["old_log_probs"],
        sum_p2=x["sum_pi_squared"],
        mask=mask,
        rewards=x["token_level_rewards"].sum(1),
        groups=groups,
    )
    _, inverse, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    # The references give a completion without siblings its reward; we give it 0, as there is nothing to compare with.
    siblings = (counts[inverse] > 1).unsqueeze(1) & torch.ones_like(mask, dtype=torch.bool)
    terms = {
        "grpo": ADVANTAGES.build("grpo", {"epsilon": 1e-6}),  # a constant of the reference, in no file
        "drgrpo": ADVANTAGES.build("dr_grpo"),
        "rloo": ADVANTAGES.build("rloo"),
        "rloo_vec": ADVANTAGES.build("rloo"),
        "rfpp": ADVANTAGES.build("reinforce_pp", {"gamma": params["notes"]["gamma"]}),
        "rfpp_baseline": ADVANTAGES.build("reinforce_pp", {"baseline": "group"}),
        "opo": ADVANTAGES.build("opo"),
        "gpg": ADVANTAGES.build("dr_grpo", {"rescale": True}),
        "passk": ADVANTAGES.build("passk_best"),
        "otb": ADVANTAGES.build("otb"),
    }
    results: Results = {}
    for name, term in terms.items():
        # The references take mean and std of a group in float32, and add 1e-8 to divisors: the counts of the whitened, and
        # the weights of the token baseline.
        atol = {"grpo": 1e-6, "passk": 1e-6, "rfpp": 1e-7, "rfpp_baseline": 1e-7, "otb": 1e-7}.get(name, 0.0)
        chain = Objective(advantages=(Part(name, term),), loss=objective("unclipped", {}).loss)
        values = batch.set(advantages=chain.rollout(batch).advantages).token_advantages
        # One such reward moves the mean and deviation of a whitened generation, and with them all of its tokens.
        compared = siblings & siblings.all() if name == "rfpp_baseline" else siblings
        for kind in ("adv", "ret"):
            results[f"{name}__{kind}"] = Where(torch.where(mask.bool(), values, 0.0), compared, atol)
    # The reference's completions never go on: it has no notion of a length limit.
    options = {"gamma": params["notes"]["gamma"], "lam": params["gae_lam"], "bootstrap": False}
    states = torch.nn.functional.pad(x["values"], (0, 1))
    batch = batch.set(old_values=states, truncated=torch.zeros(len(mask), dtype=torch.bool))
    term = ADVANTAGES.build("gae", options)
    nothing = batch.set(old_values=torch.zeros_like(states))  # a critic that knows nothing leaves the return itself
    for name, gamma in (("rfpp", options["gamma"]), ("otb", 1.0)):
        earned = ADVANTAGES.build("gae", {"gamma": gamma, "lam": 1.0, "bootstrap": False}).estimate(nothing)[1]
        results[f"{name}__ret"] = Where(earned, mask)
    return results | {"gae__adv": Where(term(batch)[0], mask), "gae__ret": Where(term.estimate(batch)[1], mask)}


ADAPTERS = (
    Adapter(
        ("advantages",),
        advantages,
        covariance_files,
        out_of_scope={
            "remax*": "its baseline is a greedy completion of each prompt, which no trainer of the project samples"
        },
    ),
)
