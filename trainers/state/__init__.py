"""What outlives a step: checkpoints, a rank's memory, the moving reference, signals to stop."""
