"""What has moved since training is said once, from what was known at each play."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from nightreel.core import columns
from nightreel.core.settings import Settings
from nightreel.operations.drift.distributions import Distribution, population_stability_index
from nightreel.operations.drift.recording import record_drift
from nightreel.operations.drift.stored import nights
from tests.conftest import Nightreel
from tests.fixtures.scored_home import make_scored_home
from tests.fixtures.small_log import make_log
from tests.fixtures.tables import read_table, write_table

_NUMBERS = numpy_strategies.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32))
_MANY = 1_000_000_000


def _of(values: list[float], *, is_categorical: bool = False) -> Distribution:
    return Distribution.of(np.array(values), is_categorical=is_categorical, units=_MANY)


def test_index_is_the_sum_over_bins_worked_out_by_hand() -> None:
    before = _of([0, 0, 1, 1, 1, 1, 2, 2, 2, 2], is_categorical=True)  # 0.2, 0.4, 0.4
    after = before.same_bins(np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2]), units=_MANY)  # 0.4, 0.4, 0.2
    assert population_stability_index(before, after) == pytest.approx(0.2 * np.log(2) + 0.2 * np.log(2))


def test_missing_values_are_a_bin_of_their_own() -> None:
    before = _of([1.0, 2.0, 3.0, 4.0])
    after = before.same_bins(np.array([1.0, np.nan, 3.0, np.nan]), units=_MANY)
    assert (before.missing, after.missing) == (0, 0.5)
    assert population_stability_index(before, after) > 1


def test_what_chance_alone_gives_is_taken_off() -> None:
    random = np.random.default_rng(7)
    one, other = random.normal(size=400), random.normal(size=400)
    before = Distribution.of(one, is_categorical=False, units=400)
    found = [population_stability_index(before, before.same_bins(other, units=n)) for n in (400, _MANY)]
    assert found[0] < found[1]
    assert found[0] < 0.03


@given(_NUMBERS)
def test_a_sample_has_not_moved_from_itself(values: np.ndarray) -> None:
    before = Distribution.of(values, is_categorical=False, units=_MANY)
    assert population_stability_index(before, before.same_bins(values, units=_MANY)) == 0


@given(_NUMBERS, _NUMBERS)
def test_only_the_order_of_numbers_counts(one: np.ndarray, other: np.ndarray) -> None:
    before = Distribution.of(one, is_categorical=False, units=_MANY)
    after = before.same_bins(other, units=_MANY)
    # Doubled and moved by a whole number, both exact, the values fall into the same bins.
    moved = Distribution.of(one * 2, is_categorical=False, units=_MANY)
    assert moved.same_bins(other * 2, units=_MANY).shares == after.shares


@given(_NUMBERS)
def test_a_distribution_is_read_as_it_was_written(values: np.ndarray) -> None:
    for is_categorical in (True, False):
        column = np.abs(np.round(values % 50)) if is_categorical else values
        made = Distribution.of(column, is_categorical=is_categorical, units=3)
        assert Distribution.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    patch = pytest.MonkeyPatch()
    log = make_log(11, users=30, videos=40, plays=3_000, days=9)
    settings = make_scored_home(tmp_path_factory.mktemp("drift") / "home", patch, log)
    patch.undo()
    return settings


def test_a_night_is_compared_once_and_what_moves_is_said_once(
    home: Settings, monkeypatch: pytest.MonkeyPatch, nightreel: Nightreel
) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(home.home))
    first = record_drift(home)
    night = nights(home.paths)[0]
    names = {column["name"] for column in night["columns"]}
    assert {"classifier score", columns.ALS_SCORE, "video_duration"} <= names
    assert not first.skipped
    assert record_drift(home).skipped

    _lose(home.paths.feature_source("video_profile"), columns.VIDEO_DURATION)
    # One more play, so that the day is compared again.
    plays = read_table(home, "interactions")
    write_table(home, "interactions", pl.concat([plays, plays.tail(1)]))
    remarks = record_drift(home).summary["remarks"]
    lost = next(
        column for column in nights(home.paths)[0]["columns"] if column["name"] == columns.VIDEO_DURATION
    )
    assert (lost["missing"], lost["moved"]) == (1, True)
    assert lost["missing_training"] < 0.5
    assert len(remarks) == 1
    assert columns.VIDEO_DURATION in remarks[0]
    assert nights(home.paths)[0]["remarks"] == remarks

    shown = nightreel("drift", home=home.home)
    assert shown.returncode == 0, shown.stderr
    assert columns.VIDEO_DURATION in shown.stdout
    asked = nightreel("drift", "--json", home=home.home)
    assert json.loads(asked.stdout)["remarks"] == remarks


def test_nothing_compared_yet_is_no_error(tmp_path: Path, nightreel: Nightreel) -> None:
    shown = nightreel("drift", home=tmp_path)
    assert shown.returncode == 0
    assert "no night has been compared yet" in shown.stdout


def _lose(source: Path, column: str) -> None:
    table = pl.read_parquet(source)
    table.with_columns(pl.lit(None, table.schema[column]).alias(column)).write_parquet(source)
