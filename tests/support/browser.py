"""What tests do with a window of Chromium."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

DESKTOP, PHONE = (1280, 900), (390, 844)


class Browser:
    """One window. Every request that a page makes is seen."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.size(DESKTOP)
        self.scheme("light")

    def size(self, size: tuple[int, int]) -> None:
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, where: Path | str) -> None:
        self.driver.get_log("performance")
        self.driver.get_log("browser")
        self.driver.get(where if isinstance(where, str) else where.absolute().as_uri())
        self.run("localStorage.clear()")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def requests(self) -> list[str]:
        """Addresses that were asked for since ``open``."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Errors in the console, the policy's refusals among them."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def until(self, script: str, *arguments: Any, seconds: float = 10) -> Any:
        """The first value of ``return script`` that is true."""
        end = time.monotonic() + seconds
        while not (answer := self.run(f"return {script}", *arguments)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)
        return answer

    def hover(self, key: str, share: float) -> dict[str, Any]:
        """Moves the mouse over the chart of ``key``, at a share of its width: the step, and subject -> value shown there."""
        card = f'.card[data-keys~="{key}"]'
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", card)
        self.until("document.querySelector(arguments[0] + '.drawn .u-over')", card)
        box = self.run(
            "const b = document.querySelector(arguments[0] + ' .u-over').getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]",
            card,
        )
        for x in (share, share + 0.001):  # a mouse that comes in from outside
            at = {"x": box[0] + x * box[2], "y": box[1] + box[3] / 2}
            self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", **at})
        self.until("!document.querySelector(arguments[0] + ' .tip').hidden", card)
        rows = self.run(
            "return [...document.querySelectorAll(arguments[0] + ' .tip tr')].map(r => [r.dataset.key, r.dataset.subject, r.dataset.value, r.innerText])",
            card,
        )
        step = int(self.run("return document.querySelector(arguments[0] + ' .tip').dataset.step", card))
        mine = [row for row in rows if row[0] == key]
        return {
            "step": step,
            "values": {row[1]: float(row[2]) for row in mine},
            "text": "\n".join(row[3] for row in mine),
        }

    def click(self, selector: str) -> None:
        self.run("document.querySelector(arguments[0]).click()", selector)

    def type(self, selector: str, text: str) -> None:
        self.run(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input', {bubbles: true}))",
            selector,
            text,
        )
