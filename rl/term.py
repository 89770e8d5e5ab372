"""What a term is, slot by slot: every member that anybody may ask a term for. Read this file first.

    slot          base                               what a call gives
    rewards       Reward                             (B,), once per generation, after the verifiers
    advantages    Advantage, CriticAdvantage         (B,) or (B, T), once per generation
    weights       Weight                             (B, T) >= 0, multiplied onto the policy loss
    loss          Surrogate, Delegated               (B, T) policy loss, before the mean over tokens
    penalties     TokenPenalty                       (B, T), added before the mean
                  ScalarPenalty, SamplingPenalty     0-dim, added to the loss
    scalars       Scalar                             nothing: its one option is read
    data          Sieve, Refill, Recovery            which prompts are asked, which groups train (stream.py)
    controllers   Controller                         the number that another option takes at a step

A term is one file with one frozen dataclass: the base of its slot, its options as fields, and pure methods.

    @WEIGHTS.register("mine", paper="arXiv:...", needs=("entropy",), provides={"fraction": "Share of tokens kept."})
    @dataclass(frozen=True)
    class Mine(Weight):
        bar: float = option(1.0, low=0.0, doc="nats above which a token keeps its gradient")

        def __call__(self, batch: TokenBatch) -> Output:
            keep = batch.require("entropy").detach() > self.bar
            return keep.to(batch.logps.dtype), batch.means(fraction=keep)

What has a value here may be left out, all else must be given. A class that misses or misspells a member is refused (contract.py), so
helpers begin with an underscore. B sequences, T completion tokens; all in nats; ``Output`` is the tensor and the metrics it ``provides``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from entropostat.rl.info import Holds, Info, State
from entropostat.rl.partition import Partition

if TYPE_CHECKING:
    from torch import Tensor

    from entropostat.rl.batch import Metrics, Output, Stats, TokenBatch
    from entropostat.rl.bounds import Bounded
    from entropostat.rl.phrases import Phrases
    from entropostat.rl.vocab_sums import Wanted


class Term(ABC):
    """Anything that a recipe can name."""

    info: ClassVar[Info] = Info("", "", "", (), (), "step", "", {})
    """The registry writes it."""
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @classmethod
    def _contradiction(cls) -> str | None:
        """For a base: what is wrong with a class although no member is missing by itself."""
        return None


def options(term: Term) -> dict[str, Any]:
    """Option -> value, defaults included."""
    return {f.name: getattr(term, f.name) for f in fields(term)}


class BatchTerm(Term):
    """A term that reads a batch: of one micro-batch in the loss, of this rank's generation for advantages."""

    @abstractmethod
    def __call__(self, batch: TokenBatch) -> Output: ...

    corrects_sampler: ClassVar[bool] = False
    """Where it reads ``sampler_logps``, it carries the ratio of trainer to sampler: TRL's own correction must then be off."""

    @property
    def wanted(self) -> Wanted | None:
        """What its vocabulary statistics are made with (temperatures, truncations), beyond their names in ``needs``."""
        return None

    @property
    def assumed_temperature(self) -> float | None:
        """The sampling temperature that it counts on; None: any."""
        return None


# --------------------------------------------------------------------------------------------------------------- rewards


class Reward(BatchTerm):
    """A link of the chain between verifiers and advantages, called once per generation: (B,) rewards.

    Each sees the former's output as ``batch.rewards``, and as ``batch.unshaped`` what the verifiers gave, which alone says what is
    right, is logged and evaluated. A completion that nothing could score, NaN there, keeps no reward and counts in no mean of a group.
    """

    def remember(self, batch: TokenBatch) -> State:
        """``batch.memory`` after one more generation of training, {} before the first; the call that follows finds it there.
        Over all ranks, so that all of them remember the same. It is part of every checkpoint."""
        return dict(batch.memory)


# ------------------------------------------------------------------------------------------------------------ advantages


class Advantage(BatchTerm):
    """A link of the chain, called once per generation: the first estimates, each later one sees ``batch.advantages``."""

    tokenwise: ClassVar[bool] = False
    """The output is (B, T), and may change its sign within a row."""
    reshapes: ClassVar[bool] = False
    """It changes the output of the one before it, and cannot be the first."""
    multi_objective_aggregation: ClassVar[str] = "sum_then_normalize"
    """TRL's option under which what it logs of its own advantages, which these replace, is true."""

    @property
    def compares(self) -> bool:
        """Relative to the other completions of the prompt: 0 where all have the same reward."""
        return True

    @property
    def scale_rewards(self) -> str | None:
        """TRL's option, likewise; None: left at its default."""
        return None

    @property
    def phrases(self) -> Phrases | None:
        """Which phrases ``batch.planning`` marks for it; None: it does not read that."""
        return None


class CriticAdvantage(Advantage):
    """A base estimator that reads ``old_values``."""

    @abstractmethod
    def estimate(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """(B, T) advantages before whitening, and (B, T) returns for the critic to learn."""


# ------------------------------------------------------------------------------------------- weights, penalties, losses


class Scoped(BatchTerm):
    """A term that may need statistics of more tokens than a call sees: quantiles, means, top-k masks."""

    scope: str = "never"
    """What the statistics run over, mostly an option with the choices SCOPES. Stated by whoever has a ``prepare``."""

    @property
    def prepared(self) -> str:
        """When ``prepare`` runs; the scope, unless an option says otherwise."""
        return self.scope

    def prepare(self, batch: TokenBatch) -> Stats:
        """The statistics, without a graph; the next call finds them in ``batch.stats``. 0-dim, or batch-first tensors.

        ``batch.reducer`` spans what ``prepared`` says: no other rank with ``micro``.
        """
        return {}


class Weight(Scoped):
    """(B, T) >= 0, applied after the ratio clip to the policy loss, and to penalties that are ``weighted``. Detached by
    whoever calls."""

    smooth: ClassVar[bool] = False
    """No weight is 0 or jumps."""

    @property
    def passes(self) -> int:
        """Passes over a generation (num_iterations) that it shares the tokens out over; theirs is a multiple of it."""
        return 1


class Penalty(Scoped):
    """Added to the loss at the size of its own coefficient."""

    kind: ClassVar[Literal["token", "scalar"]]
    policy_term: ClassVar[bool] = False
    moves_reference: bool = False
    """Who has the weights moves the policy of ``ref_logps`` after the one that trains."""


class TokenPenalty(Penalty):
    """(B, T), aggregated as the policy loss is."""

    kind = "token"
    policy_term: ClassVar[bool]
    """It stands in for part of the policy loss: the correction for the sampler's log-probs applies to it."""
    weighted: bool = False
    """The product of the weights multiplies it, as it does the policy loss."""


class ScalarPenalty(Penalty):
    """0-dim: it has a normaliser of its own, mostly ``batch.tokens``."""

    kind = "scalar"


class SamplingPenalty(ScalarPenalty):
    """It asks for completions beside the ordinary ones, and finds them in ``batch.extra``. At most one in an objective."""

    share: float
    """Of the prompts that are sampled again, in (0, 1]."""

    @property
    @abstractmethod
    def replaces(self) -> bool:
        """Selected completions take the place of ordinary ones instead of joining them."""

    @abstractmethod
    def entropy(self, batch: TokenBatch) -> float:
        """Mean token entropy of the policy that generated, nats, over all ranks; NaN without a token."""

    @abstractmethod
    def request(self, batch: TokenBatch) -> float | None:
        """Temperature at which to sample extra completions for this generation; None: none."""

    @abstractmethod
    def select(self, extra: TokenBatch, entropy: float) -> tuple[Tensor, Metrics]:
        """(E,) weight of each extra completion of this rank."""


# ------------------------------------------------------------------------------------------------------------------ loss


class Loss(Scoped):
    """The policy loss of a token before aggregation. ``batch.advantages`` are the final ones, without any weight."""

    delegated: ClassVar[bool] = False
    """TRL computes it."""
    stops_gradient: ClassVar[bool] = False
    """Something that depends on the log-probs counts as a constant: the gradient is not that of the value."""
    type: str
    """TRL's loss_type whose normaliser averages the tokens: an option."""
    holds: Holds = "nothing"

    @property
    def aggregation(self) -> str:
        return self.type

    @property
    def by_sequence(self) -> bool:
        """One ratio holds for a whole sequence."""
        return False

    @property
    def head(self) -> Partition | None:
        """How the head of ``log_z`` is made, where its ``needs`` name that."""
        return None

    @property
    def clip(self) -> tuple[float, float] | None:
        """(lowest, highest) ratio of a token with a gradient, for weights that leave clipped tokens alone. None where the
        bounds are soft, hold for sequences, or leave the tokens beyond them a gradient."""
        return None

    def bounded(self, batch: TokenBatch) -> Bounded:
        """Tokens, or sequences, at a bound, of a batch that has its statistics. Asked only where it ``holds`` something."""
        raise NotImplementedError(f"{type(self).__name__} holds the {self.holds} of tokens, and does not say of which")


class Surrogate(Loss):
    """A loss that TRL does not compute: it runs with zero advantages, and ours is added on the scale of its ``type``."""


class Delegated(Loss):
    """A loss whose options the trainer hands to TRL."""

    delegated = True

    @property
    @abstractmethod
    def clip_range(self) -> tuple[float, float]:
        """TRL's epsilon_low and epsilon_high at this step."""

    def __call__(self, batch: TokenBatch) -> Output:
        raise NotImplementedError(f"{self.info.name} is computed by TRL")


# ---------------------------------------------------------------------------------------------------- scalars, controllers


class Scalar(Term):
    """A number of the run and not of the loss, which the trainer reads from its one option."""


class Controller(Term):
    """A rule that sets a float option of another term. Pure: its memory is ``State``, and equal signals give equal values."""

    @property
    @abstractmethod
    def signals(self) -> tuple[str, ...]:
        """Names of all signals that it reads, the one that it holds first."""

    @abstractmethod
    def init(self) -> State: ...

    @abstractmethod
    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        """After one applied optimizer step: the new state, and its ``output``. A signal that is missing or NaN was not measured."""
