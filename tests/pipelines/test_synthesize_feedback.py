"""What people are asked to do with lists, they do by the same truth as the files are drawn from."""

import numpy as np

from synthetic.calendar import DAY_MS
from synthetic.feedback import Feedback


def test_plays_are_liked_as_often_as_the_truth_says() -> None:
    feedback = Feedback.of(users=60, videos=80, interactions=600, days=10, seed=3)
    user, video = np.repeat(np.arange(60), 80), np.tile(np.arange(80), 60)
    at = np.full(len(user), 5 * DAY_MS + 20 * 3_600_000)
    probability = feedback.probability_liked(user, video, at).astype(np.float64)
    plays = feedback.plays(user, video, at, np.random.default_rng(4))
    liked = (plays["watch_ratio"] > 1).to_numpy()
    deviation = np.sqrt((probability * (1 - probability)).sum())
    assert abs(liked.sum() - probability.sum()) < 4 * deviation
    # By pair too, not on average alone.
    often = probability > np.median(probability)
    assert liked[often].mean() > liked[~often].mean() + 0.2
    assert plays["timestamp"].min() == plays["timestamp"].max() == 1_593_878_400 + at[0] / 1_000
