"""A chat template of a source's own. TRL has one for a whole run, so that these prompts become text as they are loaded.

Jinja, in the sandbox in which models' own templates run: it sees the messages and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from entropostat.data.cells import shown
from entropostat.data.example import DataError, Message
from entropostat.regular import content

if TYPE_CHECKING:
    from jinja2 import Template

MOST = 1 << 20
"""Bytes of a template's file."""
TOKENS = ("eos_token", "pad_token", "unk_token")
"""What a template may ask for and only a tokenizer knows. It puts its own first token before any text, which is why ``bos_token`` is
empty here."""


def read(given: str, base: Path | None) -> str:
    """The template itself: ``given``, or the file that it names, in the recipe's folder or the working directory."""
    if "{" in given:
        return given
    tried = [folder / os.path.expanduser(given) for folder in ([base] if base else []) + [Path.cwd()]]
    for file in tried:
        if os.path.isfile(file):
            try:
                return content(file, MOST).decode()
            except (OSError, ValueError) as error:
                raise DataError(f"chat_template: {file} cannot be read: {error}; give a text file") from None
    raise DataError(
        f"chat_template: no file {' or '.join(dict.fromkeys(map(str, tried)))}; name one, or write the template itself"
    )


def rendered(messages: Sequence[Message], template: str) -> str:
    """The text that the policy continues. Raises DataError."""
    made = _compiled(template)
    given = [dict(message) for message in messages]
    try:
        text = made.render(messages=given, tools=None, documents=None, add_generation_prompt=True, bos_token="")
    except Exception as error:  # noqa: BLE001  whatever a template does
        raise DataError(f"chat_template cannot be rendered: {shown(str(error))}; correct it") from None
    if not text.strip():
        raise DataError("chat_template renders nothing; it must loop over `messages`")
    return text


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    from jinja2 import TemplateError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    room = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    room.filters["tojson"] = _json
    room.globals["raise_exception"] = _refuse
    try:
        asked = meta.find_undeclared_variables(room.parse(template))
        made = room.from_string(template)
    except (TemplateError, RecursionError) as error:
        raise DataError(f"chat_template is no Jinja template: {shown(str(error))}; correct it") from None
    if "messages" not in asked:
        raise DataError("chat_template reads no `messages`, so that all prompts are one; loop over them")
    if token := next((token for token in TOKENS if token in asked), None):
        raise DataError(f"chat_template reads {token}, which only the tokenizer knows; write that token itself")
    return made


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
