"""Secrets, told by their form or by the name of what holds them: none is printed, and none is taken into a recipe.

A false alarm on a line that is only shown costs a word. In a recipe it would cost a run, so that references (``$HF_TOKEN``, a
path, ``$(cat key)``) and hashes of commits are none.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from entropostat.secret_names import names_secret, resembles_secret, words

HIDDEN = "***"
LONG = 4096
"""Characters of a secret, at most: no pattern looks further, so that all are linear."""
VALUE = rf"""(?P<secret>"[^"\n]{{1,{LONG}}}"|'[^'\n]{{1,{LONG}}}'|[^\s;&|'"]{{1,{LONG}}})"""
REFERENCE = re.compile(r"""["']?(?:[$`/~<]|\.{1,2}/|\*\*\*|\.\.\.)|.*\$[({\w]""", re.DOTALL)
HARMLESS = re.compile(r"(?:true|false|yes|no|on|off|none|null|auto|all|\d{1,5})?", re.IGNORECASE)


def mixed(text: str) -> bool:
    """Digits and letters in no order that a name has."""
    if len(text) < 16 or not re.search(r"\d", text) or not re.search(r"[A-Za-z]", text) or re.search(r"[\s/]", text):
        return False
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts) >= 3.0


def literal(value: str) -> bool:
    """The thing itself, and not where it lies."""
    return not REFERENCE.match(value) and not HARMLESS.fullmatch(value.strip("\"'"))


@dataclass(frozen=True)
class Form:
    what: str
    """In a sentence: 'holds what looks like ...'."""
    pattern: re.Pattern[str]
    """Its group ``secret`` is what must not be seen."""
    sure: Callable[[re.Match[str]], bool] = lambda match: True
    everywhere: bool = True
    """False for what may well stand in a text for the policy."""

    def matches(self, text: str) -> bool:
        return any(self.sure(match) for match in self.pattern.finditer(text))

    def hidden(self, text: str) -> str:
        kept, end = [], 0
        for match in self.pattern.finditer(text):
            if match.start("secret") >= end and self.sure(match):
                kept += [text[end : match.start("secret")], HIDDEN]
                end = match.end("secret")
        return "".join([*kept, text[end:]])


def _prefixed(what: str, prefix: str, rest: str, sure: Callable[[re.Match[str]], bool] = lambda match: True) -> Form:
    return Form(what, re.compile(rf"(?<![A-Za-z0-9])(?P<secret>(?:{prefix}){rest})"), sure)


def _unbroken(match: re.Match[str]) -> bool:
    """One long word of it, unlike a name of several."""
    return re.search(r"[A-Za-z0-9]{16}", match["secret"][3:]) is not None


def _hub(match: re.Match[str]) -> bool:
    rest = match["secret"].partition("_")[2]
    kinds = [re.search(kind, rest) is not None for kind in ("[a-z]", "[A-Z]", r"\d")]
    return len(rest) >= 20 or all(kinds) or rest.isdigit()


def _named(match: re.Match[str]) -> bool:
    name, value = match["name"], match["secret"].strip("\"'")
    if not literal(match["secret"]):
        return False
    if words(name)[-1:] in (["key"], ["pass"]) and not names_secret(name):
        return name.isupper() or mixed(value)
    return names_secret(name) or resembles_secret(name)


def _asked(match: re.Match[str]) -> bool:
    """In the query of an address."""
    plain = not re.search(r"(?:key|sig|signature|auth)$", match["name"], re.IGNORECASE) or names_secret(match["name"])
    return literal(match["secret"]) if plain else mixed(match["secret"])


def _random(match: re.Match[str]) -> bool:
    text = match["secret"]
    kinds = [re.search(kind, text) is not None for kind in ("[a-z]", "[A-Z]", r"\d", r"[A-Za-z0-9]{20}")]
    return all(kinds) and mixed(text)


FORMS: tuple[Form, ...] = (
    Form(
        "a private key",
        re.compile(r"(?P<secret>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY.*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z))", re.DOTALL),
    ),
    _prefixed("a Hugging Face token", "hf_", "[A-Za-z0-9]{10,300}", _hub),
    _prefixed("a Hugging Face token", "api_org_", "[A-Za-z0-9]{20,300}"),
    _prefixed("a wandb key", "wandb_v1_", r"[\w-]{20,300}"),
    Form("a wandb key", re.compile(r"wandb\b[^\n]{0,200}?(?<![\w@/-])(?P<secret>(?:[\w-]{1,40}-)?[0-9a-f]{40}|[\w-]{86})(?![\w-])")),
    Form("a wandb key", re.compile(r"(?<![\w-])-{0,2}(?P<secret>\w[\w-]{85})(?![\w-])", re.ASCII), _random),
    _prefixed("a GitHub token", "gh[pousr]_", "[A-Za-z0-9]{16,300}"),
    _prefixed("a GitHub token", "github_pat_", r"\w{16,300}"),
    _prefixed("a GitLab token", "glpat-", r"[\w-]{16,300}"),
    _prefixed("an API key", "sk-", r"[\w-]{16,300}", _unbroken),
    _prefixed("an API key", "(?:[sr]k_(?:live|test)_|gsk_|r8_|npm_|xai-|nvapi-|pypi-)", r"[\w-]{16,300}", _unbroken),
    _prefixed("an AWS key", "A(?:KIA|SIA|ROA|IDA|GPA|NPA)", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),
    _prefixed("a Google key", "AIza", r"[\w-]{30,60}"),
    _prefixed("a Google token", r"ya29\.", r"[\w.-]{16,2000}"),
    _prefixed("a Slack token", "xox[a-z]-", r"[\w-]{10,300}"),
    Form(
        "a JSON web token",
        re.compile(rf"(?<![A-Za-z0-9])(?P<secret>eyJ[\w-]{{12,1000}}(?:\.[\w-]{{0,{LONG}}}){{0,4}})"),
    ),
    Form(
        "a password in an address",
        re.compile(rf"[A-Za-z][\w+.-]{{1,20}}:/{{1,2}}(?P<secret>[^\s/@:'\"]{{0,200}}:[^\s/@'\"]{{1,{LONG}}})@"),
        lambda match: literal(match["secret"].partition(":")[2]),
    ),
    Form(
        "a token in an address",
        re.compile(r"[A-Za-z][\w+.-]{1,20}:/{1,2}(?P<secret>[^\s/@:'\"]{16,300})@"),
        lambda match: mixed(match["secret"]),
    ),
    Form(
        "a token in an address",
        re.compile(
            r"[?&](?P<name>[\w.-]{0,40}?(?:token|key|sig|signature|secret|passwo?r?d|auth|credential))=(?P<secret>[^&\s'\"#]{4,4096})",
            re.IGNORECASE,
        ),
        _asked,
    ),
    Form(
        "an authorization header",
        re.compile(rf"authorization[\"']?\s{{0,9}}[:=]\s{{0,9}}[\"']?(?:[A-Za-z]{{1,20}}\s{{1,9}})?{VALUE}", re.IGNORECASE),
        lambda match: literal(match["secret"]),
        everywhere=False,
    ),
    Form(
        "an authorization header",
        re.compile(rf"(?<!\w)(?:x-)?(?:api-key|auth-token|bearer)\s{{0,9}}[: ]\s{{0,9}}{VALUE}", re.IGNORECASE),
        lambda match: mixed(match["secret"].strip("\"'")),
    ),
    Form("a secret", re.compile(rf"(?<!\w)(?P<name>[A-Za-z_][\w-]{{0,60}})=(?!=)(?={VALUE})"), _named, everywhere=False),
    Form("a secret", re.compile(rf"(?<![\w-])--(?P<name>[A-Za-z][\w-]{{0,60}})\s{{1,9}}(?={VALUE})"), _named, everywhere=False),
    Form(
        "a secret",
        re.compile(rf"""["'](?P<name>[\w-]{{1,60}})["']\s{{0,9}}:\s{{0,9}}(?P<secret>"[^"\n]{{1,{LONG}}}"|'[^'\n]{{1,{LONG}}}')"""),
        _named,
        everywhere=False,
    ),
)  # fmt: skip
HEX = re.compile(r"(?<![\w/@-])(?:[\w-]{1,40}-)?[0-9a-f]{40}(?![\w-])")
"""A wandb key, or the hash of a commit: only what is around it tells."""


def redacted(text: str, *, hashes: bool = False) -> str:
    """``text`` with ``***`` in the place of every secret; with ``hashes``, of what may be the hash of a commit, too."""
    for form in FORMS:
        text = form.hidden(text)
    return HEX.sub(HIDDEN, text) if hashes else text


def secret_in(text: str, *, prose: bool = False) -> str | None:
    """What a text holds that is a secret by its form, or None. ``prose``: a text that is written for the policy."""
    return next((form.what for form in FORMS if (form.everywhere or not prose) and form.matches(text)), None)


def without_secrets(value: Any) -> Any:
    """A plain value that may be shown."""
    if isinstance(value, dict):
        return {
            redacted(str(key), hashes=True): HIDDEN if value_of_secret(str(key), inner) else without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        shown = [without_secrets(inner) for inner in value]
        return tuple(shown) if isinstance(value, tuple) else shown
    return redacted(value, hashes=True) if isinstance(value, str) else value


def value_of_secret(key: str, value: Any) -> bool:
    """Is this the value of a secret, by the name of its key? A name that only resembles one must hold text or a long number."""
    if value is None:
        return False
    if names_secret(key):
        return True
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    text = str(value)
    if words(key)[-1:] in (["key"], ["auth"], ["login"]):
        return mixed(text)
    return resembles_secret(key) and literal(text)
