"""Optimizers, and how far a step may go."""
