"""Feature rows of the next day's rankers: features of the user, the video, the night, and of the pair."""
