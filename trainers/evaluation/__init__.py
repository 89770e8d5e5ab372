"""Held-out prompts, measured on a schedule."""
