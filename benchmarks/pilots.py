"""The autopilot's gains that the recorded runs had where they name none."""

from __future__ import annotations

GAINS = {"kp": 5.0, "ki": 0.2, "smoothing": 0.5, "gain_min": -0.4, "gain_max": 0.4}
"""Found on the exact plant. The defaults are gentler: tracking_anchor.py."""
