"""Published constants: rewards of length and repetition."""

from __future__ import annotations

from support.paper_constants import Cited, prefixed

REWARDS = {
    "length_cosine": (
        Cited(
            "arXiv:2502.03373",
            "eddycmu/demystify-long-cot @e90cf9b section_4.2__active_scaling_of_cot_length__cosine.sh; its reward is this one alone",
            prefixed(
                "length_cosine",
                right_short=2.0,
                right_long=1.0,
                wrong_short=-10.0,
                wrong_long=0.0,
                exceed=-10.0,
                combine="replace",
            ),
        ),
    ),
    "overlong": (
        Cited(
            "arXiv:2503.14476",
            "verl-project/verl-recipe @48ea0a7 dapo/run_dapo_qwen2.5_32b.sh: overlong_buffer_len, overlong_penalty_factor",
            prefixed("overlong", buffer=4096, coef=1.0),
        ),
    ),
    "repetition": (
        Cited(
            "arXiv:2502.03373",
            "huggingface/open-r1 @078c5e1 configs.py: repetition_n_grams, repetition_max_penalty; TRL's defaults are the same",
            prefixed("repetition", gram=3, coef=1.0),
        ),
    ),
}
