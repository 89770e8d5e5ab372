"""Runs side by side: groups of seeds, a table, a figure, and what is required of them."""
