"""Penalty terms: batch -> (B, T) or scalar, with gradient. Added to the loss, never weighted."""
