"""How much of a score's personal part counts: by history length, and 1 unless past nights prove less."""

import numpy as np
import pytest

from pipelines.rankers.shrinkage import Shrinkage, fitted_shrinkage, mean_of_others

EXAMPLES, VIDEOS = 300, 40


def test_the_mean_is_of_the_others_and_unknown_where_there_are_none() -> None:
    """Three rows of the first video, one of the second."""
    found = mean_of_others(np.array([1.0, 2.0, 6.0, 5.0]), np.array([0, 0, 0, 1]))
    np.testing.assert_array_equal(found, [4.0, 3.5, 1.5, np.nan])


def test_the_personal_part_is_weighed_by_the_segment_of_the_users_plays() -> None:
    """Without plays nothing personal counts, with up to nine half of it, with more all of it."""
    shrinkage = Shrinkage((1.0, 10.0), (0.0, 0.5, 1.0))
    scores, common = np.full(5, 3.0), np.array([1.0, 1.0, 1.0, 1.0, np.nan])
    found = shrinkage.applied(scores, common, np.array([0.0, 1.0, 9.0, 10.0, 0.0]))
    np.testing.assert_array_equal(found, [1.0, 2.0, 2.0, 3.0, 3.0])
    assert Shrinkage.from_dict(shrinkage.to_dict()) == shrinkage
    assert Shrinkage.from_dict(None).changes_nothing and not shrinkage.changes_nothing


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_of_short_histories_is_left_out_and_taste_of_long_ones_is_kept(seed: int) -> None:
    """Users with few plays get scores of quality and noise; those with many of quality and what they like."""
    random = np.random.default_rng(seed)
    quality, taste = random.normal(size=VIDEOS), random.normal(size=(EXAMPLES, VIDEOS))
    plays = random.integers(1, 100, EXAMPLES).astype(float)
    is_long = plays >= np.quantile(plays, 2 / 3, method="higher")
    liking = quality + np.where(is_long[:, None], 1.5, 0.0) * taste
    scores = (quality + 1.5 * taste).ravel()
    best = np.argmax(liking, axis=1)

    def reciprocal_rank(values: np.ndarray) -> np.ndarray:
        of_examples = values.reshape(EXAMPLES, VIDEOS)
        own = of_examples[np.arange(EXAMPLES), best]
        return 1.0 / (1.0 + (of_examples > own[:, None]).sum(axis=1))

    video = np.tile(np.arange(VIDEOS), EXAMPLES)
    found = fitted_shrinkage(
        scores,
        mean_of_others(scores, video),
        np.repeat(plays, VIDEOS),
        np.arange(EXAMPLES) * VIDEOS,
        reciprocal_rank,
    )
    assert len(found.weights) == len(found.borders) + 1 == 4
    _, short, middle, long = found.weights
    assert short <= 0.25 and middle <= 0.25 and long == 1.0


def test_what_gains_no_more_than_chance_changes_nothing() -> None:
    random = np.random.default_rng(5)
    scores = random.normal(size=EXAMPLES * VIDEOS)
    chance = random.normal(size=(5, EXAMPLES))
    figures = iter(chance)
    found = fitted_shrinkage(
        scores,
        np.zeros(len(scores)),
        np.repeat(random.integers(0, 50, EXAMPLES).astype(float), VIDEOS),
        np.arange(EXAMPLES) * VIDEOS,
        lambda _: next(figures),
    )
    assert found.changes_nothing
