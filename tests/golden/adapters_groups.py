"""Adapters of the terms that look at whole prompt groups: SEED-GRPO, COPO, ADORA, and what trains for one right answer in N."""

from __future__ import annotations

import re
from typing import Any

import torch
from golden.adapters import objective
from golden.harness import Adapter, Inputs, Results, Where
from golden.layouts_groups import adora_files, copo_files, passk_files, seed_files
from torch import Tensor

from entropostat.rl.advantages.adora import Adora
from entropostat.rl.answers import answers_by_group, cluster_shares
from entropostat.rl.batch import TokenBatch
from entropostat.rl.coverage import coverage, log_coverage, log_coverage_slope
from entropostat.rl.losses.copo import COPO
from entropostat.rl.reduce import aggregate
from entropostat.rl.registry import ADVANTAGES

EPSILON = 1e-6
"""Added to the deviation of a group by the references of COPO and ADORA: a constant of theirs, in no file."""
SINGLE = 1e-7
"""A quotient of our deviation is in float32, as TRL's."""
EPSILON_VL = 1e-9
"""Likewise by ADORA's code for vision."""
CUT_VL = 4094
"""The length at which that code takes a completion for cut off."""


README = {"seed": 1e-6, "copo": 1e-5, "adora": 1e-5}
"""Tolerance of what was recorded in float32."""

MEAN = 2e-6
"""Of a mean over many of them."""


def near(values: Tensor, term: str) -> Where:
    return Where(values, torch.ones(values.shape), README[term])


def rows(rewards: Tensor, **changes: Any) -> TokenBatch:
    """One token a completion."""
    token = torch.zeros_like(rewards).unsqueeze(1)
    return TokenBatch(token, torch.ones_like(token), rewards=rewards, **changes)


# ------------------------------------------------------------------------------------------------------------- SEED-GRPO


def seed(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for i, case in params["cases"].items():
        at, answers = f"@{i}", tuple(case["answers"])
        likely = x[f"likely{at}"]
        if "size" in case:
            batch = rows(torch.zeros_like(likely), answers=answers, old_logps=likely.unsqueeze(1))
            groups = torch.arange(len(answers)) // case["size"]
            batch = batch.set(mask=x[f"counts{at}"].unsqueeze(1), groups=groups, advantages=torch.ones_like(likely))
            term = ADVANTAGES.build("seed", {"alpha": case["alpha"], "mass": "likelihood"})
            results[f"weights{at}"] = near(term(batch)[0], "seed")
            continue
        batch = rows(x[f"rewards{at}"], answers=answers, old_logps=likely.unsqueeze(1))
        found = answers_by_group(batch)
        firsts = [answers.index(cluster) for cluster in case["clusters"]]
        for short, mass, weights in (
            ("count", "count", torch.full_like(likely, 1 / len(answers))),
            ("lik", "likelihood", likely.softmax(0)),
        ):
            results[f"p_{mass}{at}"] = cluster_shares(weights.unsqueeze(0), found.same)[0, firsts]
            for estimator in ("shannon", "mc"):
                term = ADVANTAGES.build("seed", {"mass": mass, "estimator": estimator})
                told = term(batch.set(advantages=likely))[1]
                results[f"SE_{short}_{estimator}{at}"] = told["semantic_entropy"]
        results[f"SE_max{at}"] = torch.tensor(len(answers), dtype=likely.dtype).log()
        results[f"adv_mean_only{at}"] = ADVANTAGES.build("dr_grpo")(batch)[0]
        divided = ADVANTAGES.build("grpo", {"epsilon": 1e-4})(batch)[0]
        results[f"adv_std_ddof1_eps1e4{at}"] = Where(divided, torch.ones_like(likely), SINGLE)
        for alpha in case["alphas"]:
            results |= {f"{alpha}/{name}{at}": value for name, value in forms(batch, alpha).items()}
    return results


def forms(batch: TokenBatch, alpha: float) -> Results:
    """``x`` by the form that is 1 / (1 + x), and the advantages under each."""

    def shaped(**options: Any) -> Tensor:
        chain = [{"dr_grpo": {}}, {"seed": {"alpha": alpha, **options}}]
        return objective("unclipped", {}, advantages=chain).rollout(batch).advantages

    factor = ADVANTAGES.build("seed", {"alpha": alpha})(batch.set(advantages=torch.ones_like(batch.rewards)))[0]
    found = {form: shaped(form=form) for form in ("linear", "exp", "inverse")}
    return {"x": 1 / factor[0] - 1, **found, "inverse_unnormalised": shaped(normalise=False)}


# ------------------------------------------------------------------------------------------------------------------ COPO

FLAGS: dict[str, dict[str, Any]] = {
    "only-soft": {},
    "soft-with-forced": {"drop": "zero"},
    "soft-with-zero": {"drop": "wrong"},
    "only-forced": {"blend": "local", "drop": "zero"},
    "only-zero": {"blend": "local", "drop": "wrong"},
    "only-zero-wrong": {"blend": "local", "drop": "wrong"},
    "only-global": {"blend": "global"},
    "no-global": {"blend": "local"},
    "only-soft-with-coef": {},
}
UNUSED = ("only-global", "no-global")
"""Flags under which the reference reports a w that it does not use."""


def copo(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for i, case in params["cases"].items():
        at, flag = f"@{i}", case["flag"]
        options = {"epsilon": case["clip_low"], "epsilon_high": case["clip_high"], "dual": case["dual_clip_c"]}
        options |= {"k": float(case["k"]), "b": float(case["b"]), "consistency": case["reward_coef_flg"]}
        options |= {"normalise": case["norm_by_std"], "reference": True}
        options |= {"coef": case["global_loss_coef"]} if flag == "only-soft-with-coef" else {}
        scale = "group" if case["norm_by_std"] else "none"
        chain = [{"grpo": {"epsilon": EPSILON, "scale": scale}}]
        o = objective("copo", options | FLAGS[flag], advantages=chain)
        term: COPO = o.loss.term  # type: ignore[assignment]
        batch = TokenBatch(
            logps=x[f"logp{at}"], old_logps=x[f"old_logp{at}"], mask=x[f"mask{at}"],
            rewards=x[f"rewards{at}"], groups=x[f"groups{at}"], answers=tuple(case["answers"]),
        )  # fmt: skip
        rollout = o.rollout(batch)
        batch = batch.set(advantages=rollout.advantages)
        total = o.token_loss(batch, rollout.stats)[0]
        reported = o if flag not in UNUSED else objective("copo", options, advantages=chain)
        found = answers_by_group(batch)
        bits, largest = term._bits(found)
        own = lambda x, found=found: found.groups.own(x.unsqueeze(1).expand_as(found.rewards))
        results |= {
            f"per_token_loss{at}": Where(total, batch.mask, README["copo"]),
            f"loss{at}": Where(aggregate(total, batch.mask, case["agg"]), torch.ones(()), MEAN),
        }
        for name, value in {
            "local_adv": rollout.advantages,
            "global_adv": rollout.stats["copo"]["global"],
            "blend_weight": reported.rollout(batch).stats["copo"]["local"],
            "entropy_bits": own(bits),
            "global_reward": own(term._prompt_rewards(found, bits, largest)),
        }.items():
            results[f"{name}{at}"] = near(value, "copo")
    return results


# ----------------------------------------------------------------------------------------------------------------- ADORA


def adora(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for i, case in params["cases"].items():
        at, llm = f"@{i}", case["kind"] == "llm_code"
        lengths = x[f"lengths{at}"]
        mask = (torch.arange(int(lengths.max())) < lengths.unsqueeze(1)).to(lengths.dtype)
        cut = lengths >= (case["max_length_threshold"] if llm else CUT_VL)
        batch = TokenBatch(
            torch.zeros_like(mask), mask, rewards=x[f"rewards{at}"], groups=x[f"groups{at}"], truncated=cut
        )
        options = {"w_tds": case["lamda"]}
        if llm:
            options |= {"success": case["correct_score"], "no_correct": "tds"}
        else:
            options |= {"no_incorrect": "tds"}
        chain = [{"grpo": {"epsilon": EPSILON if llm else EPSILON_VL}}, {"adora": options}]
        o = objective("unclipped", {}, advantages=chain)
        shaped = o.rollout(batch).advantages
        if llm:
            results[f"adv_per_seq{at}"] = near(shaped, "adora")
            continue
        results[f"group_norm_adv{at}"] = near(shaped, "adora")
        weights = o.advantages[1].term(batch.set(advantages=torch.ones_like(lengths)))[0]
        results[f"weights{at}"] = near(weights, "adora")
        results |= {f"{name}{at}": value for name, value in criteria(batch).items()}
    return results


def criteria(batch: TokenBatch) -> Results:
    """The paper's, of each prompt."""
    built = {name: ADVANTAGES.build("adora", {"criteria": name}) for name in ("length", "difficulty")}
    found: Results = {}
    for name, term in built.items():
        assert isinstance(term, Adora)
        _, longest, wrong, rate = term._measured(batch)
        met, kept = term._meets(longest, wrong, rate)
        found |= {f"{name}_adv": met} | ({"length_defined": ~kept} if name == "length" else {"success_rate": rate})
    return found


# ---------------------------------------------------------------------------------------------------- one right answer in N


def passk(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for key, value in x.items():
        if match := re.fullmatch(r"n(\d+)_k(\d+)_c\d+/reward", key):
            n, k = map(int, match.groups())
            batch, case = rows(value), key.removesuffix("/reward")
            advantages, metrics = ADVANTAGES.build("passk", {"k": k})(batch)
            unbiased, best = ADVANTAGES.build("pkpo", {"k": k, "baseline": "none"})(batch)
            torch.testing.assert_close(best["max_at_k"], metrics["pass_at_k"].to(best["max_at_k"].dtype))
            results[f"{case}/ruc_adv"], results[f"{case}/pass_at_k"] = advantages, best["max_at_k"]
            results[f"{case}/pkpo_reward"] = unbiased / n  # the paper's sum over completions is our mean
            results[f"{case}/verl_passk_adv"] = ADVANTAGES.build("passk_best")(batch)[0]
    batch = rows(x["continuous/reward"])
    results["continuous/verl_passk_adv_std1"] = ADVANTAGES.build("passk_best")(batch)[0]
    results["continuous/verl_passk_adv_std0"] = ADVANTAGES.build("passk_best", {"scale": "none"})(batch)[0]
    p = x["dco/p"]
    for n in params["counts"]:
        found = {"loss": -log_coverage(p, n), "factor": p * log_coverage_slope(p, n), "coverage": coverage(p, n)}
        results |= {f"dco/N{n}/{name}": value for name, value in found.items()}
    return results


ADAPTERS = (
    Adapter(("seed_grpo",), seed, seed_files),
    Adapter(("copo",), copo, copo_files),
    Adapter(("adora",), adora, adora_files),
    Adapter(("passk_dco",), passk, passk_files),
)
