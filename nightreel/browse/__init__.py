"""The pages of `nightreel browse`: a look at the published lists, from the database only, never writing."""
