"""The block ``sampler:`` of a recipe: how completions are drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from entropostat.recipe.block import Block


class Mirostat(Block):
    """Holds the surprise of completions at ``tau`` bits a token: version 2 of arXiv:2007.14966."""

    tau: float = Field(3.0, gt=0, le=1e3, description="bits a token that the text is held at")
    eta: float = Field(0.1, gt=0, le=1e3, description="how far the threshold follows each token's surprise")
    surprise: Literal["whole", "kept"] = Field(
        "whole", description="of the whole distribution (paper), or of the kept tokens, renormalised (llama.cpp)"
    )


class Sampler(Block):
    """How rollouts are sampled."""

    temperature: float = Field(
        1.0, ge=1e-3, le=1e3, description="logits are divided by it, in generation and in the loss"
    )
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus sampling; below 1 it biases the ratio")
    top_k: int = Field(0, ge=0, description="0: off; otherwise it biases the ratio")
    min_p: float | None = Field(None, ge=0, le=1, description="null: off; otherwise it biases the ratio")
    typical_p: float = Field(
        1.0, gt=0, le=1, description="locally typical sampling; below 1 it biases the ratio, and vLLM has none"
    )
    eta_cutoff: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="drops tokens below an entropy-dependent bar; above 0 it biases the ratio, and vLLM has none",
    )
    top_h: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the entropy that the kept tokens may have; it biases the ratio, and vLLM has none",
    )
    mirostat: Mirostat | None = Field(None, description="null: off; otherwise it biases the ratio, and vLLM has none")
    repetition_penalty: float = Field(1.0, ge=1e-3, le=1e3, description="1: off; otherwise it biases the ratio")
    stop: list[Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1)]] = Field(
        [],
        description="tokens, by id or by a text that is one token, that end a completion besides the model's own end tokens",
    )

    @property
    def processed(self) -> list[str]:
        """Keys that act and that only transformers' generate can apply."""
        acts = {
            "typical_p": self.typical_p < 1,
            "eta_cutoff": self.eta_cutoff > 0,
            "top_h": self.top_h is not None,
            "mirostat": self.mirostat is not None,
        }
        return [key for key, on in acts.items() if on]
