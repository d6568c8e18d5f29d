"""Text columns: words learnt from videos known at the cutoff only; 50 dimensions; always the same bits."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines.collaborative import refit_cutoffs
from pipelines.features import build_features
from pipelines.text import build_text, documents_of, text_features
from tests.fixtures.small_log import FIRST_DAY, SHANGHAI, SmallLog, make_log, midnight, settings_for
from tests.fixtures.tables import plays_of_days

# Videos appear until the last day; the refit comes when about half of them are known.
LOG = make_log(7, videos=150, plays=900)
CUTOFF = midnight(FIRST_DAY + timedelta(days=7))


def _settings(home: Path, **changes: object) -> Settings:
    return settings_for(home, **{"features.als.refit_days": 6, **changes})


def _text(log: SmallLog, settings: Settings) -> pl.DataFrame:
    log.write(settings)
    build_text(settings)
    return pl.read_parquet(settings.paths.feature_source(columns.VIDEO_TEXT))


def _captions(texts: list[str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            columns.VIDEO_ID: range(len(texts)),
            columns.MANUAL_COVER_TEXT: [None] * len(texts),
            columns.CAPTION: texts,
            columns.TOPIC_TAGS: [[] for _ in texts],
        },
        schema_overrides={
            columns.MANUAL_COVER_TEXT: pl.String,
            columns.CAPTION: pl.String,
            columns.TOPIC_TAGS: pl.List(pl.String),
        },
    )


def _cutoff(log: SmallLog, settings: Settings) -> datetime:
    return refit_cutoffs(
        plays_of_days(log.interactions, settings.data.zone), settings.data, settings.features
    )[0]


def _known(log: SmallLog, cutoff: datetime) -> set[int]:
    """Videos with a play, or the record of an ended day, before the cutoff; in plain Python."""
    played = {
        play[columns.VIDEO_ID]
        for play in log.interactions.to_dicts()
        if play[columns.EVENT_TIMESTAMP] < cutoff
    }
    recorded = {
        record[columns.VIDEO_ID]
        for record in log.video_daily.to_dicts()
        if midnight(record[columns.LOCAL_DATE] + timedelta(days=1)) <= cutoff
    }
    return played | recorded


def test_the_text_of_a_video_not_known_at_the_cutoff_changes_no_other_videos_columns(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    known = _known(LOG, _cutoff(LOG, settings))
    is_known = pl.col(columns.VIDEO_ID).is_in(known)
    later = LOG.video_captions.filter(~is_known)
    assert len(known) >= 50 and later.height >= 50
    before = _text(LOG, settings)
    other = LOG.video_captions.with_columns(
        pl.when(is_known).then(columns.CAPTION).otherwise(pl.lit("猫猫狗狗新词语")).alias(columns.CAPTION)
    )
    after = _text(SmallLog(LOG.interactions, LOG.video_daily, LOG.users, other), settings)
    assert before.filter(is_known).equals(after.filter(is_known))
    assert not before.filter(~is_known).equals(after.filter(~is_known))


def test_the_text_of_every_video_known_at_the_cutoff_counts(tmp_path: Path) -> None:
    """One that was played a microsecond before it, and one whose first recorded day ended right then, too."""
    settings = _settings(tmp_path)
    cutoff = _cutoff(LOG, settings)
    known = _known(LOG, cutoff)
    played_last = LOG.interactions.tail(1).with_columns(
        pl.lit(8_001, pl.Int64).alias(columns.VIDEO_ID),
        pl.lit(cutoff - timedelta(microseconds=1), pl.Datetime("us", "UTC")).alias(columns.EVENT_TIMESTAMP),
    )
    day = (cutoff - timedelta(hours=1)).astimezone(SHANGHAI).date()
    recorded_last = LOG.video_daily.tail(1).with_columns(
        pl.lit(8_002, pl.Int64).alias(columns.VIDEO_ID), pl.lit(day).alias(columns.LOCAL_DATE)
    )
    new = LOG.video_captions.head(2).with_columns(pl.Series(columns.VIDEO_ID, [8_001, 8_002]))
    daily = pl.concat([LOG.video_daily, recorded_last])
    log = SmallLog(
        LOG.with_interactions(pl.concat([LOG.interactions, played_last])).interactions,
        daily,
        LOG.users,
        pl.concat([LOG.video_captions, new]),
    )
    assert _cutoff(log, settings) == cutoff
    before = _text(log, settings).filter(pl.col(columns.VIDEO_ID).is_in(known))
    for video in (8_001, 8_002):
        caption = (
            pl.when(pl.col(columns.VIDEO_ID) == video).then(pl.lit("猫猫狗狗吃饭")).otherwise(columns.CAPTION)
        )
        other = log.video_captions.with_columns(caption.alias(columns.CAPTION))
        after = _text(SmallLog(log.interactions, log.video_daily, log.users, other), settings)
        assert not before.equals(after.filter(pl.col(columns.VIDEO_ID).is_in(known))), video


def test_every_video_has_fifty_numbers_from_the_first_refit_on(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    text = _text(LOG, settings)
    assert text.columns == [columns.VIDEO_ID, columns.EVENT_TIMESTAMP, *(f"tfidf_{i}" for i in range(50))]
    assert set(text.dtypes[2:]) == {pl.Float32}
    assert text[columns.VIDEO_ID].to_list() == LOG.video_captions[columns.VIDEO_ID].sort().to_list()
    assert text[columns.EVENT_TIMESTAMP].unique().to_list() == [_cutoff(LOG, settings)]
    values = text.drop(columns.EVENT_TIMESTAMP, columns.VIDEO_ID).drop_nulls().to_numpy()
    assert np.isfinite(values).all() and (values != 0).any(axis=0).all()


def test_the_same_text_gives_the_same_bits_whatever_the_threads(tmp_path: Path) -> None:
    first = _text(LOG, _settings(tmp_path / "first"))
    again = _text(LOG, _settings(tmp_path / "again", threads=2))
    assert first.equals(again)
    shuffled = SmallLog(
        LOG.interactions,
        LOG.video_daily,
        LOG.users,
        LOG.video_captions.sample(fraction=1, shuffle=True, seed=1),
    )
    assert _text(shuffled, _settings(tmp_path / "shuffled")).equals(first)


def test_like_texts_are_near_and_unlike_ones_far() -> None:
    """Chinese without spaces: the words are found, in simplified text with hash signs and Latin beside."""
    cats = [f"可爱的小猫咪在睡觉#{i}" for i in range(8)]
    food = [f"家常红烧肉做法vlog{i}" for i in range(8)]
    captions = _captions([*cats, *food, "我家猫咪睡觉了", "红烧肉的做法", "", None])
    known = captions[columns.VIDEO_ID].head(16)
    text = text_features(documents_of(captions), known, CUTOFF, seed=1)
    vectors = text.drop(columns.VIDEO_ID, columns.EVENT_TIMESTAMP)
    values = vectors.to_numpy()
    cat, meat = values[16], values[17]
    assert cat @ values[0] > 3 * abs(cat @ values[8])
    assert meat @ values[8] > 3 * abs(meat @ values[0])
    assert np.isnan(values[18:]).all()  # no text: null, not zero


@pytest.mark.parametrize("texts", [[], ["猫"], ["猫", "狗", "饭"], [None, "", None, ""], ["猫猫"] * 5])
def test_too_little_text_to_learn_from_is_no_error(texts: list[str | None]) -> None:
    captions = _captions(texts)
    text = text_features(documents_of(captions), captions[columns.VIDEO_ID], CUTOFF, seed=1)
    assert text.height == len(texts)
    assert len(text.columns) == 2 + columns.TEXT_DIMENSIONS


def test_cover_caption_and_tags_all_count(tmp_path: Path) -> None:
    for column, other in (
        (columns.MANUAL_COVER_TEXT, pl.lit("海边旅行")),
        (columns.CAPTION, pl.lit("海边旅行")),
        (columns.TOPIC_TAGS, pl.lit(["海边", "旅行"])),
    ):
        settings = _settings(tmp_path / column)
        before = _text(LOG, settings)
        first = pl.int_range(pl.len()) == 0
        captions = LOG.video_captions.with_columns(pl.when(first).then(other).otherwise(column).alias(column))
        after = _text(SmallLog(LOG.interactions, LOG.video_daily, LOG.users, captions), settings)
        assert not before.head(1).equals(after.head(1)), column


def test_another_night_without_new_texts_keeps_the_source(tmp_path: Path) -> None:
    """New plays after the cutoff change nothing; a new text, or a play that makes a video known, does."""
    settings = _settings(tmp_path)
    source = settings.paths.feature_source(columns.VIDEO_TEXT)
    first_nights = LOG.interactions.head(LOG.interactions.height - 50)
    assert _cutoff(LOG.with_interactions(first_nights), settings) == _cutoff(LOG, settings)
    before = _text(LOG.with_interactions(first_nights), settings)
    written = source.stat().st_mtime_ns
    assert _text(LOG, settings).equals(before)
    assert source.stat().st_mtime_ns == written
    assert build_text(settings).skipped
    assert not build_text(settings, force=True).skipped
    assert source.stat().st_mtime_ns != written
    source.unlink()
    assert _text(LOG, settings).equals(before)


def test_a_log_without_enough_plays_for_a_refit_has_no_text_that_a_row_sees(tmp_path: Path) -> None:
    """Nor factors: both wait for the first refit, and where there is none the join gives null."""
    settings = _settings(tmp_path, **{"features.als.factors": 64})
    LOG.write(settings)
    said = build_features(settings).summary
    assert (said["als_refits"], said["als_cutoffs"]) == (0, [])
    assert "more than 2,048 plays before it" in said["als_unknown"] and "text_cutoff" not in said
    for view in (columns.VIDEO_TEXT, columns.USER_FACTORS, columns.VIDEO_FACTORS):
        stamps = pl.read_parquet(settings.paths.feature_source(view))[columns.EVENT_TIMESTAMP]
        assert stamps.len() > 0 and stamps.dt.year().unique().to_list() == [2200], view
