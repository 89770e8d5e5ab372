"""What every key of ``trainer.generation_kwargs`` does to sampling: those of transformers' GenerationConfig, and vLLM's.

A model's own generation_config has the same keys as the former. A test walks the fields of both libraries, so that a new
one has to be judged here before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal["distribution", "stop", "elsewhere", "breaks", "inert", "harmless"]
"""``distribution``: changes the tokens that are drawn, so that their log-probs are not those of the sampler.
``stop``: ends a completion. ``elsewhere``: another key says it. ``breaks``: the trainer cannot work with it.
``inert``: does nothing here. ``harmless``: changes how it is computed, and not what.
"""


@dataclass(frozen=True)
class Key:
    kind: Kind
    why: str
    """``elsewhere`` and ``stop``: the recipe's spelling. Otherwise what it does, and why that is no matter."""
    off: tuple[Any, ...] = (None,)
    """Values at which it does nothing, and may stand."""
    beside: str = ""
    """It acts only where this key does."""
    tokenwise: bool = False
    """``distribution``: looks at the logits of one token alone, so that continuous batching can apply it."""

    def acts(self, value: Any) -> bool:
        return not any(value is off or (value == off and type(value) is not bool) for off in self.off)


def _each(names: str, key: Key) -> dict[str, Key]:
    return dict.fromkeys(names.split(), key)


PLACES = {
    "temperature": Key("elsewhere", "sampler.temperature"),
    "top_p": Key("elsewhere", "sampler.top_p"),
    "top_k": Key("elsewhere", "sampler.top_k"),
    "min_p": Key("elsewhere", "sampler.min_p"),
    "repetition_penalty": Key("elsewhere", "sampler.repetition_penalty"),
}
_LENGTH = Key("elsewhere", "trainer.max_completion_length")
_GROUP = Key("elsewhere", "trainer.num_generations", (None, 1))
_STOP = Key("stop", "sampler.stop")
_DRAFT = Key("harmless", "drafts are checked against the policy's distribution, so that what is drawn stays the same")
_HUB = Key("breaks", "it needs code from the Hub, which is never run")
_MORE = Key("harmless", "asks for values that nobody reads")
_CACHE = Key("harmless", "how keys and values are kept")

TRANSFORMERS: Mapping[str, Key] = {
    **PLACES,
    **_each("max_length max_new_tokens", _LENGTH),
    "num_return_sequences": _GROUP,
    "cache_implementation": Key("elsewhere", "trainer.cache_implementation"),
    "continuous_batching_config": Key("elsewhere", "trainer.transformers_continuous_batching_config"),
    "eos_token_id": _STOP,
    "stop_strings": _STOP,
    # What changes the distribution
    "min_length": Key("distribution", "no end token before this length of prompt and completion", (None, 0)),
    "min_new_tokens": Key("distribution", "no end token before this length", (None, 0)),
    "max_time": Key("distribution", "cuts completions off by the clock"),
    "num_beams": Key("distribution", "draws from beams", (None, 1)),
    "early_stopping": Key("distribution", "when beams end", (None, False), beside="num_beams"),
    "length_penalty": Key("distribution", "weighs beams by their length", (None, 1), beside="num_beams"),
    "renormalize_logits": Key("distribution", "changes the scores of beams", (None, False), beside="num_beams"),
    "top_h": Key("distribution", "keeps a part of the entropy", tokenwise=True),
    "typical_p": Key("distribution", "keeps typical tokens", (None, 1), tokenwise=True),
    "epsilon_cutoff": Key("distribution", "drops improbable tokens", (None, 0), tokenwise=True),
    "eta_cutoff": Key("distribution", "drops improbable tokens", (None, 0), tokenwise=True),
    "suppress_tokens": Key("distribution", "forbids tokens", (None, []), tokenwise=True),
    "remove_invalid_values": Key("distribution", "replaces NaN and infinite logits", (None, False), tokenwise=True),
    "begin_suppress_tokens": Key("distribution", "forbids tokens at the start", (None, [])),
    "bad_words_ids": Key("distribution", "forbids sequences of tokens", (None, [])),
    "sequence_bias": Key("distribution", "favours sequences of tokens", (None, {}, [])),
    "no_repeat_ngram_size": Key("distribution", "forbids repetitions", (None, 0)),
    "encoder_repetition_penalty": Key("distribution", "favours tokens of the prompt", (None, 1)),
    "encoder_no_repeat_ngram_size": Key("distribution", "forbids to repeat the prompt", (None, 0)),
    "exponential_decay_length_penalty": Key("distribution", "makes the end token likelier with length"),
    "forced_bos_token_id": Key("distribution", "forces the first token"),
    "forced_eos_token_id": Key("distribution", "forces the last token"),
    "guidance_scale": Key("distribution", "draws from another mixture of two contexts", (None, 1)),
    "watermarking_config": Key("distribution", "favours a part of the vocabulary"),
    "assistant_ensemble_weight": Key("distribution", "draws from a mixture of two models"),
    # What the trainer cannot work with
    "do_sample": Key("breaks", "all completions of a prompt would be the same", (None, True)),
    "return_dict_in_generate": Key("breaks", "the trainer reads tokens alone", (None, False)),
    "pad_token_id": Key("breaks", "padding is the tokenizer's"),
    "token_healing": Key("breaks", "it rewrites the prompt behind the trainer's back", (None, False)),
    **_each("dola_layers constraints force_words_ids", _HUB),
    "num_beam_groups": replace(_HUB, off=(None, 1)),
    # What does nothing here
    "diversity_penalty": Key("inert", "it belongs to groups of beams", (None, 0)),
    "penalty_alpha": Key("inert", "contrastive search does not sample", (None, 0)),
    "low_memory": Key("inert", "contrastive search does not sample", (None, False)),
    "is_assistant": Key("inert", "the policy drafts for no other model", (None, False)),
    "decoder_start_token_id": Key("inert", "the policy has no encoder"),
    # What leaves the tokens as they are
    **_each("use_cache cache_config max_cache_len prefill_chunk_size", _CACHE),
    **_each("output_attentions output_hidden_states output_scores output_logits", _MORE),
    "bos_token_id": Key("harmless", "begins what has no prompt"),
    **_each("use_mtp num_assistant_tokens num_assistant_tokens_schedule assistant_confidence_threshold", _DRAFT),
    **_each("prompt_lookup_num_tokens max_matching_ngram_size assistant_early_exit speculation_type", _DRAFT),
    **_each("assistant_lookbehind target_lookbehind", _DRAFT),
    **_each("compile_config disable_compile", Key("harmless", "how the forward pass is compiled")),
    "transformers_version": Key("harmless", "says who wrote the file"),
}
"""Fields of transformers' GenerationConfig."""

_TEXT = Key("harmless", "of the text, and the trainer reads tokens")
_LOGPROBS = Key("breaks", "the trainer asks for the log-probs that it needs", (None, False))

VLLM: Mapping[str, Key] = {
    **PLACES,
    "max_tokens": _LENGTH,
    "n": _GROUP,
    "stop_token_ids": _STOP,
    "stop": _STOP,
    "ignore_eos": replace(_STOP, off=(None, False)),
    "min_tokens": Key("distribution", "no end token before this length", (None, 0)),
    "presence_penalty": Key("distribution", "disfavours tokens that were drawn", (None, 0)),
    "frequency_penalty": Key("distribution", "disfavours tokens that were drawn often", (None, 0)),
    "logit_bias": Key("distribution", "favours tokens", (None, {})),
    "allowed_token_ids": Key("distribution", "forbids all other tokens"),
    "bad_words": Key("distribution", "forbids words", (None, [])),
    "structured_outputs": Key("distribution", "forbids what breaks a grammar"),
    "thinking_token_budget": Key("distribution", "forces the end of a thought"),
    "repetition_detection": Key("distribution", "cuts repetitive completions off"),
    "seed": Key("distribution", "draws the same numbers in every generation"),
    "extra_args": Key("distribution", "reaches plug-ins, which may change anything"),
    "logprobs": _LOGPROBS,
    **_each("flat_logprobs logprob_token_ids", _LOGPROBS),
    "trace_decode_token_ids": Key("breaks", "nothing would be drawn"),
    **_each("prompt_logprobs prompt_logprob_token_ids prompt_logprob_start", _MORE),
    **_each("detokenize skip_special_tokens spaces_between_special_tokens include_stop_str_in_output", _TEXT),
    **_each("output_kind stream_interval skip_clone output_text_buffer_length", _TEXT),
    "skip_reading_prefix_cache": _CACHE,
    "routed_experts_prompt_start": _MORE,
}
"""Fields of vLLM's SamplingParams."""

COUNTERPARTS = {"min_new_tokens": "min_tokens", "sequence_bias": "logit_bias", "bad_words_ids": "bad_words"}
"""transformers' name -> vLLM's."""
