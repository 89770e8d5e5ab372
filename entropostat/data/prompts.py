"""The cell of a prompt, in the shapes that sets have, becomes a text or a conversation of role and content.

Shapes: a text; messages of role and content, or of from and value (sharegpt); contents in parts of text; any of these as JSON
in a text; one turn in a list of turns; the text 'Human: ... Assistant: ...'. Anything else is refused in one line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from entropostat.data.cells import check_text, listed, plain, shown
from entropostat.data.example import DataError, Message, Prompt
from entropostat.data.json_text import held
from entropostat.data.notes import Notes
from entropostat.rl.spelling import unknown
from entropostat.visible import visible

ROLES = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "ai"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "function_response", "tool_response"), "tool"),
}
"""What sets call who speaks, and what chat templates call them."""
SPEAKER, SAID = ("role", "from"), ("content", "value")
TEXT = ("text", "input_text")
"""Types of a part that is read."""
CALLS = ("tool_calls", "function_call")
WHOLE = ("messages", "conversation", "dialog", "chat", "chosen", "rejected", "turns")
"""Part of the name of a column that holds a dialogue to its end, and not what is asked in it."""

TURN = re.compile(r"(?:\A|\n\n)(Human|Assistant):")
PRINTED = re.compile(r"\s*\[\s*(?:array\(\[)?\{\s*'(?:role|from|content|value)'\s*:")
"""How a list of messages looks where a table of them was written as text."""
LOST = "lost the assistant's last turn, which is what is trained: the prompt is what comes before it"
SPLIT = "are one text of 'Human:' and 'Assistant:' turns, and were read as conversations"
WANTED = "a prompt is a text or a list of messages with role and content, both text"


def is_message(given: object) -> bool:
    return isinstance(given, Mapping) and any(key in given for key in SPEAKER) and any(key in given for key in SAID)


def _first(turn: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """In a table a row may have the keys of all rows, most of them null."""
    return next((turn[key] for key in keys if turn.get(key) is not None), None)


def is_conversation(given: object) -> bool:
    return isinstance(given, list) and bool(given) and all(map(is_message, given))


def unfolded(value: Any) -> Any:
    """The conversation that a text holds as JSON, that a list of one turn holds, or that one message is; else the same."""
    if isinstance(value, str):
        found = held(value) if '"role"' in value or '"from"' in value else None
        return unfolded(found) if found is not None and is_conversation(unfolded(found)) else value
    if is_message(value):
        return [value]
    if isinstance(value, list) and len(value) == 1 and (isinstance(value[0], str) or is_conversation(value[0])):
        return value[0]
    return value


def prompt(value: Any, name: str, where: str, notes: Notes) -> Prompt:
    """``name`` is the column's. Raises DataError."""
    value = unfolded(value)
    if isinstance(value, str):
        if PRINTED.match(value):
            raise DataError(
                f"{where}: {name} is {shown(value)}, messages as Python prints them; save the rows as jsonl or parquet"
            )
        turns = _hh(value)
        if turns is None:
            return asked(value, name, where)
        notes.add(SPLIT)
        return _conversation(turns, name, where, notes, whole=True)
    if is_conversation(value):
        whole = value[0].get("from") is not None or any(part in name.lower() for part in WHOLE)
        return _conversation(value, name, where, notes, whole)
    raise DataError(f"{where}: {name} is {shown(value)}; {_instead(value, name)}")


def asked(text: str, name: str, where: str) -> str:
    """A prompt of text that is one."""
    if not text.strip():
        raise DataError(f"{where}: {name} is empty; leave such rows out")
    return check_text(text, name, where)


def last_said(turns: list[Any], name: str, where: str) -> str:
    """What the assistant says at the end of a conversation."""
    last = turns[-1]
    role, content = _role(last, f"{name}.{len(turns) - 1}", where), _content(last, name, where)
    if role != "assistant":
        raise DataError(f"{where}: {name} ends with {role}, so that it holds no answer; name the column of the answer")
    return content


def _conversation(turns: list[Any], name: str, where: str, notes: Notes, whole: bool) -> list[Message]:
    roles = [_role(turn, f"{name}.{index}", where) for index, turn in enumerate(turns)]
    if roles[-1] == "assistant" and len(turns) > 1 and whole:
        turns, roles = turns[:-1], roles[:-1]
        notes.add(LOST)
    if "user" not in roles:
        raise DataError(f"{where}: a conversational prompt has no message with the role 'user'; add one")
    if roles[-1] not in ("user", "tool"):
        raise DataError(
            f"{where}: {name} ends with {roles[-1]}, and the policy answers a user; leave the last turn out, or name the whole "
            "dialogue 'messages', which loses it"
        )
    said = [
        {"role": role, "content": check_text(_content(turn, f"{name}.{index}", where), name, where)}
        for index, (role, turn) in enumerate(zip(roles, turns, strict=True))
    ]
    if not said[-1]["content"].strip():
        raise DataError(f"{where}: the last turn of {name} is empty; leave such rows out")
    return list(said)


def _role(turn: Mapping[str, Any], at: str, where: str) -> str:
    given = _first(turn, SPEAKER)
    role = ROLES.get(given.lower()) if isinstance(given, str) else None
    if role is None:
        known = unknown("role", given[:60], ROLES) if isinstance(given, str) else f"the role is {shown(given)}, no text"
        raise DataError(f"{where}: {at}: {visible(known)}; {WANTED}")
    return role


def _content(turn: Mapping[str, Any], at: str, where: str) -> str:
    if any(turn.get(key) for key in CALLS):
        raise DataError(f"{where}: {at} calls a tool, which prompts cannot carry; write the call into its content")
    content = _first(turn, SAID)
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) and content else [content]
    return "".join(_part(part, at, where) for part in parts)


def _part(part: Any, at: str, where: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type", "text") if isinstance(part, Mapping) else None
    if kind in TEXT and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind is None or kind in TEXT:
        raise DataError(f"{where}: {at} is {shown(part)}; {WANTED}")
    raise DataError(f"{where}: {at} has a part of type {shown(kind)}; prompts are text: leave such rows out")


def _hh(text: str) -> list[dict[str, str]] | None:
    """The turns of a text such as '\\n\\nHuman: ... \\n\\nAssistant: ...'; an assistant that has not spoken yet is none."""
    stripped = text.strip()
    if not stripped.startswith("Human:") or "\n\nAssistant:" not in stripped:
        return None
    _, *parts = TURN.split(stripped)
    turns = [
        {"role": role.lower(), "content": said.strip()} for role, said in zip(parts[::2], parts[1::2], strict=True)
    ]
    return turns if turns[-1]["content"] else turns[:-1]


def _instead(value: Any, name: str) -> str:
    """What to do about a cell that is no prompt."""
    if isinstance(value, Mapping) and value:
        return f"name one of its own: {listed(f'{name}.{below}' for below in value)}"
    if (
        isinstance(value, list)
        and len(value) > 1
        and all(isinstance(one, str) or is_conversation(one) for one in value)
    ):
        return f"these are {len(value)} turns or texts, of which the policy answers one: name it, such as {name}.0"
    if value is None:
        return "leave such rows out"
    return WANTED if plain_or_none(value) is None else f"{WANTED}: put it into a template, such as '{{{name}}}'"


def plain_or_none(value: Any) -> str | None:
    try:
        return plain(value)
    except ValueError:
        return None
