"""What a script may require of a comparison: ``hard/pass@1 >= 0.8``, or ``hard/pass@1 > first``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from entropostat.compare.groups import Group, paired_p
from entropostat.recipe.errors import nearest

COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
FORM = re.compile(r"\s*(\S+?)\s*(>=|<=|>|<)\s*(\S+)\s*")
FIRST = "first"
LEVEL = 0.05


@dataclass(frozen=True)
class Verdict:
    holds: bool
    text: str


@dataclass(frozen=True)
class Requirement:
    """Of every group; with ``first`` in place of a number, of every other group against the first one, where > and < also
    ask for p < .05 and so for at least six seeds."""

    key: str
    sign: str
    bound: float | None
    """None: the first group's value."""

    @classmethod
    def parse(cls, text: str) -> Requirement:
        match = FORM.fullmatch(text)
        try:
            key, sign, right = match.groups() if match else ("", "", "")
            return cls(key, sign, None if match and right == FIRST else float(right))
        except ValueError:
            raise ValueError(
                f"--require {text!r}: write METRIC OPERATOR NUMBER, such as 'hard/pass@1 >= 0.8', or '> first'"
            ) from None

    def judge(self, groups: Sequence[Group]) -> Verdict:
        """Raises ValueError where no run has the metric."""
        key = self._full(groups)
        if self.bound is None and len(groups) < 2:
            raise ValueError(f"--require {self.key}: there is no second recipe to compare with the first")
        failed = [problem for group in groups if (problem := self._problem(group, groups[0], key))]
        said = f"required: {self.key} {self.sign} {FIRST if self.bound is None else format(self.bound, 'g')}"
        return Verdict(not failed, f"{said}: {'holds' if not failed else '; '.join(failed)}")

    def _problem(self, group: Group, first: Group, key: str) -> str | None:
        if self.bound is None and group is first:
            return None
        value, bound = group.last(key), first.last(key) if self.bound is None else self.bound
        if value is None or bound is None:
            return f"{group.name} has no value"
        if not COMPARE[self.sign](value, bound):
            return f"{group.name} has {value:.4g}"
        if self.bound is not None or self.sign in (">=", "<="):
            return None
        p = paired_p(first, group, key)
        if p is None:
            return f"{group.name} has {value:.4g}, and too few seeds in common to tell"
        return None if p < LEVEL else f"{group.name} has {value:.4g}, but p is {p:.3f}"

    def _full(self, groups: Sequence[Group]) -> str:
        """The metric's key: as in metrics.jsonl, or as the table shows it, without ``evaluate/``."""
        known = {key for group in groups for key in group.keys}
        for key in (self.key, f"evaluate/{self.key}"):
            if key in known:
                return key
        raise ValueError(f"--require {self.key}: no run has that metric; {nearest(self.key, known)}")
