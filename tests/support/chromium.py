"""Debian's Chromium, headless, driven by selenium. It reaches nothing but files and loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("chromium", "chromium-driver")
NEEDED = ("chromium", "chromedriver")
# Without the background-networking flags it looks for Google's hosts at every start.
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


def missing() -> str | None:
    """Why no Chromium can be started here; None where one can. Installs Debian's packages where that is possible."""
    if all(shutil.which(name) for name in NEEDED):
        return None
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return "it is not installed, and it takes root and apt-get to install it"
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    failure = ""
    for _ in range(10):  # another worker may hold apt's lock, for as long as it installs Slurm
        for words in (["apt-get", "update", "-qq"], install):
            done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=400)
            if done.returncode:
                failure = f"{' '.join(words[:2])} failed: {done.stderr.strip().splitlines()[-1:]}"
                break
        else:
            return next(
                (f"{name} is missing after the installation" for name in NEEDED if not shutil.which(name)), None
            )
        if "lock" not in failure:
            break
        time.sleep(10)
    return failure


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (*FLAGS, f"--user-data-dir={Path(folder) / 'profile'}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()
