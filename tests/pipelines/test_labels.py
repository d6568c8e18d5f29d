"""The two labels: a ratio means what it says, and a duration-aware one does not care for length."""

from pathlib import Path

import numpy as np
import pytest

from nightreel.core.settings import Settings
from pipelines.labels import DURATION, RATIO, LengthBuckets, targets


def _plays(seed: int, rows: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """People watch about 7.5 s whatever the length; lengths from 3 s to 3 min."""
    random = np.random.default_rng(seed)
    length = np.exp(random.uniform(np.log(3_000), np.log(180_000), rows))
    return (7_500 * np.exp(random.normal(0, 0.6, rows)) / length).astype(np.float32), length


def test_the_ratio_label_is_a_label_short_and_the_duration_label_is_not(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    ratio, length = _plays(1)
    buckets = LengthBuckets.fit(ratio, length)
    short = length < 10_000
    by_ratio = targets(RATIO, buckets, ratio, length, settings.data).liked
    assert by_ratio[short].mean() > 10 * by_ratio[~short].mean()
    by_duration = targets(DURATION, buckets, ratio, length, settings.data).liked
    for part in (short, ~short):
        assert by_duration[part].mean() == pytest.approx(0.2, abs=0.01)


def test_thresholds_are_those_of_the_training_plays(tmp_path: Path) -> None:
    ratio, length = _plays(2)
    buckets = LengthBuckets.fit(ratio, length)
    chosen = buckets.bucket(length) == 3
    assert buckets.thresholds(0.8)[3] == pytest.approx(np.quantile(ratio[chosen], 0.8))
    assert (np.diff(buckets.edges_ms) > 0).all()
    # Buckets are as wide on a log scale wherever there are plays enough.
    assert np.log(buckets.edges_ms[1:] / buckets.edges_ms[:-1]) == pytest.approx(np.log(1.15), abs=0.02)


@pytest.mark.parametrize("step_ms", [1, 20_000])
def test_whole_lengths_have_the_buckets_of_the_same_numbers_with_fractions(step_ms: int) -> None:
    """However close together they are."""
    ratio, length = _plays(4)
    whole = (length / 100).astype(np.int32) * 100 * step_ms
    found, expected = LengthBuckets.fit(ratio, whole), LengthBuckets.fit(ratio, whole.astype(np.float64))
    np.testing.assert_array_equal(found.edges_ms, expected.edges_ms)
    np.testing.assert_array_equal(found.ratios, expected.ratios)


def test_the_duration_target_is_the_share_of_like_plays_below(tmp_path: Path) -> None:
    ratio, length = _plays(3)
    buckets = LengthBuckets.fit(ratio, length)
    amount = targets(DURATION, buckets, ratio, length, Settings(home=tmp_path).data).amount
    chosen = buckets.bucket(length) == 5
    ranks = np.argsort(np.argsort(ratio[chosen])) / (chosen.sum() - 1)
    np.testing.assert_allclose(amount[chosen], ranks, atol=0.01)


def test_the_clip_and_the_threshold_are_settings(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"home": tmp_path, "data.targets.like_threshold": 2.0, "data.targets.watch_ratio_clip": 3.0}
    )
    found = targets(
        RATIO, LengthBuckets.fit(np.ones(1), np.ones(1)), np.array([2.0, 2.5, 9.0]), np.ones(3), settings.data
    )
    assert found.liked.tolist() == [False, True, True]
    assert found.amount.tolist() == [2.0, 2.5, 3.0]


def test_a_long_view_is_liked_whatever_its_ratio(tmp_path: Path) -> None:
    """A play of 18 s counts of any video that is longer; of a shorter one the ratio decides."""
    length = np.array([60_000, 60_000, 106_200, 12_000, 12_000])
    ratio = np.array([18_000, 17_999, 18_000, 11_999, 12_001], dtype=np.float32) / length.astype(np.float32)
    few = LengthBuckets.fit(ratio, length)

    def liked(**changed: float) -> list[bool]:
        return targets(
            RATIO, few, ratio, length, Settings.model_validate({"home": tmp_path, **changed}).data
        ).liked.tolist()

    assert liked(**{"data.targets.long_view_s": 18}) == [True, False, True, False, True]
    assert liked() == [False, False, False, False, True]


def test_few_plays_make_one_bucket_and_none_at_all_no_error() -> None:
    few = LengthBuckets.fit(np.array([0.5, 1.5]), np.array([3_000, 90_000]))
    assert len(few.edges_ms) == 0 and few.thresholds(0.5).tolist() == [1.0]
    assert LengthBuckets.fit(np.zeros(0), np.zeros(0)).thresholds(0.8).tolist() == [1.0]


def test_all_plays_of_the_same_ratio_are_not_liked() -> None:
    """Nothing is above the quantile of what is all the same."""
    buckets = LengthBuckets.fit(np.zeros(2_000), np.full(2_000, 9_000))
    assert buckets.thresholds(0.8).tolist() == [0.0]


def test_saved_buckets_are_the_same(tmp_path: Path) -> None:
    ratio, length = _plays(4)
    buckets = LengthBuckets.fit(ratio, length)
    buckets.save(tmp_path)
    loaded = LengthBuckets.load(tmp_path)
    np.testing.assert_array_equal(loaded.edges_ms, buckets.edges_ms)
    np.testing.assert_array_equal(loaded.ratios, buckets.ratios)
