"""What the owner wants of lists beside the model's order: rules, repeats, diversity, exploration."""
