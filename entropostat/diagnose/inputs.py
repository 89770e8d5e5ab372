"""What each rule reads, so that a log which holds nothing of it is not called healthy."""

from __future__ import annotations

import re
from collections.abc import Mapping

from entropostat.diagnose.log import Log

Wanted = tuple[str, ...]
"""Patterns of keys: any of them will do."""
PASS, REWARD = (r"evaluate/.+/pass@1",), ("reward",)
LENGTH = ("completions/mean_length", "completions/mean_terminated_length")
GROUPS = ("frac_reward_zero_std", "learning/solve_none")

INPUTS: Mapping[str, tuple[Wanted, ...]] = {
    "collapse": (("entropy",),),
    "explosion": (("entropy",),),
    "entropy-blip": (("entropy",),),
    "wrong-tokens": (("entropy/p50",), ("entropy/p90",)),
    "controller-saturated": ((r"control/.+/saturated",),),
    "controller-oscillating": ((r"control/.+/error",),),
    "inert-term": ((r"forces/.+", "kl_cov/distance", "clip_cov/fraction"),),
    "reward-missing": (REWARD,),
    "verifier-failing": ((r"verifier/.+/failed",),),
    "constant-reward": (REWARD, ("reward_std",)),
    "dead-groups": (GROUPS,),
    "length-hacking": (REWARD, LENGTH, PASS),
    "reward-gap": (REWARD, PASS),
    "strategy-incompetent": ((r"evaluate/.+/accuracy/.+",),),
    "reward-lost": (REWARD,),
    "truncation": (("completions/clipped_ratio",),),
    "kl-blow-up": (("kl",),),
    "gradient-blow-up": (("grad_norm",),),
    "sampler-mismatch": (("trust/sampler_gap", "sampling/sampling_logp_difference/mean"),),
    "non-finite": (("loss", "grad_norm", "entropy", "kl", "health/nonfinite"),),
    "nothing-trained": (("health/trained_tokens",),),
}
"""Rule -> what it needs, each of them."""

OURS = frozenset(
    (
        "wrong-tokens",
        "controller-saturated",
        "controller-oscillating",
        "inert-term",
        "verifier-failing",
        "strategy-incompetent",
        "nothing-trained",
    )
)
"""Rules of what no other trainer logs."""

NEEDED = ("entropy", "reward")


def nothing_to_judge(log: Log) -> str | None:
    """Why no rule that matters has an input; None where one has."""
    if any(len(log.series(key)) for key in NEEDED):
        return None
    keys = sorted(key for key in log.keys if not key.startswith("_") and key != "step")
    shown = ", ".join(keys[:6]) + (", ..." if len(keys) > 6 else "")
    return f"neither entropy nor reward in it ({shown or 'no metric'}): nothing can be judged"


def looked_for(log: Log) -> tuple[list[str], dict[str, str]]:
    """(rules that had their input, rule -> what the log lacks for the others)."""
    keys = [key for key in log.keys if len(log.series(key))]
    judged, blind = [], {}
    for rule, needs in INPUTS.items():
        lacking = [wanted[0] for wanted in needs if not any(re.fullmatch(one, key) for one in wanted for key in keys)]
        if lacking:
            blind[rule] = " and ".join(_readable(one) for one in lacking)
        else:
            judged.append(rule)
    return judged, blind


def _readable(pattern: str) -> str:
    return pattern.replace(".+", "...")
