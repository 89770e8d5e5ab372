"""How a right answer looks to a verifier: the reference in the forms that prompts ask for."""

from __future__ import annotations

import re

from entropostat.data.example import Example
from entropostat.reward.answers import Thinking, boxed, marked, tagged
from entropostat.reward.pattern_text import spelled

BOX, MARK, TAG, PLAIN = "\\boxed{@}", "#### @", "<answer>@</answer>", "@"
USUAL = (BOX, MARK, TAG, PLAIN)
"""Tried where the prompt asks for none of them."""
ASKS = {
    BOX: re.compile(r"\\(?:boxed|fbox)"),
    # A line of Markdown may begin with the mark, and then is a heading.
    MARK: re.compile(
        r"####\s*(?:[<\[{(\"'`$]|-?\d|\.\.\.|$|x\b|(?:your |the )?(?:final )?(?:answer|number|result)\b)", re.IGNORECASE
    ),
    TAG: re.compile(r"<answer>", re.IGNORECASE),
}
SIGNS = {BOX: ("boxed", "fbox"), MARK: ("##",), TAG: ("answer>",)}
"""What a pattern that reads the form has in it."""
THOUGHT = "<think>\n</think>\n"


def asked(example: Example) -> tuple[str, ...]:
    """The forms that the prompt names, in its system message or in any other; none of most base models' prompts."""
    prompt = example.prompt
    text = prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)
    return tuple(form for form, sign in ASKS.items() if sign.search(text))


def alone(answer: str) -> str:
    """The answer in a reference that may be a whole solution: in its last box, else behind its mark, else all of it."""
    answer = tagged(answer)
    return boxed(answer) or marked(answer) or answer.strip()


def worked(example: Example, answer: str, thinking: Thinking = "optional", pattern: str | None = None) -> list[str]:
    """``answer`` as completions, of which one should be right: in the forms that the prompt names, else in all usual ones.

    With a ``pattern``, where the completion's answer is looked for, also as the pattern spells it, unless the prompt names a form
    that the pattern knows nothing of. Empty where nobody can say how the pattern wants it.
    """
    named = asked(example)
    forms = named or USUAL
    if {BOX, TAG} <= set(named):
        forms = (TAG.replace("@", BOX), *named)
    texts = [form.replace("@", answer) for form in forms]
    if pattern is not None and (not named or any(sign in pattern for form in named for sign in SIGNS[form])):
        own = spelled(pattern, answer)
        if own is None:
            return []
        texts.insert(0, own)
    return [THOUGHT + text if thinking == "required" else text for text in dict.fromkeys(texts)]
