"""ALS by refit window: when it is refitted, what each fit may see, and what it finds; same bits."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.play_days import day_file
from nightreel.core.settings import Settings
from pipelines.collaborative import Fit, Log, biased_als, build_factors, late_plays, refit_cutoffs
from pipelines.collaborative.biased_als import biased_fits
from pipelines.collaborative.fits import REFIT_ITERATIONS
from pipelines.local_days import ALWAYS_KNOWN, INSTANT, NEVER
from tests.fixtures.small_log import FIRST_DAY, make_log, midnight, settings_for
from tests.fixtures.tables import plays_of_days

LOG = make_log(6, users=20, videos=40, plays=900)
_MICROSECOND, _DAY = timedelta(microseconds=1), timedelta(days=1)
_CLIP = 5.0


def _midnight(day: int) -> datetime:
    return midnight(FIRST_DAY + day * _DAY)


def _settings(home: Path, **changes: object) -> Settings:
    return settings_for(home, **changes)


def _log(cutoffs: list[datetime]) -> Log:
    return Log.of(LOG.interactions, cutoffs, _CLIP)


def _same(one: list[Fit], other: list[Fit]) -> bool:
    """Bit for bit, ids and cutoffs included."""
    return len(one) == len(other) and all(
        a.cutoff == b.cutoff
        and all(
            getattr(a, name).tobytes() == getattr(b, name).tobytes()
            for name in ("user_ids", "user_factors", "video_ids", "video_factors")
        )
        for a, b in zip(one, other, strict=True)
    )


CUTOFFS = [_midnight(day) for day in (3, 5, 7)]


def test_two_fits_are_equal_bit_for_bit_whatever_the_threads(tmp_path: Path) -> None:
    one, two, three = (list(biased_fits(_log(CUTOFFS), _settings(tmp_path, threads=n))) for n in (1, 1, 3))
    assert _same(one, two) and _same(one, three)
    other_seed = list(biased_fits(_log(CUTOFFS), _settings(tmp_path, seed=1)))
    assert not _same(one, other_seed)


@pytest.mark.parametrize("late", [timedelta(0), _MICROSECOND, timedelta(seconds=1)])
def test_no_fit_depends_on_a_play_at_or_after_its_cutoff(tmp_path: Path, late: timedelta) -> None:
    """A new user and a new video come with it; the fits up to the cutoff stay, the one after changes."""
    settings = _settings(tmp_path)
    whole = list(biased_fits(_log(CUTOFFS), settings))
    more = LOG.interactions.head(60).with_columns(
        pl.lit(CUTOFFS[1] + late, INSTANT).alias(columns.EVENT_TIMESTAMP),
        pl.int_range(-1, 59).cast(pl.Int64).alias(columns.USER_ID),
        pl.int_range(-1, 59).cast(pl.Int64).alias(columns.VIDEO_ID),
        pl.lit(4.0, pl.Float32).alias(columns.WATCH_RATIO),
    )
    added = LOG.with_interactions(pl.concat([LOG.interactions, more])).interactions
    removed = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < CUTOFFS[1] + late)
    after = list(biased_fits(Log.of(added, CUTOFFS, _CLIP), settings))
    assert _same(after[:2], whole[:2]) and not _same(after[2:], whole[2:])
    assert _same(list(biased_fits(Log.of(removed, CUTOFFS[:2], _CLIP), settings)), whole[:2])


def test_a_play_a_microsecond_before_the_cutoff_is_seen(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    more = LOG.interactions.head(1).with_columns(
        pl.lit(CUTOFFS[1] - _MICROSECOND, INSTANT).alias(columns.EVENT_TIMESTAMP),
        pl.lit(77_777, pl.Int64).alias(columns.USER_ID),
    )
    added = LOG.with_interactions(pl.concat([LOG.interactions, more])).interactions
    first, second, _ = biased_fits(Log.of(added, CUTOFFS, _CLIP), settings)
    assert 77_777 not in first.user_ids and 77_777 in second.user_ids


def test_a_row_for_everyone_with_an_earlier_play_and_for_nobody_else(tmp_path: Path) -> None:
    for fit in biased_fits(_log(CUTOFFS), _settings(tmp_path, **{"features.als.factors": 7})):
        before = LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < fit.cutoff)
        assert fit.user_ids.tolist() == before[columns.USER_ID].unique().sort().to_list()
        assert fit.video_ids.tolist() == before[columns.VIDEO_ID].unique().sort().to_list()
        for ids, factors in ((fit.user_ids, fit.user_factors), (fit.video_ids, fit.video_factors)):
            assert factors.shape == (len(ids), 7) and factors.dtype == np.float32
            assert np.isfinite(factors).all()


def _tastes() -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Two groups of users, two of videos, each group fond of its own; half of the pairs were never played."""
    random = np.random.default_rng(3)
    users, videos = 60, 80
    likes = (np.arange(users)[:, None] % 2 == np.arange(videos) % 2).ravel()
    played = random.random(users * videos) < 0.5
    user, video = np.divmod(np.flatnonzero(played), videos)
    order = random.permutation(len(user))
    ratio = np.where(likes[played], 1.6, 0.4) + random.random(len(user)) * 0.5
    plays = pl.DataFrame(
        {
            columns.USER_ID: user[order] * 3 + 2,
            columns.VIDEO_ID: video[order] * 7 + 1,
            columns.EVENT_TIMESTAMP: [_midnight(0) + int(n) * timedelta(minutes=2) for n in range(len(user))],
            columns.WATCH_RATIO: ratio[order].astype(np.float32),
        },
        schema_overrides={columns.EVENT_TIMESTAMP: INSTANT},
    )
    return plays, likes.reshape(users, videos), ~played.reshape(users, videos)


def test_pairs_never_played_are_ranked_by_taste(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plays, likes, hole = _tastes()
    monkeypatch.setattr(biased_als, "REGULARIZATION_PLAYS", 2.0)
    settings = _settings(tmp_path, **{"features.als.factors": 8})
    for fit in biased_fits(Log.of(plays, [_midnight(2), _midnight(5)], _CLIP), settings):
        scores = fit.user_factors @ fit.video_factors.T
        liked, not_liked = scores[hole & likes], scores[hole & ~likes]
        assert (liked[:, None] > not_liked).mean() > 0.95


def test_a_refit_starts_from_the_last_factors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no play is new, three rounds and then two are the same as five; and not as two alone."""

    def last_fit(cutoffs: list[datetime], rounds: int) -> list[Fit]:
        monkeypatch.setattr(biased_als, "FIRST_ITERATIONS", rounds)
        return list(biased_fits(_log(cutoffs), _settings(tmp_path)))[-1:]

    end = CUTOFFS[1] + timedelta(microseconds=500)
    assert LOG.interactions.filter(
        pl.col(columns.EVENT_TIMESTAMP).is_between(end - _MICROSECOND, end, closed="left")
    ).is_empty()
    warm = last_fit([end - _MICROSECOND, end], rounds=3)
    assert _same(warm, last_fit([end], rounds=3 + REFIT_ITERATIONS))
    assert not _same(warm, last_fit([end], rounds=REFIT_ITERATIONS))


def test_a_change_of_the_factors_fits_anew(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    LOG.write(settings)
    assert not build_factors(settings).skipped
    assert build_factors(settings).skipped
    # How the nearest videos are searched for is no matter of the fits.
    assert build_factors(settings.changed({"retrieval.candidates": "als_approximate"})).skipped
    settings = settings.changed({"features.als.factors": 5})
    assert not build_factors(settings).skipped
    source = pl.read_parquet(settings.paths.feature_source(columns.USER_FACTORS))
    assert source.schema[columns.USER_FACTOR] == pl.List(pl.Float32)
    assert source[columns.USER_FACTOR].list.len().unique().to_list() == [settings.features.als.factors]


def _instants(*plays: tuple[float, int]) -> pl.Series:
    """So many plays at a time, in days after the first local midnight."""
    stamps = [_midnight(0) + day * _DAY for day, count in plays for _ in range(count)]
    return pl.Series(stamps, dtype=INSTANT)


def _refits(instants: pl.Series, settings: Settings) -> list[datetime]:
    plays = pl.DataFrame({columns.EVENT_TIMESTAMP: instants})
    return refit_cutoffs(plays_of_days(plays, settings.data.zone), settings.data, settings.features)


def test_refits_stand_at_local_midnights_so_many_days_apart(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, **{"features.als.refit_days": 3})
    plays = _instants((0.5, 200), (3.5, 3), (6.5, 3), (8.2, 3))
    assert _refits(plays, settings) == [_midnight(3), _midnight(6), _midnight(9)]


def test_no_refit_before_there_are_enough_plays(tmp_path: Path) -> None:
    """Four factors want more than 128 plays; a play at the midnight itself belongs to the next fit."""
    settings = settings_for(tmp_path, **{"features.als.refit_days": 2})
    plays = _instants((0.5, 100), (3.0, 28), (4.0, 1), (11.0, 2))
    assert _refits(plays, settings) == [_midnight(6), _midnight(12)]


@pytest.mark.parametrize(("new", "refits"), [(0, [7]), (1, [7]), (2, [7, 14])])
def test_no_refit_where_fewer_than_one_play_in_a_hundred_is_new(
    tmp_path: Path, new: int, refits: list[int]
) -> None:
    settings = settings_for(tmp_path, **{"features.als.refit_days": 7})
    plays = _instants((0.0, 200), (8.0, new), (14.5, 1))
    assert _refits(plays, settings) == [_midnight(day) for day in refits]


def test_the_end_of_the_last_day_is_the_last_refit_that_counts(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, **{"features.als.refit_days": 7})
    for last_day in (6.9, 7 - 1e-9, 7.0, 13.0 - 1e-9):
        assert _refits(_instants((0.0, 200), (last_day, 9)), settings) == [_midnight(7)]
    assert _refits(_instants((0.0, 200), (3.0, 9)), settings) == [NEVER]


@pytest.mark.parametrize("end", range(130, 900, 70))
def test_what_comes_later_moves_no_refit_that_came_before(tmp_path: Path, end: int) -> None:
    """Cut a log anywhere: the refits that any play or later instant can have seen by then are the same."""
    instants = LOG.interactions[columns.EVENT_TIMESTAMP]
    settings = settings_for(tmp_path)
    for instant in (instants[end], instants[end].replace(minute=0, second=0, microsecond=0)):
        whole = [cutoff for cutoff in _refits(instants, settings) if cutoff <= instant]
        cut = _refits(instants.filter(instants < instant), settings)
        assert [cutoff for cutoff in cut if cutoff <= instant] == whole


def test_too_few_plays_for_any_refit_are_fitted_but_never_seen(tmp_path: Path) -> None:
    assert _refits(_instants((0.5, 100)), settings_for(tmp_path)) == [NEVER]


def test_no_plays_at_all_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rows"):
        _refits(pl.Series([], dtype=INSTANT), settings_for(tmp_path))


@pytest.mark.parametrize("done", [0, 1, 2])
def test_going_on_from_a_fit_gives_the_bits_of_fitting_all(tmp_path: Path, done: int) -> None:
    settings = _settings(tmp_path)
    whole = list(biased_fits(_log(CUTOFFS), settings))
    assert _same(list(biased_fits(_log(CUTOFFS), settings, whole[done])), whole[done + 1 :])


def _factors(settings: Settings) -> tuple[pl.DataFrame, pl.DataFrame]:
    users, videos = (
        pl.read_parquet(settings.paths.feature_source(view))
        for view in (columns.USER_FACTORS, columns.VIDEO_FACTORS)
    )
    return users, videos


def test_another_night_keeps_the_fits_whose_plays_are_the_same(tmp_path: Path) -> None:
    """And gives, to the last bit, what a home that starts anew gives."""
    made, anew = (_settings(tmp_path / name) for name in ("made", "anew"))
    LOG.with_interactions(LOG.interactions.filter(pl.col(columns.EVENT_TIMESTAMP) < _midnight(6))).write(made)
    first = build_factors(made)
    assert first.summary["als_refits_kept"] == 0
    for settings in (made, anew):
        LOG.write(settings)
    second = build_factors(made)
    assert second.summary["als_refits_kept"] == first.summary["als_refits"] > 1
    assert second.summary["als_refits"] >= 1
    build_factors(anew)
    for one, other in zip(_factors(made), _factors(anew), strict=True):
        assert one.equals(other)


def test_a_play_that_comes_late_makes_the_fits_after_it_new(tmp_path: Path) -> None:
    made, anew = (_settings(tmp_path / name) for name in ("made", "anew"))
    instants = LOG.interactions[columns.EVENT_TIMESTAMP]
    late = instants.search_sorted(_midnight(4), side="left")
    LOG.with_interactions(LOG.interactions[:late].vstack(LOG.interactions[late + 1 :])).write(made)
    first = build_factors(made)
    LOG.write(made)
    LOG.write(anew)
    second = build_factors(made)
    assert 0 < second.summary["als_refits_kept"] < first.summary["als_refits"]
    build_factors(anew)
    for one, other in zip(_factors(made), _factors(anew), strict=True):
        assert one.equals(other)


def _arrives(plays: pl.DataFrame, night: int) -> pl.DataFrame:
    """These plays, delivered on a night; on night 0 by the raw file."""
    arrived = ALWAYS_KNOWN if night == 0 else midnight(FIRST_DAY + timedelta(days=100 + night))
    return plays.with_columns(pl.lit(arrived, dtype=INSTANT).alias(columns.CREATED_TIMESTAMP))


def _arrivals(night_of: np.ndarray) -> pl.DataFrame:
    """The log, each of whose plays arrives on some night."""
    nights = (LOG.interactions.filter(pl.Series(night_of == night)) for night in np.unique(night_of).tolist())
    return pl.concat([_arrives(plays, night) for night, plays in enumerate(nights)])


def _late(count: int) -> np.ndarray:
    """Some plays of the third day arrive on the next night, those of the last days too; the rest at once."""
    night_of = np.where(LOG.interactions[columns.EVENT_TIMESTAMP] < _midnight(6), 0, 1)
    third = LOG.interactions[columns.EVENT_TIMESTAMP].search_sorted(_midnight(3), side="left") - count
    night_of[third : third + count] = 1
    return night_of


def test_few_late_plays_wait_for_the_next_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits that were made stay, the next one sees the plays, and a home that starts anew has the same."""
    monkeypatch.setattr(late_plays, "WAITING_SHARE", 0.01)
    made, anew, without = (_settings(tmp_path / name) for name in ("made", "anew", "without"))
    arrivals = _arrivals(_late(2))
    known = pl.col(columns.CREATED_TIMESTAMP) == ALWAYS_KNOWN
    LOG.with_interactions(arrivals.filter(known)).write(made)
    first = build_factors(made)
    before = _factors(made)
    for settings in (made, anew):
        LOG.with_interactions(arrivals).write(settings)
    second = build_factors(made)
    assert second.summary["als_refits_kept"] == first.summary["als_refits"] > 1
    assert second.summary["als_refits"] >= 1
    build_factors(anew)
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    for one, other, old in zip(_factors(made), _factors(anew), before, strict=True):
        assert one.equals(other)
        assert one.filter(stamp <= old[columns.EVENT_TIMESTAMP].max()).equals(old)
    late = arrivals.filter(~known & (stamp < _midnight(3)))
    assert late.height == 2
    never = arrivals.join(late, on=[columns.USER_ID, columns.VIDEO_ID, columns.EVENT_TIMESTAMP], how="anti")
    LOG.with_interactions(never).write(without)
    build_factors(without)
    assert not any(one.equals(other) for one, other in zip(_factors(made), _factors(without), strict=True))


def test_the_day_before_a_cutoff_never_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days that arrive one by one give the fits of a log that arrived at once, however long the log is."""
    monkeypatch.setattr(late_plays, "WAITING_SHARE", 1_000)
    daily, at_once = (_settings(tmp_path / name) for name in ("daily", "at_once"))
    seconds = (LOG.interactions[columns.EVENT_TIMESTAMP] - midnight(FIRST_DAY)).dt.total_seconds()
    LOG.with_interactions(_arrivals((seconds // 86_400).to_numpy())).write(daily)
    LOG.with_interactions(_arrives(LOG.interactions, 0)).write(at_once)
    for settings in (daily, at_once):
        build_factors(settings)
    for one, other in zip(_factors(daily), _factors(at_once), strict=True):
        assert one.equals(other)


def test_a_day_whose_plays_were_all_rejected_changes_no_fit(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    LOG.with_interactions(_arrives(LOG.interactions, 0)).write(settings)
    build_factors(settings)
    before = _factors(settings)
    empty = day_file(settings.paths.interactions, FIRST_DAY - 3 * _DAY)
    empty.parent.mkdir()
    _arrives(LOG.interactions.clear(), 0).write_parquet(empty)
    build_factors(settings)
    for one, other in zip(_factors(settings), before, strict=True):
        assert one.equals(other)


def test_late_plays_that_are_more_than_a_few_make_the_fits_after_them_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_plays, "WAITING_SHARE", 0.01)
    made, at_once = (_settings(tmp_path / name) for name in ("made", "at_once"))
    arrivals = _arrivals(_late(20))
    LOG.with_interactions(arrivals.filter(pl.col(columns.CREATED_TIMESTAMP) == ALWAYS_KNOWN)).write(made)
    first = build_factors(made)
    LOG.with_interactions(arrivals).write(made)
    assert build_factors(made).summary["als_refits_kept"] < first.summary["als_refits"]
    LOG.write(at_once)
    build_factors(at_once)
    for one, other in zip(_factors(made), _factors(at_once), strict=True):
        assert one.equals(other)


@pytest.mark.parametrize("seed", range(3))
def test_fits_of_any_nights_are_those_of_a_home_that_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Most plays arrive with their day, some later: the fits follow from what arrived when."""
    monkeypatch.setattr(late_plays, "WAITING_SHARE", 0.02)
    random = np.random.default_rng(seed)
    stamps = LOG.interactions[columns.EVENT_TIMESTAMP]
    day = sum((stamps >= _midnight(n)).cast(pl.Int64).to_numpy() for n in range(1, 9))
    is_late = random.random(len(stamps)) < 0.02
    night_of = np.minimum(
        np.maximum(day - 3, 0) + np.where(is_late, random.integers(1, 4, len(stamps)), 0), 5
    )
    arrivals = _arrivals(night_of)
    made, anew = (_settings(tmp_path / name) for name in ("made", "anew"))
    kept = []
    for arrived in arrivals[columns.CREATED_TIMESTAMP].unique().sort():
        LOG.with_interactions(arrivals.filter(pl.col(columns.CREATED_TIMESTAMP) <= arrived)).write(made)
        kept.append(build_factors(made).summary["als_refits_kept"])
    assert max(kept) > 1
    LOG.with_interactions(arrivals).write(anew)
    build_factors(anew)
    for one, other in zip(_factors(made), _factors(anew), strict=True):
        assert one.equals(other)


def test_a_fit_that_waits_for_no_play_depends_on_no_later_arrival(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A play before the cutoff that arrives later, and waits, moves no bit of the fit."""
    monkeypatch.setattr(late_plays, "WAITING_SHARE", 0.01)
    found = []
    for name, ratio in (("one", 0.1), ("other", 4.0)):
        settings = _settings(tmp_path / name)
        changed = pl.when(pl.col(columns.CREATED_TIMESTAMP) > ALWAYS_KNOWN).then(pl.lit(ratio, pl.Float32))
        ratios = changed.otherwise(pl.col(columns.WATCH_RATIO)).alias(columns.WATCH_RATIO)
        LOG.with_interactions(_arrivals(_late(2)).with_columns(ratios)).write(settings)
        build_factors(settings)
        found.append(_factors(settings))
    for one, other in zip(*found, strict=True):
        until = pl.col(columns.EVENT_TIMESTAMP) <= _midnight(6)
        assert one.filter(until).equals(other.filter(until)) and not one.equals(other)
