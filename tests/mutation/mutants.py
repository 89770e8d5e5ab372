"""Named faults of the source, each a text that occurs once and what replaces it. Every one must turn the suite red."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

TERMS = (
    "tests/unit/test_rl_terms.py",
    "tests/theory",
    "tests/golden",
    "tests/unit/test_rl_properties.py",
    "tests/unit/test_rl_declared.py",
)
RANKS = ("tests/unit/test_rl_ranks.py",)
REDUCE = ("tests/unit/test_rl_reduce.py", *RANKS, *TERMS)
CONTROL = ("tests/unit/test_rl_control.py", "tests/unit/test_rl_terms.py", *RANKS)
CONTROLLERS = (
    *("tests/unit/test_rl_controllers.py", "tests/unit/test_rl_controllers_pid.py"),
    *("tests/unit/test_rl_controllers_kl.py", "tests/unit/test_rl_controllers_loops.py"),
)


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    """Below the folder."""
    old: str
    new: str
    tests: tuple[str, ...] = TERMS
    folder: str = "rl"

    @property
    def module(self) -> str:
        path = f"{self.folder}/{self.file}".removeprefix("entropostat/").removesuffix(".py").replace("/", ".")
        return path if self.folder == "benchmarks" else f"entropostat.{path}"

    def source(self) -> str:
        """The faulty source. Raises if the fault no longer fits, so that the list follows the code."""
        text = (ROOT / self.folder / self.file).read_text()
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.name}: {self.old!r} occurs {text.count(self.old)} times in {self.folder}/{self.file}, not once"
            )
        return text.replace(self.old, self.new)


def stem(file: str) -> str:
    """Of "trl/decoding": "decoding", with which the names of its faults begin."""
    return file.rpartition("/")[2]


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...]) -> Mutant:
    """``file`` from the root, without its ending: "trainers/trl/decoding"."""
    folder, _, path = file.partition("/")
    return Mutant(f"{stem(file)} {name}", f"{path}.py", old, new, tests, folder)


ADVANTAGES = (
    Mutant("grpo adds the mean", "advantages/grpo.py", "advantages = rewards - mean", "advantages = rewards + mean"),
    Mutant(
        "grpo loses epsilon", "advantages/grpo.py", "(std.unsqueeze(1) + self.epsilon)", "(std.unsqueeze(1) + 1e-30)"
    ),
    Mutant("grpo mixes group and batch", "advantages/grpo.py", 'self.scale == "group"', 'self.scale == "batch"'),
    Mutant("grpo lets NaN out", "advantages/grpo.py", "torch.nan_to_num(flat, nan=0.0)", "flat"),
    Mutant("grpo forgets unscored", "advantages/grpo.py", "mean = torch.nanmean(", "mean = torch.mean("),
    Mutant("dr_grpo adds the mean", "advantages/dr_grpo.py", "rewards - torch.nanmean", "rewards + torch.nanmean"),
    Mutant("dr_grpo takes all ranks", "advantages/dr_grpo.py", "groups.own(", "groups.flat(", RANKS),
    Mutant("rloo counts itself", "advantages/rloo.py", "(count - 1).clamp(min=1)", "count.clamp(min=1)"),
    Mutant("rloo rewards the lonely", "advantages/rloo.py", "torch.where(count > 1,", "torch.where(count > 0,"),
)

LOSSES = (
    Mutant("unclipped loses its sign", "losses/unclipped.py", "return -batch", "return batch"),
    Mutant("unclipped clamps early", "losses/unclipped.py", "option(60.0", "option(0.1"),
    Mutant("unclipped detaches the ratio", "losses/unclipped.py", "self.clamp).exp()", "self.clamp).exp().detach()"),
    Mutant(
        "ppo takes the better bound",
        "losses/ppo_clip.py",
        "torch.maximum(free, clipped)",
        "torch.minimum(free, clipped)",
    ),
    Mutant("ppo swaps its bounds", "losses/ppo_clip.py", "1 + (self.epsilon if", "1 + 2 * (self.epsilon if"),
    Mutant("dual clip on A > 0", "losses/ppo_clip.py", "torch.where(a < 0,", "torch.where(a > 0,"),
    Mutant(
        "dual clip loses its sign",
        "losses/ppo_clip.py",
        "torch.minimum(loss, -a * self.dual)",
        "torch.minimum(loss, a * self.dual)",
    ),
    Mutant(
        "ppo counts unclipped tokens",
        "losses/ppo_clip.py",
        '"clip_fraction": clipped > free',
        '"clip_fraction": clipped >= free',
    ),
)

WEIGHTS = (
    Mutant("clip_cov keeps the drawn", "weights/clip_cov.py", "return (~drawn)", "return drawn"),
    Mutant("clip_cov forgets the mask", "weights/clip_cov.py", "admissible = batch.valid & (cov", "admissible = (cov"),
    Mutant("clip_cov turns the lower end", "weights/clip_cov.py", "(cov > self.low)", "(cov < self.low)"),
    Mutant("clip_cov has no upper end", "weights/clip_cov.py", "& (cov < self.high)", ""),
    Mutant("clip_cov draws clipped tokens", "weights/clip_cov.py", "& ~clipped_tokens(batch)", ""),
    Mutant("clip_cov draws the highest keys", "weights/clip_cov.py", "-selection_keys(batch)", "selection_keys(batch)"),
    Mutant(
        "clip_cov may draw none", "weights/clip_cov.py", "self.fraction * tokens), 1)", "self.fraction * tokens), 0)"
    ),
    Mutant("clip_cov stays on its rank", "weights/clip_cov.py", "count, batch.reducer)", "count)", RANKS),
    Mutant(
        "high_entropy keeps the certain", "weights/high_entropy.py", "(entropy >= threshold)", "(entropy <= threshold)"
    ),
    Mutant("high_entropy forgets the mask", "weights/high_entropy.py", "keep = valid & (", "keep = ("),
    Mutant("high_entropy swaps its share", "weights/high_entropy.py", "1 - self.fraction)", "self.fraction)"),
    Mutant("high_entropy rounds to nearest", "weights/high_entropy.py", "0.9999 if", "0.5 if"),
    Mutant("high_entropy divides by all", "weights/high_entropy.py", "scale = total / batch", "scale = 1.0 / batch"),
    Mutant("high_entropy reads the new entropy", "weights/high_entropy.py", 'self.scope == "rollout" and', "False and"),
)

PENALTIES = (
    Mutant("kl_cov pushes away", "penalties/kl_cov.py", "self.coef * size, 0.0", "-self.coef * size, 0.0"),
    Mutant("kl_cov detaches its distance", "penalties/kl_cov.py", "size = d.abs()", "size = d.abs().detach()"),
    Mutant("kl_cov drops the absolute value", "penalties/kl_cov.py", "size = d.abs()", "size = d"),
    Mutant(
        "kl_cov penalises every token",
        "penalties/kl_cov.py",
        "torch.where(selected, self",
        "torch.where(batch.valid, self",
    ),
    Mutant(
        "kl_cov takes the lowest",
        "penalties/kl_cov.py",
        "top_mask(token_covariance(batch)",
        "top_mask(-token_covariance(batch)",
    ),
    Mutant("kl_cov may select none", "penalties/kl_cov.py", "count = max(1, int(", "count = max(0, int("),
    Mutant("kl_cov loses half of k2", "penalties/kl_cov.py", "d.square() / 2", "d.square()"),
    Mutant("kl_cov is no policy term", "penalties/kl_cov.py", "policy_term = True", "policy_term = False"),
    Mutant("kl_ref turns the log-ratio", "penalties/kl_ref.py", "value = chosen.k(x)", "value = chosen.k(-x)"),
    Mutant("kl_ref detaches rho", "penalties/kl_ref.py", "self.clamp).exp()", "self.clamp).exp().detach()"),
    Mutant("kl_ref has no gradient", "penalties/kl_ref.py", "value = chosen.k(x)", "value = chosen.k(x.detach())"),
    Mutant(
        "kl_ref swaps exact and pathwise", "penalties/kl_ref.py", 'self.gradient == "exact"', 'self.gradient != "exact"'
    ),
    Mutant("impossible tokens become NaN", "batch.py", "self.invalid | raw.isnan()", "self.invalid"),
    Mutant("kl_ref forgets the mask", "batch.py", "self.invalid | raw.isnan()", "raw.isnan()"),
    Mutant("kl_ref is a policy term", "penalties/kl_ref.py", "policy_term = False", "policy_term = True"),
    Mutant("entropy_bonus is a malus", "penalties/entropy_bonus.py", "return -self.coef", "return self.coef"),
    Mutant(
        "entropy_bonus without gradient",
        "penalties/entropy_bonus.py",
        'batch.require("entropy")',
        'batch.require("entropy").detach()',
    ),
    Mutant(
        "entropy_bonus swaps its means",
        "penalties/entropy_bonus.py",
        'self.reduction == "global"',
        'self.reduction == "trl"',
    ),
    Mutant(
        "entropy_bonus counts padding", "penalties/entropy_bonus.py", "masked_sum(entropy, batch.mask)", "entropy.sum()"
    ),
    Mutant("renyi_bonus is a malus", "penalties/renyi_bonus.py", "return -self.coef", "return self.coef"),
    Mutant(
        "renyi_bonus swaps its families",
        "penalties/renyi_bonus.py",
        'self.family == "renyi"',
        'self.family == "tsallis"',
    ),
    Mutant("renyi_bonus forgets the mask", "penalties/renyi_bonus.py", ".masked_fill(batch.invalid, 1.0)", ""),
)

SHARED = (
    Mutant("covariance not centred in A", "covariance.py", "(x - total / count.clamp(min=1)) * centred", "x * centred"),
    Mutant(
        "covariance of the rank alone",
        "covariance.py",
        "masked_totals([*values, logps], batch.mask, batch.reducer)",
        "masked_totals([*values, logps], batch.mask)",
        RANKS,
    ),
    Mutant(
        "covariance keeps padding",
        "covariance.py",
        "[torch.where(batch.valid, x, 0.0) for x in found]",
        "found",
    ),
    Mutant("clipped where it is not", "covariance.py", "> -a * ratio)", "< -a * ratio)"),
    Mutant("keys forget the generation", "covariance.py", "_mix(x ^ batch.generation)", "_mix(x)", RANKS),
    Mutant(
        "keys forget the sequence",
        "covariance.py",
        "_mix(x ^ uids.view(-1, 1))",
        "_mix(x ^ uids.view(-1, 1) * 0)",
        RANKS,
    ),
    Mutant("k3 loses its constant", "divergences.py", "torch.exp(-x) + x - 1", "torch.exp(-x) + x"),
    Mutant("k3 turned round", "divergences.py", "torch.exp(-x) + x - 1", "torch.exp(x) - x - 1"),
    Mutant("k2 straight-through lost", "divergences.py", "return k2 - k2.detach() + ", "return "),
    Mutant("low_var_kl unclamped", "divergences.py", ".clamp(-10, 10)", ""),
    Mutant("ratio turned round", "batch.py", "self.logps - self.reference_logps", "self.reference_logps - self.logps"),
    Mutant(
        "log means over padding",
        "batch.py",
        "torch.stack(list(values.values())).masked_fill_(self.invalid, 0.0)",
        "torch.stack(list(values.values()))",
    ),
    Mutant("ratio in padding", "batch.py", "difference.masked_fill(self.invalid, 0.0)", "difference"),
    Mutant("on-policy ratio without gradient", "batch.py", "self.logps.detach() if self", "self.logps if self"),
    Mutant(
        "a product instead of where", "reduce.py", "torch.where(mask.bool(), x, 0.0).sum()", "(x * mask).sum()", REDUCE
    ),
    Mutant(
        "quantile without interpolation",
        "reduce.py",
        "torch.lerp(ordered[low], ordered[high], (rank - low).to(ordered))",
        "ordered[low]",
        REDUCE,
    ),
    Mutant("ties of all ranks", "reduce.py", "(order + earlier <= room)", "(order <= room)", REDUCE),
    Mutant("ties without limit", "reduce.py", "(tied & (order + earlier <= room))", "tied", REDUCE),
    Mutant("biased deviation", "reduce.py", "(count - 1).clamp(min=1)", "count.clamp(min=1)", REDUCE),
    Mutant("weights added", "objective.py", "product * weight.detach()", "product + weight.detach()", CONTROL),
    Mutant("correction forgotten", "objective.py", "total * correction", "total", CONTROL),
    Mutant(
        "micro scope sees all ranks", "parts.py", "batch.detached().set(reducer=LOCAL)", "batch.detached()", CONTROL
    ),
    Mutant("knob without clamp", "control.py", "min(max(value, self.low), self.high)", "value", CONTROL),
    Mutant("knob on every term", "control.py", "if p.name == knob.term else p", "if True else p", CONTROL),
)

MUTANTS = {m.name: m for m in (*ADVANTAGES, *LOSSES, *WEIGHTS, *PENALTIES, *SHARED)}

for module in sorted(Path(__file__).parent.glob("mutants_*.py")):  # last: they build on the class above
    groups = vars(importlib.import_module(f"mutation.{module.stem}")).values()
    MUTANTS |= {m.name: m for group in groups if isinstance(group, tuple) for m in group if isinstance(m, Mutant)}

ELSEWHERE = {name for name, m in MUTANTS.items() if m.tests[0].startswith("tests/vllm_engine")}
"""Those that only the environment of `make test-vllm` can run."""

QUICK = (
    "kl_cov pushes away",
    "clip_cov forgets the mask",
    "kl_ref detaches rho",
    "high_entropy keeps the certain",
    "pid forgets the effect",
)
"""One sign, one mask, one detach, one comparison and one constant: what the everyday run kills."""
