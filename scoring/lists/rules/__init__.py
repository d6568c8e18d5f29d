"""Changes to the model's order that the owner asks for: rules, repeats, diversity, exploration."""
