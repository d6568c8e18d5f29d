"""A causal transformer over each user's plays, as a candidate source."""
