"""Clip-Cov: take a few high-covariance tokens out of the gradient.

    Cov_t = (A_t - mean A) (log pi_t - mean log pi)
    w_t = 0 on max(int(fraction N), 1) tokens drawn from { low < Cov_t < high, not ratio-clipped }, else 1

Cui et al. 2025, The Entropy Mechanism of RL, arXiv:2505.22617, Sec. 4.2, Eq. 10-12. Paper and released code agree on
the gradient. They differ in: the value of the loss on drawn tokens (paper's listing keeps it, the code and we set it to
0); the count (paper floor(r N), code and we at least 1); the band (closed in Eq. 11, open in the code and here). The
released scripts run it with a ratio clip of [0, 2] (``loss: {trl: {epsilon: 1.0, epsilon_high: 1.0}}``).

What we changed: the reference pools one micro-batch of one rank and the current log-probs (``scope: micro``). With one
sequence per micro-batch group-centred advantages have Cov = 0 and nothing is ever drawn, so the default pools the whole
generation over all ranks and uses the log-probs of the old policy, at which no token is ratio-clipped yet.

As others have it, by the functions of their releases on one mini-batch of 64 completions x 512 tokens, in micro-batches of 64,
8 and 1 completions (benchmarks/forks.py; what else differs: benchmarks/results/forks.md):

                 share of tokens taken out    means and draw over    advantages in Cov            ratio clip
    verl 0.9.1   0.00018  0.00021  0          a micro-batch          as estimated                 .2 both ways by default
    SkyRL 0.3.0  0        0        0          a micro-batch          divided by all tokens first  .2 both ways by default
    here         0.00018  0.00018  0.00018    the generation         as estimated                 the loss's own

With SkyRL's advantages no covariance comes near the band, and Clip-Cov is plain clipping. None of the three has a dual clip beside
it unless it is asked for here (``ppo_clip.dual``). TRL 1.16 has no Clip-Cov.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, Stats, TokenBatch
from entropostat.rl.covariance import clipped_tokens, covariance_and_count, selection_keys
from entropostat.rl.info import SCOPES
from entropostat.rl.needs import when
from entropostat.rl.reduce import top_mask
from entropostat.rl.registry import WEIGHTS, option
from entropostat.rl.term import Weight


@WEIGHTS.register(
    "clip_cov",
    paper="arXiv:2505.22617",
    rollout_needs=(when(scope="rollout").needs("old_logps"),),
    reference="PRIME-RL/Entropy-Mechanism-of-RL core_algos.py:469; verl core_algos.py:1451",
    provides={
        "fraction": "Share of tokens that were taken out of the policy gradient.",
        "admissible": "Share of tokens inside the covariance band.",
    },
)
@dataclass(frozen=True)
class ClipCov(Weight):
    """Remove a few random tokens of the covariance tail from the policy gradient, so that entropy falls more slowly.

    Inert when no covariance lies in the band: all-equal advantages, or ``scope: micro`` with one sequence.
    """

    fraction: float = option(2e-4, above=0.0, high=0.5, doc="share of tokens to take out (both papers' sizes: 2e-4)")
    low: float = option(1.0, doc="lower end of the covariance band, open")
    high: float = option(5.0, doc="upper end of the covariance band, open")
    scope: str = option("rollout", choices=SCOPES, doc="what the means and the draw run over")

    def prepare(self, batch: TokenBatch) -> Stats:
        cov, tokens = covariance_and_count(batch)
        admissible = batch.valid & (cov > self.low) & (cov < self.high) & ~clipped_tokens(batch)
        count = max(int(self.fraction * tokens), 1)
        drawn = top_mask(-selection_keys(batch), admissible, count, batch.reducer)
        return {"drawn": drawn, "admissible": admissible}

    def __call__(self, batch: TokenBatch) -> Output:
        drawn = batch.stats["drawn"]
        return (~drawn).to(batch.logps.dtype), batch.means(fraction=drawn, admissible=batch.stats["admissible"])
