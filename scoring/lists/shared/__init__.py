"""Lists that are not a user's: each video's related ones, and popular ones for visitors without an id."""
