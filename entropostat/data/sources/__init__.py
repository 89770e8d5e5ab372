"""One source of prompts a file."""
