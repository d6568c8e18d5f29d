"""Where the log is cut: the last days stop the models and are held out, by local day."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from nightreel.core.errors import InputError
from nightreel.core.settings import Settings
from pipelines.rankers.slices import Cuts, Slices, log_days, time_cuts

# 2020-07-05 00:00 in Shanghai.
START = datetime(2020, 7, 4, 16, tzinfo=UTC)


def _instants(plays_of_day: dict[int, int]) -> pl.Series:
    rows = [
        START + timedelta(days=day, minutes=n) for day, plays in plays_of_day.items() for n in range(plays)
    ]
    return pl.Series(sorted(rows), dtype=pl.Datetime("us", "UTC"))


def _settings(home: Path, holdout_days: int = 2, backtest_days: int = 1) -> Settings:
    return Settings.model_validate(
        {"home": home, "evaluation.holdout_days": holdout_days, "evaluation.backtest_days": backtest_days}
    )


def _cuts(instants: pl.Series, settings: Settings) -> Cuts:
    return time_cuts(log_days(instants, settings.data.zone), settings.data, settings.evaluation)


def test_last_days_are_held_out_and_as_many_before_them_stop(tmp_path: Path) -> None:
    instants = _instants(dict.fromkeys(range(8), 10))
    cuts = _cuts(instants, _settings(tmp_path))
    assert cuts.slices(instants) == Slices(slice(0, 40), slice(40, 60), slice(60, 80))
    assert (cuts.stop_from, cuts.holdout_from) == (START + timedelta(days=4), START + timedelta(days=6))
    assert cuts.last_day.isoformat() == "2020-07-12"


def test_days_of_the_backtest_are_held_out_and_no_more_days_stop(tmp_path: Path) -> None:
    instants = _instants(dict.fromkeys(range(8), 10))
    slices = _cuts(instants, _settings(tmp_path, 2, backtest_days=3)).slices(instants)
    assert slices == Slices(slice(0, 30), slice(30, 50), slice(50, 80))


def test_a_play_at_midnight_belongs_to_the_day_that_begins(tmp_path: Path) -> None:
    before = START + timedelta(days=7) - timedelta(microseconds=1)
    instants = pl.concat(
        [_instants(dict.fromkeys(range(8), 10)), pl.Series([before]).cast(pl.Datetime("us", "UTC"))]
    )
    instants = instants.sort()
    slices = _cuts(instants, _settings(tmp_path, 1)).slices(instants)
    assert instants[slices.holdout][0] == START + timedelta(days=7)
    assert instants[slices.stop][-1] == before


def test_stray_plays_after_the_last_real_day_are_no_days(tmp_path: Path) -> None:
    instants = _instants(dict.fromkeys(range(8), 50) | {11: 2, 12: 1})
    cuts = _cuts(instants, _settings(tmp_path))
    assert cuts.holdout_from == START + timedelta(days=6)
    assert cuts.slices(instants).holdout == slice(300, 403)


def test_stray_plays_on_more_days_than_all_others_are_no_days(tmp_path: Path) -> None:
    instants = _instants(dict.fromkeys(range(8), 300) | dict.fromkeys(range(11, 21), 2))
    assert _cuts(instants, _settings(tmp_path)).holdout_from == START + timedelta(days=6)


def test_days_without_plays_are_no_days(tmp_path: Path) -> None:
    instants = _instants({0: 10, 1: 10, 20: 10, 21: 10, 40: 10})
    cuts = _cuts(instants, _settings(tmp_path))
    assert cuts.slices(instants) == Slices(slice(0, 10), slice(10, 30), slice(30, 50))


def test_a_short_log_holds_out_fewer_days(tmp_path: Path) -> None:
    instants = _instants({0: 10, 1: 10, 2: 10})
    slices = _cuts(instants, _settings(tmp_path, 5)).slices(instants)
    assert slices == Slices(slice(0, 10), slice(10, 20), slice(20, 30))


@pytest.mark.parametrize("days", [0, 1, 2])
def test_fewer_than_three_days_are_refused(tmp_path: Path, days: int) -> None:
    with pytest.raises(InputError, match=rf"{days} days?"):
        _cuts(_instants(dict.fromkeys(range(days), 10)), _settings(tmp_path))
