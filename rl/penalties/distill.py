"""On-policy distillation: the policy follows a teacher on the tokens that it has sampled itself.

    P_t = coef D(p_t, q_t),      p the policy's next-token distribution, q the teacher's, both at the sampling temperature

GKD (Agarwal et al. 2023, arXiv:2306.13649) with on-policy data alone; reverse KL is that of MiniLLM's and TIP's runs. D is one of
the ten divergences of ``kl_ref``, exact over the vocabulary and with its exact gradient (comparison.py): no estimate from the
sampled token, and no [B, T, V] tensor (vocab_teacher.py). To the digit TRL 1.16's DistillationTrainer: its ``beta`` 0 is
forward_kl, 1 is reverse_kl, and any other is jsd at that ``beta``. As there, a token's effect on later states has no gradient, and
tokens of an older policy are used as they are.

``top_k`` keeps the entries that the teacher finds likeliest, and renormalises both over them (TIP's released
``jsd_topk``): the policy's mass beyond them gets no gradient, so what it says there is never unlearnt. null compares all.

The weights of the objective multiply the penalty as they do the policy loss, so that ``tip`` selects its tokens; with
``weighted: false`` it acts on all. Not to be confused with ``kl_ref``, whose reference is the policy's own past.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.comparison import CLAMP, Comparison
from entropostat.rl.divergences import DIVERGENCES
from entropostat.rl.needs import TEACHER
from entropostat.rl.registry import PENALTIES, option
from entropostat.rl.term import TokenPenalty
from entropostat.rl.vocab_sums import Wanted


@PENALTIES.register(
    "distill",
    paper="arXiv:2306.13649",
    needs=(TEACHER,),
    reference="TRL 1.16 DistillationTrainer; HJSang/OPSD_OnPolicyDistillation src/opd/losses.py",
    provides={"divergence": "The divergence from the teacher, token mean, before coefficient and weights."},
)
@dataclass(frozen=True)
class Distill(TokenPenalty):
    """Learn from a teacher, token by token, on the policy's own completions. Needs the recipe's ``teacher``.

    Needs no reward: with ``loss: {none: {}}`` it is the whole objective. Costs the teacher's weights and one forward of it for
    each forward in training, and two passes over both heads beside TRL's own. chi2_pi_ref, chi2_ref_pi and jeffreys grow without
    bound where the two disagree; lower ``clamp`` there.
    """

    coef: float = option(1.0, low=0.0, doc="size of the penalty")
    divergence: str = option("reverse_kl", choices=DIVERGENCES, doc="which divergence; js is twice jsd")
    alpha: float = option(
        0.5, above=0.0, below=1.0, fixed=True, doc="of divergence alpha; 0: reverse KL, 1: forward KL"
    )
    beta: float = option(
        0.5, above=0.0, below=1.0, fixed=True, doc="of divergence jsd: the teacher's share of the mixture"
    )
    clamp: float = option(
        CLAMP, above=0.0, high=CLAMP, fixed=True, doc="bound of |log pi - log teacher| where it is a factor"
    )
    top_k: int | None = option(None, low=1, doc="likeliest entries of the teacher that count; null: all")
    weighted: bool = option(True, doc="the weights of the objective select its tokens, as they do the policy loss's")

    policy_term = False

    @property
    def _comparison(self) -> Comparison:
        return Comparison(self.divergence, self.alpha, self.beta, self.clamp, self.top_k)

    @property
    def wanted(self) -> Wanted:
        return Wanted((), comparisons=(self._comparison,))

    def __call__(self, batch: TokenBatch) -> Output:
        value = batch.of_teacher(self._comparison.key)
        return self.coef * value, batch.means(divergence=value)
