"""Weight terms: batch -> (B, T), >= 0, detached. Multiplied, and applied after the ratio clip."""
