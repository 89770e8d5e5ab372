"""A verifier in the shape of a TRL reward function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from entropostat.data.example import Completion, Example, Prompt
from entropostat.reward.calls import Rows, examples_of
from entropostat.reward.columns import Column
from entropostat.reward.groups import in_groups
from entropostat.reward.judge import Outcome
from entropostat.reward.silence import Silence

if TYPE_CHECKING:
    from entropostat.reward.scoring import Scorer


class RewardFunction:
    """One verifier on the sources of one column."""

    def __init__(self, scorer: Scorer, column: Column) -> None:
        self.scorer, self.column = scorer, column
        self.__name__ = column.name
        self.begun = False
        """The trainer has looked at its first scores."""
        self.silence = Silence()
        """Of the last call."""

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """``columns`` are those of the table that a run trains on; ``None`` means that the verifier has no say on the completion."""
        name = self.column.verifier
        examples = examples_of(prompts, columns)
        rows = [row for row, example in enumerate(examples) if self.column.judges(example.source)]
        self.scorer.beside = {"trainer_state": plain(columns.get("trainer_state"))}
        if self.scorer.verifiers[name].calls == "group":
            outcomes = in_groups(self._groups, completions, examples, self.scorer.ranks)
        else:
            outcomes = self._scored(completions, examples, rows, columns.get("completion_ids"))
        judged = [outcomes[row] for row in rows]
        self.silence = Silence.of(judged, [examples[row] for row in rows])
        self.scorer._keys[self.column.name] = [outcome.answer for outcome in outcomes]
        if log_metric is not None:
            self._log(log_metric, Counter(outcome.problem for outcome in judged if outcome.problem), len(judged))
        return [outcome.score for outcome in outcomes]

    def _scored(
        self, completions: Sequence[Completion], examples: Sequence[Example], rows: Rows, ids: Sequence[Any] | None
    ) -> list[Outcome]:
        """A completion of another source has no outcome to speak of."""
        beside = dict(self.scorer.beside)
        if ids is not None:
            beside["completion_ids"] = [ids[row] for row in rows]
        found = [Outcome()] * len(completions)
        mine, asked = [completions[row] for row in rows], [examples[row] for row in rows]
        for row, outcome in zip(rows, self.scorer.score(self.column.verifier, mine, asked, None, beside), strict=True):
            found[row] = outcome
        return found

    def _groups(
        self, completions: Sequence[Completion], examples: Sequence[Example], groups: Sequence[Rows]
    ) -> list[Outcome]:
        """All members of a group are of one source."""
        mine = [group for group in groups if self.column.judges(examples[group[0]].source)]
        found = [Outcome()] * len(completions)
        rows = [row for group in mine for row in group]
        starts = [sum(map(len, mine[:place])) for place in range(len(mine))]
        blocks = [range(start, start + len(group)) for start, group in zip(starts, mine, strict=True)]
        texts, asked = [completions[row] for row in rows], [examples[row] for row in rows]
        for row, outcome in zip(rows, self.scorer.score(self.column.verifier, texts, asked, blocks), strict=True):
            found[row] = outcome
        return found

    def _log(self, log_metric: Callable[[str, float], None], lost: Counter[str], count: int) -> None:
        name = self.column.name
        log_metric(f"verifier/{name}/errors", float(lost["error"]))
        log_metric(f"verifier/{name}/failed", sum(lost.values()) / max(count, 1))
        if self.scorer.verifiers[self.column.verifier].learned:
            truncated = self.scorer.models[self.column.verifier].truncated if count else 0
            log_metric(f"verifier/{name}/truncated", float(truncated))
        else:
            log_metric(f"verifier/{name}/timeouts", float(lost["timeout"]))


def plain(state: Any) -> Mapping[str, Any]:
    """The numbers and texts of a trainer's state, which may travel to another process."""
    kinds = (bool, int, float, str, type(None))
    return {} if state is None else {key: value for key, value in vars(state).items() if isinstance(value, kinds)}
