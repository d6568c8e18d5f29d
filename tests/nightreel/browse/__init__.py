"""The page of `nightreel browse`."""
