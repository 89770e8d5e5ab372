"""Loss terms: batch -> (B, T) per-token policy loss. Exactly one per recipe."""
