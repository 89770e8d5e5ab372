"""Worker: a run whose references are not read; every rank writes how it ended, and whether it was the one that looked.

python reference_ranks.py FOLDER        (under accelerate for several processes)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from entropostat.faults import SetupError
from entropostat.recipe import load
from entropostat.trainers import references, run


def main() -> None:
    folder, rank = Path(sys.argv[1]), os.environ.get("RANK", "0")
    looked = []

    def examine(*args: object) -> object:
        looked.append(1)
        return plainly(*args)

    plainly = references.examine
    references.examine = examine
    try:
        run.run_recipe(load(str(folder / "recipe.yaml"), []))
        said = "no fault"
    except SetupError as fault:
        said = str(fault)
    (folder / f"{rank}.txt").write_text(f"{len(looked)} {said}")


if __name__ == "__main__":
    main()
