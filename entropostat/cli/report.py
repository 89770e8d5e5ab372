"""``entropostat report``: runs as one HTML file, or live on loopback."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from entropostat.report.page import page
from entropostat.report.payload import payload, to_json
from entropostat.report.record import records
from entropostat.report.serve import HOST, Source, server


def run(runs: list[str], out: str | None, watch: bool, port: int) -> int:
    """Exit code 0; 1 where the file cannot be written or the port is taken; 2 where a path holds no run."""
    paths = [Path(path) for path in runs]
    title = " · ".join(Path(path).absolute().name for path in runs[:3]) + (
        f" and {len(runs) - 3} more" if runs[3:] else ""
    )

    def data() -> str:
        return to_json(payload(records(paths)))

    try:
        if watch:
            return _watch(Source(paths, data), title, port)
        text = page(title, data())
    except (FileNotFoundError, ValueError) as error:
        print(f"entropostat report: {error}", file=sys.stderr)
        return 2
    file = Path(out) if out is not None else beside(paths)
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"entropostat report: {file}: {error.strerror}; name another file by --out", file=sys.stderr)
        return 1
    print(f"report: {file} ({len(text.encode()) / 1e6:.2f} MB)")
    return 0


def beside(paths: list[Path]) -> Path:
    """report.html in the folder of the one run, or in the folder that several have in common."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    common = Path(os.path.commonpath([folder.absolute() for folder in folders]))
    return Path(os.path.relpath(common / "report.html"))


def _watch(source: Source, title: str, port: int) -> int:
    source.data()  # a path without a run is told now, and not in the browser
    try:
        made = server(source, lambda data: page(title, data, live=True), port)
    except OSError as error:
        print(f"entropostat report: port {port}: {error.strerror}; --port 0 takes a free one", file=sys.stderr)
        return 1
    with made:
        print(f"report: http://{HOST}:{made.server_port}/ (Ctrl-C stops it)", flush=True)
        made.serve_forever()
    return 0
