"""Parts: each play is in one of them, beside the others of its video, and binning ahead changes nothing."""

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines.rankers import FeatureEncoding, boosting
from pipelines.rankers.binning import Binning, Part
from pipelines.rankers.boosting import common_parameters, fitted_rows, number_of_parts, validation_rows
from pipelines.rankers.slices import Slices

ROWS = 3_000
SETTINGS = Settings(home=Path(), threads=1)
ENCODING = FeatureEncoding(("noise", columns.AUTHOR_ID), {columns.AUTHOR_ID: tuple(range(9))})
_random = np.random.default_rng(0)
VIDEO = _random.integers(0, 50, ROWS)
MATRIX = np.column_stack([_random.normal(size=ROWS), VIDEO % 9]).astype(np.float32)
MATRIX[::7, 1] = np.nan
TARGET = (np.nan_to_num(MATRIX[:, 1]) > 4).astype(np.float32)
FITTED = range(100, 2_600)


@pytest.fixture
def binning() -> Binning:
    return Binning(MATRIX, FITTED, VIDEO, ENCODING, common_parameters(SETTINGS, len(FITTED)))


def _model(part: Part) -> str:
    part.data.set_label(TARGET[part.rows])
    booster = lgb.Booster({**common_parameters(SETTINGS, len(FITTED)), "objective": "binary"}, part.data)
    for _ in range(5):
        booster.update()
    return str(booster.model_to_string())


def test_every_row_is_in_one_part(binning: Binning) -> None:
    parts = list(binning.parts(FITTED, 7))
    assert len(parts) == 7
    assert sorted(np.concatenate([part.rows for part in parts])) == list(FITTED)
    assert {part.data.num_data() for part in parts} <= {357, 358}


def test_of_a_very_long_log_every_nth_play_is_in_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosting, "PLAYS_MAX", 1_000)
    slices = Slices(slice(100, 2_600), slice(2_600, 2_800), slice(2_800, ROWS))
    rows = fitted_rows(slices)
    assert rows == FITTED[::3]
    parts = list(
        Binning(MATRIX, rows, VIDEO, ENCODING, common_parameters(SETTINGS, len(rows))).parts(rows, 4)
    )
    assert sorted(np.concatenate([part.rows for part in parts])) == list(rows)
    assert {part.data.num_data() for part in parts} <= {208, 209}
    monkeypatch.setattr(boosting, "PLAYS_MAX", 2_500)
    assert fitted_rows(slices) == FITTED


def test_plays_of_a_video_stand_together_in_order_of_time(binning: Binning) -> None:
    part = binning.part(FITTED[::3])
    videos = VIDEO[part.rows]
    assert (np.diff(videos) >= 0).all()
    assert (np.diff(part.rows)[np.diff(videos) == 0] > 0).all()


def test_parts_binned_ahead_are_those_binned_one_by_one(binning: Binning) -> None:
    ahead = [_model(part) for part in binning.parts(FITTED, 4)]
    assert ahead == [_model(binning.part(FITTED[first::4], in_strands=True)) for first in range(4)]


def test_in_strands_plays_of_a_video_are_kept_apart() -> None:
    video = np.arange(ROWS) // 8
    binning = Binning(MATRIX, FITTED, video, ENCODING, common_parameters(SETTINGS, len(FITTED)))
    together, apart = (binning.part(FITTED, in_strands=in_strands) for in_strands in (False, True))
    assert sorted(apart.rows) == sorted(together.rows)
    repeats = [(np.diff(video[part.rows]) == 0).mean() for part in (together, apart)]
    assert repeats[0] > 0.8
    assert repeats[1] < 0.05


class _Counted:
    """A matrix that notes which rows are composed."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        assert isinstance(rows, np.ndarray)
        self.asked.append(rows)
        return MATRIX[rows]


def test_the_next_part_is_composed_once_the_features_of_the_last_are_forgotten() -> None:
    """So memory holds those of one part."""
    matrix = _Counted()
    parameters = common_parameters(SETTINGS, len(FITTED))
    found = Binning(matrix, FITTED, VIDEO, ENCODING, parameters, keeps_features=True).parts(FITTED, 3)
    matrix.asked.clear()
    first = next(found)
    assert first.features is not None
    assert len(matrix.asked) == 1
    first.forget_features()
    assert first.features is None
    rows = [first.rows, *(part.rows for part in found)]
    np.testing.assert_array_equal(np.concatenate(matrix.asked), np.concatenate(rows))


def test_columns_are_binned_as_rows_are(binning: Binning) -> None:
    """As LightGBM bins the same rows, given as a plain matrix."""
    parameters = common_parameters(SETTINGS, len(FITTED))
    part = binning.part(FITTED)
    names = {"feature_name": list(ENCODING.names), "categorical_feature": list(ENCODING.categorical)}
    plain = lgb.Dataset(MATRIX[part.rows], params=parameters, **names).construct()
    assert _model(Part(part.rows, plain)) == _model(part)


def test_no_part_is_without_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosting, "TREE_ROWS", 1_000)
    few = SETTINGS.changed({"ranker.lightgbm.num_iterations": 3})
    assert [number_of_parts(few.ranker, rows) for rows in (1, 1_000, 1_001, 90_000)] == [1, 1, 2, 3]


def test_very_many_plays_that_stop_are_sampled_over_their_whole_time() -> None:
    few, many = (
        validation_rows(Slices(slice(0, 10), slice(10, end), slice(end, end))) for end in (99, 10**6)
    )
    assert few == range(10, 99)
    assert many.start == 10 and 150_000 < len(many) <= 250_000 and many[-1] > 999_900
