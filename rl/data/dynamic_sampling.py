"""Dynamic sampling: prompts whose completions all got the same reward give way to further prompts.

    a group teaches if  max R - min R > tolerance;  others are replaced until all do, or max_rounds is reached

DAPO, arXiv:2503.14476 (Eq. 11: 0 < right answers < G). The paper samples until the batch is full; its script (confirmed:
verl-project/verl-recipe @48ea0a7 dapo/run_dapo_qwen2.5_32b.sh, ``max_num_gen_batches`` 10, ``gen_prompt_bsz`` three times
``train_prompt_bsz``) starts with three batches' worth of prompts, draws as many again in each further round, and stops the run
where ten are not enough. Those of Clip-Cov and KL-Cov there say the same, NeMo-RL's of ProRLv2 ten rounds of 1.5 batches. Here a
generation begins as it would without this term, and a round draws ``oversample`` prompts for each group that is missing.
After the last round what is left keeps its place with advantage 0, so that batch, steps and learning rate stay what they
are. The paper filters by accuracy; here the rewards decide as the advantages see them, shaping included: with `gdpo`, which
normalises each reward by itself, a spread in any of them that has a weight.

Not to be confused with `difficulty`, which remembers prompts and asks no completions in vain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from entropostat.rl.registry import DATA, option
from entropostat.rl.stream import Refill


@DATA.register(
    "dynamic_sampling",
    paper="arXiv:2503.14476",
    clock="rollout",
    provides={
        "without_signal": "Share of the generation's prompts, as drawn, whose completions all got the same reward.",
        "left": "Share of its places that have no signal after the last round: they train with advantage 0.",
        "rounds": "Further rounds of sampling that it took.",
        "prompts": "Further prompts that were sampled.",
        "tokens": "Tokens of those prompts and their completions: what num_tokens does not count.",
        "discarded": "Share of the further groups with a signal for which there was no place.",
    },
)
@dataclass(frozen=True)
class DynamicSampling(Refill):
    """Fill every generation with groups that teach, by sampling further prompts.

    Costs up to ``max_rounds`` more rounds of generation, each as long as its longest completion, and scoring for each. Watch
    `tokens`: where nearly all prompts are solved, or none, a full batch is dear. TRL's own metrics go on describing the
    generation as drawn, before anything is replaced; the completions table shows what trains.
    """

    max_rounds: int = option(
        9, low=1, high=100, doc="further rounds of sampling; the script of the paper: 10 with the first"
    )
    oversample: float = option(
        1.0, low=1.0, high=64.0, doc="prompts that a round draws for each missing group; at most a generation's worth"
    )
    tolerance: float = option(1e-6, low=0.0, fixed=True, doc="largest distance of two rewards that counts as none")

    def teaches(self, rewards: Sequence[float]) -> bool:
        scored = [reward for reward in rewards if not math.isnan(reward)]
        return len(scored) > 1 and max(scored) - min(scored) > self.tolerance

    def asks(self, missing: int, prompts: int) -> int:
        return min(math.ceil(missing * self.oversample), prompts)
