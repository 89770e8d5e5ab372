"""Links of the stream of prompts: which are asked, and which groups of completions train."""
