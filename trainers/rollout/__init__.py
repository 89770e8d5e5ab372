"""A generation: its rewards, its extra completions, and whether it can be learned from."""
