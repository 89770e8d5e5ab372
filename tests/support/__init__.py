"""Small real parts shared by the tests: a character tokenizer, a two-layer model, a trainer on a toy reward."""
