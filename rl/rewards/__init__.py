"""Reward terms: generation -> (N,). Chained after the verifiers, before the advantages."""
