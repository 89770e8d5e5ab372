"""trackio's own dashboard, for those who stay with it: it opens, and it groups our metrics."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.browser import DESKTOP, PHONE, Browser

LOG = """
import trackio
trackio.init(project="trial", name="held")
for step in range(1, 31):
    trackio.log({"train/entropy": 1 / step, "train/control/penalties.kl_ref.coef/output": 0.1, "train/global_step": step}, step=step)
trackio.finish()
"""


@pytest.mark.slow
def test_chromium_opens_trackios_dashboard_of_a_run(browser: Browser, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "TRACKIO_DIR": str(tmp_path), "HF_HUB_OFFLINE": "1", "GRADIO_SERVER_PORT": str(port)}
    env |= {"GRADIO_ANALYTICS_ENABLED": "False"}
    subprocess.run([sys.executable, "-c", LOG], env=env, check=True, capture_output=True, timeout=120)
    words = [str(Path(sys.executable).with_name("trackio")), "show", "--project", "trial"]
    with (tmp_path / "log").open("w") as log:
        serving = subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        end = time.monotonic() + 90
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert serving.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
            time.sleep(0.2)
        for size in (DESKTOP, PHONE):
            browser.size(size)
            browser.driver.get(f"http://127.0.0.1:{port}/?project=trial")
            browser.until(
                "document.body.innerText.includes('entropy') && document.querySelectorAll('canvas, svg').length > 2",
                seconds=60,
            )
    finally:
        os.killpg(serving.pid, signal.SIGTERM)
        serving.wait(20)
