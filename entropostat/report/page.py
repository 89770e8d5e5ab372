"""The page: template, styles, uPlot and our script in one file, closed to the network by its own policy."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import cache
from html import escape
from importlib.resources import files

SCRIPTS = (
    "uplot.min.js",
    "data.js",
    "lines.js",
    "chart.js",
    "marks.js",
    "heat.js",
    "panels.js",
    "tables.js",
    "completions.js",
    "main.js",
)
STYLES = ("uplot.min.css", "style.css")


def page(title: str, data: str, live: bool = False) -> str:
    """``data``: JSON made by ``to_json``. ``live``: the page asks its server for news, which the policy otherwise forbids."""
    script = "\n".join(asset(name) for name in SCRIPTS)
    style = "\n".join(asset(name) for name in STYLES)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        f"connect-src {chr(39)}{'self' if live else 'none'}{chr(39)}; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "TITLE": escape(title),
        "POLICY": policy,
        "STYLE": style,
        "LIVE": "true" if live else "false",
        "DATA": data,
        "SCRIPT": script,
    }
    head, *rest = asset("page.html").split("{{")
    # In one pass: what is put in is never looked at again.
    return head + "".join(parts[name] + tail for name, _, tail in (piece.partition("}}") for piece in rest))


@cache
def asset(name: str) -> str:
    return files("entropostat.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
