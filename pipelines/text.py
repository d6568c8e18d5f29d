"""Text of videos: cover text, caption and tags as 50 numbers, with a vocabulary of videos known in time.

Vocabulary, document frequencies and the reduction are fitted once, at the first ALS refit, on the videos that
were known strictly before it; every video's text is then expressed in them and stamped with that instant. A
text that a delivery brought or changed is stamped with its arrival, and nothing is fitted on it.
So new plays change nothing: a night without new or altered texts keeps the last night's source.

Chinese has no spaces; single characters and pairs of neighbours (char_wb) serve as its words. Measured
against a word segmenter in docs/decisions/text.md.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nightreel.core import columns
from nightreel.core.artefacts import StepRecord, atomic_write, fingerprint
from nightreel.core.play_days import digest_on_record, files_by_day, read_days
from nightreel.core.settings import DataSettings
from nightreel.core.settings.needs import FitNeeds, HomeNeeds
from nightreel.core.steps import Facts, Step, StepResult
from pipelines.collaborative import before_first_refit
from pipelines.known import read_known, require_tables
from pipelines.local_days import ALWAYS_KNOWN, INSTANT, NEVER, end_of_day, ends_of_dates

DOCUMENT = "document"
# Words of fewer videos are too rare to tell what a video is about.
_VIDEOS_MIN = 3


class TextFacts(Facts):
    """Rows of the source, and the instant and the videos that its words were learnt from.

    Both are None if no row may see the texts' features, as the log is too short for an ALS refit.
    """

    video_text_rows: int
    text_cutoff: str | None
    text_videos_known_at_cutoff: int | None

    @property
    def rows_written(self) -> int:
        """Rows of the source."""
        return self.video_text_rows


def build_text(settings: FitNeeds, *, force: bool = False) -> StepResult[TextFacts]:
    """Write the source of `video_text`: video_id, event_timestamp, tfidf_0..49 float32.

    A row per video, and one for each arrival that changed its text.

    Raises:
        InputError: if a table that ingest writes is missing.
    """
    read, file = _read_files(settings), settings.paths.feature_source(columns.VIDEO_TEXT)
    require_tables(read)
    attempt = TEXT.attempt(settings, read, force=force)
    if attempt.known is not None:
        return TEXT.skipped(read, (file,), attempt.known)
    attempt.begin()
    cutoff, plays = before_first_refit(read[0], settings.data, settings.features)
    ended = files_by_day(settings.paths.video_daily).items()
    records = [path for day, path in ended if end_of_day(day, settings.data.zone) <= cutoff]
    documents = documents_of(read_known(settings.paths, "video_captions").versions())
    content = StepRecord(settings.paths.state / "text_content.json")
    # Days before the cutoff are read again only if one of them has changed since.
    days = fingerprint(digests=[digest_on_record(path) for path in (*plays, *records)], cutoff=cutoff)
    summary, known = content.summary(), None
    if summary.get("days") != days:
        known = _known_videos(plays, records, cutoff, settings.data)
        summary = {"days": days, "known": known.len(), "digest": digest_of_keys(known)}
    decisive = digest_of_texts(documents, summary["digest"], cutoff, settings.seed)
    if force or not content.is_done(decisive):
        content.forget()
        if known is None:
            known = _known_videos(plays, records, cutoff, settings.data)
        features = text_features(documents, known, cutoff, seed=settings.seed)
        with atomic_write(file, checksum=True) as temporary:
            features.write_parquet(temporary)
    if known is not None:
        content.finish(decisive, (file,), summary)
    facts = TextFacts(
        video_text_rows=documents.height,
        text_cutoff=None if cutoff == NEVER else cutoff.isoformat(),
        text_videos_known_at_cutoff=None if cutoff == NEVER else summary["known"],
    )
    return attempt.finished(read, (file,), facts, outputs=(file,))


def _known_videos(
    plays: list[Path], records: list[Path], cutoff: datetime, settings: DataSettings
) -> pl.Series:
    """The known videos by these days' files, of plays at least one."""
    daily = pl.DataFrame(schema={columns.VIDEO_ID: pl.Int64, columns.LOCAL_DATE: pl.Date})
    if records:
        daily = read_days(records, daily.columns)
    return known_videos(
        read_days(plays, (columns.VIDEO_ID, columns.EVENT_TIMESTAMP)), daily, cutoff, settings
    )


def known_videos(
    plays: pl.DataFrame, daily: pl.DataFrame, cutoff: datetime, settings: DataSettings
) -> pl.Series:
    """Sorted ids of the videos played before `cutoff`, or with a daily record of a day that had ended."""
    played = plays.filter(pl.col(columns.EVENT_TIMESTAMP) < cutoff)[columns.VIDEO_ID]
    recorded = daily.filter(ends_of_dates(daily[columns.LOCAL_DATE], settings.zone) <= cutoff)
    return pl.concat([played, recorded[columns.VIDEO_ID]]).unique().sort()


def documents_of(captions: pl.DataFrame) -> pl.DataFrame:
    """The texts of every video: video_id, created_timestamp, document; sorted by the first two.

    An empty document where there is none. A version whose text is that of the one before is left out.

    Args:
        captions: the caption table and the rows that were replaced in it; created_timestamp may be missing.
    """
    return versions_of_texts(captions, columns.VIDEO_ID, _document())


def versions_of_texts(rows: pl.DataFrame, key: str, text: pl.Expr) -> pl.DataFrame:
    """The texts of every key: key, created_timestamp, document; a version like the one before is left out.

    Args:
        rows: a table and the rows that were replaced in it; created_timestamp may be missing.
    """
    if columns.CREATED_TIMESTAMP not in rows.columns:
        from_the_start = pl.lit(ALWAYS_KNOWN, dtype=INSTANT).alias(columns.CREATED_TIMESTAMP)
        rows = rows.with_columns(from_the_start)
    changed = pl.struct(key, DOCUMENT)
    return (
        rows.sort(key, columns.CREATED_TIMESTAMP)
        .select(key, columns.CREATED_TIMESTAMP, text.alias(DOCUMENT))
        .filter(changed.ne_missing(changed.shift(1)))
    )


def text_features(
    documents: pl.DataFrame,
    known: pl.Series,
    cutoff: datetime,
    *,
    seed: int,
    key: str = columns.VIDEO_ID,
    names: Sequence[str] = columns.TEXT_FEATURES,
) -> pl.DataFrame:
    """The text columns of every key, stamped with `cutoff`, or with their arrival where that is later.

    Args:
        documents: from `versions_of_texts`.
        known: the keys whose texts, if they had arrived by the cutoff, are learnt from.
        cutoff: UTC.
        key: the name of the key's column.
        names: of the text columns.

    Returns:
        The key, event_timestamp and the text columns (float32), sorted; null for a key without text, or if
        there was too little text to learn from.
    """
    stamp = pl.max_horizontal(columns.CREATED_TIMESTAMP, pl.lit(cutoff, dtype=INSTANT))
    # Among texts that arrived before the cutoff, the last one is in force at the cutoff.
    documents = documents.with_columns(stamp.alias(columns.EVENT_TIMESTAMP)).unique(
        [key, columns.EVENT_TIMESTAMP], keep="last", maintain_order=True
    )
    learnt_from = documents.filter(
        pl.col(columns.CREATED_TIMESTAMP) <= pl.lit(cutoff, dtype=INSTANT),
        pl.col(DOCUMENT) != "",
        pl.col(key).is_in(known.implode()),
    )[DOCUMENT]
    vectors = _vectors(learnt_from.to_list(), documents[DOCUMENT].to_list(), seed, len(names))
    has_text = pl.col(DOCUMENT) != ""
    values = pl.DataFrame(vectors, schema=dict.fromkeys(names, pl.Float32))
    return documents.hstack(values).select(
        key,
        columns.EVENT_TIMESTAMP,
        *(pl.when(has_text).then(name).fill_nan(None).alias(name) for name in names),
    )


def digest_of_keys(known: pl.Series) -> str:
    """A digest of sorted ids."""
    return hashlib.sha256(np.ascontiguousarray(known.to_numpy()).data).hexdigest()


def digest_of_texts(documents: pl.DataFrame, known: str, cutoff: datetime, seed: int) -> str:
    """A digest of everything that the text columns depend on.

    Args:
        known: from `digest_of_keys`, of the keys whose texts are learnt from.
    """
    content = hashlib.sha256("\0".join(documents[DOCUMENT]).encode())
    arrived = documents[columns.CREATED_TIMESTAMP].to_physical()
    for ids in (documents.to_series(0), arrived):
        content.update(np.ascontiguousarray(ids.to_numpy()).data)
    return fingerprint(content=content.hexdigest(), known=known, cutoff=cutoff, seed=seed)


def _document() -> pl.Expr:
    return pl.concat_str(
        pl.col(columns.MANUAL_COVER_TEXT).fill_null(""),
        pl.col(columns.CAPTION).fill_null(""),
        pl.col(columns.TOPIC_TAGS).list.join(" ").fill_null(""),
        separator=" ",
    ).str.strip_chars()


def _vectors(learnt_from: list[str], documents: list[str], seed: int, size: int) -> np.ndarray:
    """Each document as this many numbers, float32; all NaN if there is nothing to learn from."""
    # Imported here, as it takes almost a second, and most nights bring no new text.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    found = np.full((len(documents), size), np.nan, dtype=np.float32)
    words = TfidfVectorizer(
        analyzer="char_wb",
        ngram_range=(1, 2),
        min_df=_VIDEOS_MIN,
        sublinear_tf=True,
        dtype=np.float32,
    )
    if len(learnt_from) < _VIDEOS_MIN:
        return found
    try:
        weights = words.fit_transform(learnt_from)
    except ValueError:  # no word is common enough
        return found
    found[:] = 0.0
    dimensions = min(size, *(n - 1 for n in weights.shape))
    if dimensions < 1:
        return found
    # One BLAS thread, so that the same text gives the same bits. Where all texts are equal, the share of the
    # variance that each dimension explains, which nobody reads, is 0 / 0.
    with threadpool_limits(1), np.errstate(invalid="ignore"):
        reduction = TruncatedSVD(dimensions, random_state=seed).fit(weights)
        found[:, :dimensions] = reduction.transform(words.transform(documents))
    return found


def _read_files(settings: HomeNeeds) -> tuple[Path, ...]:
    return (settings.paths.interactions, settings.paths.video_daily, settings.paths.table("video_captions"))


TEXT: Step[TextFacts] = Step(
    name="text",
    does="Express the videos' texts as numbers.",
    reads=_read_files,
    writes=lambda settings: (settings.paths.feature_source(columns.VIDEO_TEXT),),
    settings=("data.time_zone", "seed", "features.als.refit_days", "features.als.factors"),
    facts=TextFacts,
    run=lambda settings, request: build_text(settings, force=request.force),
)
