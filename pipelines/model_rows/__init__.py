"""Rows that the rankers of the next day read: a user, a video, the night, and what the two have in common."""
