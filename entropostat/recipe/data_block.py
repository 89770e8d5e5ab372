"""The block ``data:`` of a recipe: prompts, which of them are trained on, and in which order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from entropostat.recipe.block import Block

LARGEST_SHARE = 10**6
Share = Annotated[float, Field(json_schema_extra={"exclusiveMinimum": 0, "maximum": LARGEST_SHARE})]
"""Of one source, in proportion to those of the others. Its range is checked with the name of its source (mixing.py)."""


def _several(source: object) -> str:
    return "<shares>" if isinstance(source, dict) else "<name>"


class Stage(Block):
    """A stretch of training on one source, or on several in given proportions."""

    source: Annotated[
        Annotated[str, Tag("<name>")] | Annotated[dict[str, Share], Tag("<shares>")], Discriminator(_several)
    ] = Field(description="name of a source in data.sources, or several with their shares: {gsm8k: 2, math: 1}")
    steps: int = Field(ge=1, description="optimizer steps; edges are rounded to the nearest generation")


class Data(Block):
    """Prompts, where they come from and in which order."""

    sources: dict[str, dict[str, Any]] = Field(description="name -> {kind: options}")
    held_out: float = Field(0.2, ge=0, lt=1, description="share of prompts kept for evaluation, by a hash of the text")
    system: str | None = Field(
        None,
        description="system prompt; makes prompts conversations, in the model's chat template. The empty text does so without one; "
        "null: prompts as the source has them",
    )
    duplicates: Literal["drop", "keep"] = Field(
        "drop",
        description="rows of a source whose prompt it has already; where their answers contradict each other, all of them",
    )
    missing_answer: Literal["drop", "keep"] = Field("keep", description="rows whose answer is null or blank")
    max_prompt_tokens: int | None = Field(
        None,
        ge=1,
        description="longer prompts are dropped, counted with chat template and system prompt; null: none is",
    )
    weights: dict[str, Share] | None = Field(
        None,
        description="source -> its share of the prompts: {gsm8k: 2, math: 1}; null: all shuffled. A curriculum has its own",
    )
    curriculum: list[Stage] | None = Field(None, description="stages in order; null: all sources together")
    unread: float | None = Field(
        0.02,
        ge=0,
        le=1,
        description="share of a source's reference answers that a verifier may fail to take for right before the run is refused; "
        "1: it is only told, null: not looked at",
    )
