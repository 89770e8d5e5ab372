"""Controllers: init() -> state, update(state, signals) -> (state, value). One per controlled field."""
