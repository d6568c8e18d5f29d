"""repeat_discount is chosen on past nights, and stays 0 where nothing is proved."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.core.settings import Settings
from pipelines.backtest_files import HYBRID, Backtest, BacktestDay, lists_file
from pipelines.evaluate.next_day import JudgedDay, NextDay
from pipelines.evaluate.repeat_fit import fit_repeat_discount, gains_of
from pipelines.local_days import start_of_day
from pipelines.repeat_discount import discount_of, with_fitted_discount

USERS, LISTED = range(1, 41), 40


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of an empty home."""
    return Settings.model_validate({"home": tmp_path})


def _nights(settings: Settings, n: int, liked: range) -> NextDay:
    """Every night lists videos 0 to 39; from the fourth on, each user likes another one of some."""
    days = []
    for night in range(n):
        day = date(2020, 8, 1) + timedelta(days=night)
        as_of = start_of_day(day, settings.data.zone)
        of_day = BacktestDay(day, as_of, as_of + timedelta(days=1), len(USERS), LISTED, 1.0, len(USERS))
        lists = pl.DataFrame(
            {
                "user_id": np.repeat(np.array(USERS), LISTED),
                "rank": np.tile(np.arange(1, LISTED + 1, dtype=np.int32), len(USERS)),
                "video_id": np.tile(np.arange(LISTED), len(USERS)),
            }
        )
        path = lists_file(settings.paths, day, HYBRID)
        path.parent.mkdir(parents=True)
        lists.write_parquet(path)
        of_night = [liked[(user + night) % len(liked)] for user in USERS] if night > 2 else []
        relevant = {"user_id": list(USERS)[: len(of_night)], "video_id": of_night}
        frame = pl.DataFrame(relevant, schema={"user_id": pl.Int64, "video_id": pl.Int64})
        frame = frame.with_columns(ratio=pl.lit(value=True), weight=pl.lit(1.0))
        days.append(JudgedDay(of_day, frame, len(USERS)))
    backtest = Backtest("m", days[0].day.as_of, (HYBRID,), (), tuple(one.day for one in days), ())
    return NextDay(backtest, tuple(days))


def test_what_would_have_made_room_for_liked_videos_gains(settings: Settings) -> None:
    """The liked videos are below the first twenty, which nobody likes, night after night."""
    gains = gains_of(_nights(settings, 5, liked=range(20, 26)), settings)
    by_value = {one.discount: one for one in gains}
    assert by_value[0.5].low > 0.5 and by_value[0.5].gain > by_value[0.1].gain
    assert by_value[0.1].low <= by_value[0.1].gain <= by_value[0.1].high


def test_where_repeats_are_liked_at_last_a_discount_loses(settings: Settings) -> None:
    gains = gains_of(_nights(settings, 5, liked=range(16, 20)), settings)
    assert max(one.gain for one in gains) < 0


def test_too_few_nights_prove_nothing(settings: Settings) -> None:
    assert gains_of(_nights(settings, 3, liked=range(20, 26)), settings) == []


@pytest.mark.parametrize(("liked", "discount"), [(range(20, 26), 0.5), (range(16, 20), 0.0)])
def test_lists_are_made_with_what_was_found(settings: Settings, liked: range, discount: float) -> None:
    found = _nights(settings, 5, liked)
    settings = settings.changed({"lists.repeat_discount": "fitted"})
    assert discount_of(settings) == 0 and settings.notes_repeats
    fit = fit_repeat_discount(found, settings)
    assert fit["discount"] == discount and fit["nights_judged"] == 2
    assert with_fitted_discount(settings).lists.repeat_discount == discount
    (settings.paths.evaluation / "repeat_discount.json").write_text('{"discount": "x"}', encoding="utf-8")
    assert discount_of(settings) == 0
    assert discount_of(settings.changed({"lists.repeat_discount": 0.3})) == 0.3
