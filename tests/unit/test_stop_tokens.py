"""From what ``sampler.stop`` says to the ids of tokens."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from support import tiny

from entropostat.trainers.trl.stops import stop_tokens, together


@pytest.mark.parametrize(
    "stop, said",
    [
        ([28], "there is no token 28: the tokenizer has 28, from 0"),
        ([-1], "there is no token -1"),
        (["12"], r"'12' is not one token of this tokenizer, but 2 tokens, \[\d+, \d+\]; give the id of one token"),
        (["$"], "'\\$' is not one token of this tokenizer, but token 2, which reads otherwise"),
    ],
)
def test_what_is_not_one_token_is_one_line(stop: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^sampler.stop: {said}") as error:
        stop_tokens(stop, tiny.tokenizer())
    assert "\n" not in str(error.value)


def test_texts_find_the_token_of_their_name_also_behind_other_encodings() -> None:
    class Odd:
        """Encodes as if a space came before, and spells bytes as other tokenizers do."""

        vocab: ClassVar = {"▁;": 0, ";": 1, "Ċ": 2, "é": 3, "Ã©": 4, "<|end|>": 5}
        texts: ClassVar = {0: ";", 1: ";", 2: "\n", 3: "\ufffd", 4: "é", 5: "<|end|>"}

        def __len__(self) -> int:
            return len(self.vocab)

        def get_vocab(self) -> dict[str, int]:
            return self.vocab

        def encode(self, text: str, add_special_tokens: bool) -> list[int]:
            return {";": [0], "\n": [2], "é": [4], "<|end|>": [5]}[text]

        def decode(self, ids: list[int], **_: Any) -> str:
            return "".join(self.texts[i] for i in ids)

    assert stop_tokens([";", "\n", "é", "<|end|>", 3], Odd()) == [1, 2, 4, 5, 3]  # type: ignore[arg-type]


def test_one_id_alone_and_another_key_are_taken_as_they_come() -> None:
    assert stop_tokens(5, tiny.tokenizer()) == [5] and stop_tokens(None, tiny.tokenizer()) == []
    with pytest.raises(ValueError, match=r"^generation_kwargs.eos_token_id: there is no token 99"):
        stop_tokens(99, tiny.tokenizer(), "generation_kwargs.eos_token_id")


def test_ids_are_put_together_once_each_in_their_order() -> None:
    assert together(None, 5, [3, 5], (), [1]) == [5, 3, 1]
