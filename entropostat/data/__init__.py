"""Prompts: where they come from, which are held out, and in what order training sees them. No torch here."""
