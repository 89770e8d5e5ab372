"""The final policy on the Hub: once, when it lies on the disk. What goes wrong there is one line, and costs nothing."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from entropostat.secrets import redacted
from entropostat.visible import visible


def push(final: Path, args: Any) -> str | None:
    """Uploads the files of ``final``, and no others. The line that was told where it failed. On the main process."""
    name = args.hub_model_id or final.parent.name
    try:
        api = HfApi(token=args.hub_token)
        repo = api.create_repo(name, private=args.hub_private_repo, exist_ok=True).repo_id
        if args.hub_revision:
            api.create_branch(repo, branch=args.hub_revision, exist_ok=True)
        api.upload_folder(
            repo_id=repo, folder_path=str(final), commit_message="The final policy", revision=args.hub_revision
        )
    except Exception as error:  # noqa: BLE001  (of a network, a server, or a right that is missing)
        said = " ".join(str(error).split()) or type(error).__name__
        line = f"final/ was not uploaded: {said}. It is whole in {final}; by hand: {by_hand(final, name, args)}"
        print(visible(redacted(line)), file=sys.stderr, flush=True)
        return line
    print(visible(f"uploaded to https://huggingface.co/{repo}"), file=sys.stderr, flush=True)
    return None


def by_hand(final: Path, name: str, args: Any) -> str:
    words = ["hf", "upload", name, str(final), "."]
    words += ["--private"] if args.hub_private_repo else []
    return shlex.join([*words, *(["--revision", args.hub_revision] if args.hub_revision else [])])
