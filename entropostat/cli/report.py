"""``entropostat report``: runs as one HTML file with charts, recipes and completions; --watch serves it live."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from entropostat.atomic import write_whole
from entropostat.report.page import page
from entropostat.report.payload import payload, to_json
from entropostat.report.record import records
from entropostat.report.serve import HOST, Source, server
from entropostat.visible import complain, visible


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder, or a log of another trainer")
    parser.add_argument("--out", metavar="FILE", help="default: report.html beside the runs")
    parser.add_argument("--watch", action="store_true", help="serve it on 127.0.0.1 and follow the runs")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="of --watch; default: a free one")


def run(args: argparse.Namespace) -> int:
    return report(args.runs, args.out, args.watch, args.port)


def report(runs: list[str], out: str | None, watch: bool, port: int) -> int:
    """Exit code 0; 1 where the file cannot be written or the port is taken; 2 where a path holds no run."""
    paths = [Path(path) for path in runs]
    names = " · ".join(visible(Path(path).absolute().name) for path in runs[:3])
    title = names + (f" and {len(runs) - 3} more" if runs[3:] else "")

    told: set[str] = set()

    def data() -> str:
        shown = records(paths)
        for line in (line for record in shown for line in record.damage):
            if line not in told:
                told.add(line)
                complain("report", line)
        return to_json(payload(shown))

    try:
        if watch:
            return _watch(Source(paths, data), title, port)
        text = page(title, data())
    except (OSError, ValueError) as error:
        complain("report", error)
        return 2
    try:
        file = _written(text, paths, out)
    except OSError as error:
        complain("report", f"{out or beside(paths)}: {error.strerror}; name another file by --out")
        return 1
    print(visible(f"report: {file} ({len(text.encode()) / 1e6:.2f} MB)"))
    return 0


def _written(text: str, paths: list[Path], out: str | None) -> Path:
    """A file that the user names is written as it is; the one beside the runs takes the place of a link of that name and does
    not follow it."""
    if out is not None:
        Path(out).write_text(text, encoding="utf-8")
        return Path(out)
    write_whole(beside(paths), text)
    return beside(paths)


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
        complain("report", f"port {port}: {error.strerror}; --port 0 takes a free one")
        return 1
    with made:
        print(f"report: http://{HOST}:{made.server_port}/ (Ctrl-C stops it)", flush=True)
        made.serve_forever()
    return 0
