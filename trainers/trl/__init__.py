"""TRL's names, numbers and settings: what is read of them, and what is written into them."""
