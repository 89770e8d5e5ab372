"""Where the answer of a completion stands: after the thinking, in a box, behind a mark."""

from __future__ import annotations

from typing import Literal

from entropostat.data.boxes import boxed, marked, without_box

__all__ = ["THINKING", "Thinking", "boxed", "marked", "spoken", "without_box"]

Thinking = Literal["optional", "required", "counts"]
THINKING = (
    "optional: an answer inside <think> does not count, whether or not the block is closed; required: only what follows "
    "</think> counts (for chat templates that open the block in the prompt); counts: an answer inside counts too"
)


def spoken(text: str, thinking: Thinking) -> str:
    """The part of ``text`` in which an answer counts; empty where there is none."""
    if thinking == "counts":
        return text
    _, tag, after = text.rpartition("</think>")
    if thinking == "required" and not tag:
        return ""
    return after.partition("<think>")[0]


def tagged(text: str) -> str:
    """What the last ``<answer>`` block holds, where one is closed; else all of the text."""
    before, end, _ = text.rpartition("</answer>")
    _, tag, inside = before.rpartition("<answer>")
    return inside if end and tag and inside.strip() else text
