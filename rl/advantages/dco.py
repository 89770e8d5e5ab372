"""DCO for reinforcement learning: train for one right completion in N, by a weight per prompt.

    log_coverage: A_i <- A_i N (1 - p)^(N-1) / (1 - (1 - p)^N)        coverage: A_i <- A_i N (1 - p)^(N-1)

p is the share of right completions in the group. These are d log C / dp and d C / dp of the coverage C = 1 - (1 - p)^N, so that
behind an estimator of dp (``dr_grpo`` or ``rloo``, without a standard deviation) the step is along the gradient of log C or C.

Direct coverage optimisation, Chen et al. 2025, arXiv:2502.07154, for supervised fine-tuning: its loss is -log C (and not 1 - C, as
it is often quoted), its factor on the cross-entropy p times the weight of log_coverage. From a third party's summary: the text was
not read. The weight on sampled completions is our reading. Not the paper's: DCO per proof step, and the replacement of samples
whose factor is small.

The share of G completions stands in for p, so neither is the unbiased gradient: ``pkpo`` is, for N up to G.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.coverage import coverage, coverage_slope, log_coverage_slope
from entropostat.rl.reduce import all_groups
from entropostat.rl.registry import ADVANTAGES, option
from entropostat.rl.reshaping import advantages_before, mean_over, times_per_prompt
from entropostat.rl.term import Advantage


@ADVANTAGES.register(
    "dco",
    paper="arXiv:2502.07154",
    rollout_needs=("rewards",),
    clock="rollout",
    provides={
        "coverage": "Chance of a right completion in N at the success rates of the groups, mean over prompts.",
        "weight": "Factor on the advantages of a prompt, mean over prompts.",
    },
)
@dataclass(frozen=True)
class DCO(Advantage):
    """Weigh prompts by what a higher success rate adds to pass@N: much for hard ones, next to nothing for easy ones.

    Reshapes the advantages before it. With N = 1, ``coverage`` changes nothing. A prompt without a right completion counts, for
    ``log_coverage``, as one with a single one: the weight has no limit at p = 0, and with rewards of 0 and 1 there is no advantage.
    """

    n: int = option(8, low=1, doc="N: completions of which one must be right, best as many as in testing")
    objective: str = option("log_coverage", choices=("log_coverage", "coverage"), doc="what the weight is the slope of")
    threshold: float = option(1.0, fixed=True, doc="a completion is right where its reward is at least this")

    reshapes = True

    def __call__(self, batch: TokenBatch) -> Output:
        before = advantages_before(batch, "dco")
        groups = all_groups(batch.require("rewards"), batch.groups, batch.reducer)
        scored = (~groups.matrix.isnan()).sum(1).double()
        right = (groups.matrix >= self.threshold).sum(1).double()
        size = scored.clamp(min=1)
        if self.objective == "coverage":
            weight = coverage_slope(right / size, self.n)
        else:
            weight = log_coverage_slope(right.clamp(min=1) / size, self.n)
        prompts = scored > 0
        metrics = {
            "coverage": mean_over(coverage(right / size, self.n), prompts),
            "weight": mean_over(weight, prompts),
        }
        return times_per_prompt(before, weight, groups), metrics
