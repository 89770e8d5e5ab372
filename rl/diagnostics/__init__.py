"""Measurements that change nothing: of a batch, or of a whole run."""
