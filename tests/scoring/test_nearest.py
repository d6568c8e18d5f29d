"""Approximate search finds nearly what going through all videos finds, and the same each time."""

import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightreel.core.catalogue.formulas import products_with
from nightreel.core.errors import InputError
from nightreel.core.extras import require_extras
from nightreel.core.settings import load_settings
from scoring.lists.candidates import OpenVideos
from scoring.lists.nearest import NearestVideos

FACTORS, MOST = 16, 200


def _made_up(videos: int, seed: int) -> np.ndarray:
    """Factors as ALS has them: of unequal length, the first ones say most; some of them are unknown."""
    random = np.random.default_rng(seed)
    factors = random.standard_normal((videos, FACTORS)) / np.arange(1, FACTORS + 1) ** 0.5
    factors *= random.lognormal(0, 0.3, (videos, 1))
    factors[random.random(videos) < 0.05] = np.nan
    return factors.astype(np.float32)


def _close(videos: int, positions: np.ndarray) -> OpenVideos:
    closed = np.zeros(videos, dtype=np.uint8)
    closed[positions] = 1
    return OpenVideos(np.packbits(closed), videos)


def _exact(factors: np.ndarray, user: np.ndarray, open_videos: OpenVideos, most: int) -> set[int]:
    scores = factors.astype(np.float64) @ user
    scores[np.isnan(scores) | ~open_videos.dense()] = -np.inf
    return set(np.argsort(-scores)[:most].tolist())


@pytest.mark.parametrize("closed_share", [0, 0.6])
def test_it_finds_nearly_all_of_what_is_nearest_and_open(closed_share: float) -> None:
    videos, random = 20_000, np.random.default_rng(1)
    factors = _made_up(videos, 2)
    nearest = NearestVideos.of(factors)
    assert nearest is not None
    closed = random.choice(videos, int(videos * closed_share), replace=False)
    open_videos = _close(videos, closed)
    recalls = []
    for user in _made_up(40, 3):
        if np.isnan(user).any():
            continue
        found = nearest.of_user(user, open_videos, MOST)
        assert len(np.unique(found)) == MOST
        assert open_videos.holds(found).all() and not np.isnan(factors[found]).any()
        recalls.append(len(set(found.tolist()) & _exact(factors, user, open_videos, MOST)) / MOST)
    assert np.mean(recalls) > 0.9, np.mean(recalls)


@given(videos=st.integers(1, 300), seed=st.integers(0, 1000), most=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_of_few_videos_it_finds_exactly_the_nearest(videos: int, seed: int, most: int) -> None:
    factors = _made_up(videos, seed)
    nearest = NearestVideos.of(factors)
    if nearest is None:
        assert np.isnan(factors).any(axis=1).all()
        return
    user = np.random.default_rng(seed).standard_normal(FACTORS).astype(np.float32)
    open_videos = _close(videos, np.arange(0, videos, 3))
    available = int((open_videos.dense() & ~np.isnan(factors).any(axis=1)).sum())
    found = nearest.of_user(user, open_videos, most)
    assert set(found.tolist()) == _exact(factors, user, open_videos, min(most, available))


def test_the_same_factors_give_the_same_index_which_may_be_sent() -> None:
    factors = _made_up(5_000, 3)
    one, other = NearestVideos.of(factors), NearestVideos.of(factors)
    assert one is not None and other is not None
    sent = pickle.loads(pickle.dumps(one))
    nothing_closed = _close(5_000, np.zeros(0, dtype=np.int64))
    for user in np.random.default_rng(4).standard_normal((20, FACTORS)).astype(np.float32):
        found = one.of_user(user, nothing_closed, MOST)
        for again in (other, sent):
            np.testing.assert_array_equal(again.of_user(user, nothing_closed, MOST), found)


def test_without_faiss_the_setting_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match="faiss is not installed") as caught:
        require_extras(load_settings({"retrieval.candidates": "popular,als_approximate"}))
    assert "nightreel[search]" in str(caught.value)
    require_extras(load_settings())


@given(rows=st.integers(1, 60), seed=st.integers(0, 1000), data=st.data())
@settings(deadline=None)
def test_a_dot_product_depends_on_no_other_row(rows: int, seed: int, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    matrix, vector = random.standard_normal((rows, 64)), random.standard_normal(64)
    matrix, vector = matrix.astype(np.float32), vector.astype(np.float32)
    some = np.array(data.draw(st.lists(st.integers(0, rows - 1), min_size=1)))
    np.testing.assert_array_equal(products_with(matrix[some], vector), products_with(matrix, vector)[some])
