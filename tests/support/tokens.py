"""Made-up secrets of every kind, none of which opens anything."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

LETTERS, DIGITS = string.ascii_letters, string.digits
Maker = Callable[[random.Random], tuple[str, str]]
"""-> (text as it would be written somewhere, the part of it that nobody may see)."""


def some(dice: random.Random, count: int, of: str = LETTERS + DIGITS) -> str:
    text = "".join(dice.choices(of, k=count - 4))
    return text + dice.choice(string.ascii_lowercase) + dice.choice(string.ascii_uppercase) + dice.choice(DIGITS) * 2


def plain(prefix: str, count: int, of: str = LETTERS + DIGITS) -> Maker:
    def make(dice: random.Random) -> tuple[str, str]:
        token = prefix + some(dice, count, of)
        return token, token

    return make


def around(before: str, count: int, after: str = "") -> Maker:
    def make(dice: random.Random) -> tuple[str, str]:
        token = some(dice, count)
        return before + token + after, token

    return make


def hexadecimal(dice: random.Random) -> tuple[str, str]:
    token = "".join(dice.choices("0123456789abcdef", k=40))
    return token, token


def aws(dice: random.Random) -> tuple[str, str]:
    token = "AKIA" + "".join(dice.choices(string.ascii_uppercase + DIGITS, k=16))
    return token, token


def pem(dice: random.Random) -> tuple[str, str]:
    token = some(dice, 64)
    return f"-----BEGIN RSA PRIVATE KEY-----\n{token}\n-----END RSA PRIVATE KEY-----", token


URLSAFE = LETTERS + DIGITS + "-_"
KINDS: dict[str, Maker] = {
    "hugging face": plain("hf_", 34),
    "hugging face organisation": plain("api_org_", 34),
    "openai": plain("sk-", 48),
    "openai project": plain("sk-proj-", 40),
    "anthropic": plain("sk-ant-api03-", 60),
    "stripe": plain("sk_live_", 24),
    "github": plain("ghp_", 36),
    "github fine-grained": plain("github_pat_", 60),
    "gitlab": plain("glpat-", 20),
    "slack": plain("xoxb-", 30),
    "google": plain("AIza", 35),
    "aws": aws,
    "wandb": hexadecimal,
    "wandb long": plain("", 86),
    "wandb versioned": plain("wandb_v1_", 77, URLSAFE),
    "jwt": plain("eyJhbGciOiJIUzI1NiJ9.", 40),
    "pem": pem,
    "password in an address": around("https://user:", 14, "@host/data.jsonl"),
    "database": around("postgresql://me:", 9, "@db:5432/x"),
    "name in an address": around("https://", 24, "@host/data.jsonl"),
    "query": around("https://host/data.jsonl?x=1&access_token=", 12, "&y=2"),
    "signed address": around("https://bucket.host/data?X-Amz-Signature=", 64),
    "exported": around("export WANDB_API_KEY=", 12),
    "exported in quotes": around('export MY_PASSWORD="', 12, '" OTHER=1'),
    "misspelt export": around("export HF_TOKNE=", 12),
    "private key name": around("MODAL_KEY=", 20),
    "option": around("login --password ", 10),
    "option with =": around("--api-key=", 20),
    "header": around("curl -H 'Authorization: Bearer ", 20, "'"),
    "basic header": around("authorization: Basic ", 20),
    "key header": around("X-Api-Key: ", 24),
    "login": lambda dice: ((token := hexadecimal(dice)) and f"wandb login {token[0]}", token[0]),
}


def leaks(secret: str, text: str, piece: int = 10) -> bool:
    """Is any part of it worth the name in there?"""
    size = min(piece, len(secret))
    parts = {secret[at : at + size] for at in range(len(secret) - size + 1)}
    return any(part in text for part in parts)


def misspelt(name: str, dice: random.Random) -> str:
    """With one letter missing, doubled, wrong or swapped."""
    at = dice.randrange(1, len(name) - 1)
    return dice.choice(
        [
            name[:at] + name[at + 1 :],
            name[:at] + name[at] + name[at:],
            name[:at] + dice.choice("qxz") + name[at + 1 :],
            name[: at - 1] + name[at] + name[at - 1] + name[at + 1 :],
        ]
    )
