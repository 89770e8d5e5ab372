"""The trainer marks the tokens of strategic phrases, learns them from right completions alone, and keeps what it has learned."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny

from entropostat.rl.objective import Objective
from entropostat.trainers.rollout.planning import Planning, located

HICRA = {"hicra": {"seed": ["b c"], "shortest": 1, "longest": 2, "least": 1, "share": 0.2}}


@pytest.fixture(scope="module")
def path() -> str:
    return tiny.saved()


def ids_of(text: str) -> list[int]:
    return tiny.tokenizer()(text)["input_ids"]


def test_tokens_are_located_in_the_text_and_special_ones_take_no_room() -> None:
    text, ends = located(tiny.tokenizer(), [*ids_of("ab c"), 1])
    assert text == "ab c" and ends == [1, 2, 3, 4, 4]


class Odd:
    """A tokenizer that does not read its own text back: two tokens for one word, and a mark in place of a space."""

    is_fast, all_special_ids = True, (9,)
    pieces = ("▁let", "▁m", "e", "▁let")

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(self.pieces[i] for i in ids).replace("▁", " ").strip()

    def __call__(self, text: str, **_: Any) -> dict[str, Any]:
        return {"input_ids": [3], "offset_mapping": [(0, len(text))]}

    def convert_ids_to_tokens(self, token: int) -> str:
        return self.pieces[token]


def test_where_the_text_reads_back_as_other_tokens_each_is_placed_by_its_own_text() -> None:
    assert located(Odd(), [0, 9, 1, 2]) == (" let me", [4, 4, 6, 7])


def planning(path: str, **options: Any) -> tuple[Any, Planning]:
    spec = tiny.objective(advantages=["grpo", {"hicra": {**HICRA["hicra"], **options}}])
    trainer = tiny.ours(path, spec)
    trainer.model.train()
    return trainer, trainer.planning


def output(ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"completion_ids": ids, "completion_mask": mask}


def padded(*texts: str) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [ids_of(text) for text in texts]
    width = max(map(len, rows)) + 1
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def test_marks_cover_the_tokens_of_a_phrase_and_no_masked_one(path: str) -> None:
    _, owner = planning(path, least=100)
    ids, mask = padded("a b c 1", "bc b c", "b c")
    mask[1, 3] = 0  # a tool's words come between
    marks = owner.mask(output(ids, mask), torch.zeros(3))
    assert marks.int().tolist() == [[0, 0, 1, 1, 1, 0, 0, 0], [0] * 8, [1, 1, 1, 0, 0, 0, 0, 0]]


def test_phrases_are_learned_in_training_from_right_completions_only(path: str) -> None:
    trainer, owner = planning(path, seed=[], share=1.0)
    ids, mask = padded("a b", "c d", "e f")
    marks = owner.mask(output(ids, mask), torch.tensor([1.0, 0.0, torch.nan]))
    assert owner.mined.counts.keys() == {"a", "b", "a b"} and marks.any(1).tolist() == [True, False, False]
    trainer.model.eval()
    owner.mask(output(ids, mask), torch.ones(3))
    assert owner.mined.counts.keys() == {"a", "b", "a b"}


def test_nothing_is_made_where_nothing_asks(path: str) -> None:
    trainer = tiny.ours(path, tiny.objective())
    assert trainer.planning.mask(output(*padded("a b")), torch.ones(1)) is None and trainer.planning.state_dict() == {}


def test_a_resumed_run_knows_the_phrases_and_marks_the_same_tokens(path: str) -> None:
    spec = tiny.objective(advantages=["grpo", HICRA])

    def run(**resume: Any) -> tuple[list[torch.Tensor], Any]:
        trainer = tiny.ours(path, spec, max_steps=6, save_strategy="steps", save_steps=2, output_dir=run.folder)
        seen, rollout = [], Objective.rollout

        def watch(self: Any, batch: Any) -> Any:
            seen.append(batch.planning)
            return rollout(self, batch)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Objective, "rollout", watch)
            trainer.train(**resume)
        return seen, trainer

    run.folder = tiny.config().output_dir
    whole, first = run()
    resumed, second = run(resume_from_checkpoint=f"{run.folder}/checkpoint-2")
    assert first.planning.mined.counts and any(marks.any() for marks in whole[1:])
    assert second.planning.state_dict() == first.planning.state_dict()
    assert len(resumed) == 2 and all(torch.equal(a, b) for a, b in zip(resumed, whole[1:], strict=True))
    logged = [row for row in first.state.log_history if "planning/phrases" in row]
    assert logged and all(row["planning/semantic_entropy"] >= 0 for row in logged)
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
