"""What controllers move, and when."""
