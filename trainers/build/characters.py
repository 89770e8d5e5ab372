"""The tokenizer of the quickstart's policy. Brings no models of transformers."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from entropostat.data import chain

SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>"]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each character of the task."""
    vocabulary = {token: index for index, token in enumerate(SPECIAL + sorted(set(chain.ALPHABET)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, padding_side="left", clean_up_tokenization_spaces=False, **names
    )
