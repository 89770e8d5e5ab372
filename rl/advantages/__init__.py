"""Advantage terms: batch -> (N,) or (N, T). Chained: the first is a base estimator, each later one reshapes."""
