"""TRL's own reward functions, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from entropostat.data.example import Example
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option
from entropostat.rl.spelling import unknown

FUNCTIONS = {
    "accuracy_reward": "trl.rewards.accuracy_rewards",
    "reasoning_accuracy_reward": "trl.rewards.accuracy_rewards",
    "think_format_reward": "trl.rewards.format_rewards",
}
"""Name -> module. All of ``trl.rewards`` that reads the text alone."""
TERMS = {
    "get_soft_overlong_punishment": "overlong: {max_length: MAX_COMPLETION_LEN, buffer: SOFT_PUNISH_CACHE}",
    "get_cosine_scaled_reward": "length_cosine: {max_length: MAX_LEN}",
    "get_repetition_penalty_reward": "repetition: {gram: NGRAM_SIZE, coef: -MAX_PENALTY}",
}
"""Those that read tokens -> the term of ``objective.rewards`` that gives the same numbers."""


@VERIFIERS.register("trl", paper="https://huggingface.co/docs/trl/rewards")
@dataclass(frozen=True, kw_only=True)
class TRLReward(Verifier):
    """A function of ``trl.rewards``: accuracy_reward, reasoning_accuracy_reward or think_format_reward, of the installed TRL.

    It gets the completion as one message of the assistant, and the reference answer as ``solution``. The accuracies parse LaTeX alone
    in completions, and give no score where the reference cannot be parsed; the second reads what follows ``</think>``, and gives 0
    where nothing does. Their own time-outs, 10 s to parse and 5 to compare, count a hang as a wrong answer; ``timeout`` ends what they
    cannot. ``math_verify`` here reads more kinds of answers, and tells a hang from a mistake.

    Functions that read tokens are terms of ``objective.rewards``: ``overlong`` is get_soft_overlong_punishment, ``length_cosine``
    get_cosine_scaled_reward, ``repetition`` get_repetition_penalty_reward.
    """

    function: str = option(doc="name in trl.rewards")
    reasoning_delimiters: list[str] | None = option(  # noqa: RUF009
        None, doc="of reasoning_accuracy_reward: texts that end the thinking; null: </think>"
    )

    libraries: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys(FUNCTIONS.values()))

    def __post_init__(self) -> None:
        name = self.function
        if name in TERMS:
            raise ValueError(
                f"verifier trl: function: {name} reads tokens, and a verifier reads the text; put this into objective.rewards: "
                f"{TERMS[name]}"
            )
        if name not in FUNCTIONS:
            raise ValueError(
                f"verifier trl: function: {unknown('function of trl.rewards', name, [*FUNCTIONS, *TERMS])}"
            )
        if self.reasoning_delimiters is not None and name != "reasoning_accuracy_reward":
            raise ValueError(
                f"verifier trl: reasoning_delimiters: {name} reads none; leave it out, or take reasoning_accuracy_reward"
            )
        if self.reasoning_delimiters is not None and not all(self.reasoning_delimiters or [""]):
            raise ValueError(
                "verifier trl: reasoning_delimiters: one of them is empty; give the texts that end the thinking"
            )

    @property
    def compares(self) -> bool:
        return not self.formal

    @property
    def formal(self) -> bool:
        return self.function == "think_format_reward"

    @property
    def isolated(self) -> bool:
        return True  # sympy can take for ever on adversarial expressions, and a pattern on adversarial text

    def prepare(self) -> None:
        super().prepare()
        if self.compares:
            importlib.import_module("math_verify")  # TRL would say that it is missing with the first completion only

    def score(self, completion: str, example: Example) -> float | None:
        if self.compares and example.answer is None:
            return None
        call: Callable[..., list[float | None]] = getattr(
            importlib.import_module(FUNCTIONS[self.function]), self.function
        )
        given: dict[str, Any] = (
            {} if self.reasoning_delimiters is None else {"reasoning_delimiters": self.reasoning_delimiters}
        )
        (score,) = call(
            completions=[[{"role": "assistant", "content": completion}]], solution=[example.answer], **given
        )
        return score
