"""Inside a model's forward pass, and what its weights are: taps, heads, adapters, shards."""
