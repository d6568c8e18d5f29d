"""Texts of users as numbers, from the columns that `[data.user_columns]` declares as text.

As the text of videos (pipelines/text.py): the vocabulary is fitted once, at the first ALS refit, on the users
who had played strictly before it; every text is stamped with that instant, or with its arrival where later.
"""

from pathlib import Path

import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import StepRecord, atomic_write
from nightreel.core.checksums import remove_with_checksum
from nightreel.core.log_layout import feature_name
from nightreel.core.play_days import read_days
from nightreel.core.settings.needs import FitNeeds, HomeNeeds
from nightreel.core.steps import Step, StepResult
from pipelines.collaborative import before_first_refit
from pipelines.features.facts import ViewFacts
from pipelines.known import read_known, require_tables
from pipelines.text import TEXT, digest_of_keys, digest_of_texts, text_features, versions_of_texts


def build_user_text(settings: FitNeeds, *, force: bool = False) -> StepResult[ViewFacts]:
    """Write the source of `declared_user_text`; remove it if no column is declared as text."""
    path = settings.paths.feature_source(columns.USER_TEXT)
    texts = () if settings.data.log is None else settings.data.log.user_texts
    if not texts:
        if path.is_file():
            remove_with_checksum(path)
        return USER_TEXT.skipped((), (), ViewFacts(rows_of_views={}))
    read = _read_files(settings)
    require_tables(read)
    attempt = USER_TEXT.attempt(settings, read, force=force or not path.is_file(), texts=texts)
    if attempt.known is not None:
        return USER_TEXT.skipped(read, (path,), attempt.known)
    attempt.begin()
    rows = _build(settings, read[0], path, texts, force=force or not path.is_file())
    return attempt.finished(
        read, (path,), ViewFacts(rows_of_views={columns.USER_TEXT: rows}), outputs=(path,)
    )


def _build(settings: FitNeeds, log: Path, path: Path, texts: tuple[str, ...], *, force: bool) -> int:
    cutoff, files = before_first_refit(log, settings.data, settings.features)
    plays = read_days(files, (columns.USER_ID, columns.EVENT_TIMESTAMP))
    known = plays.filter(pl.col(columns.EVENT_TIMESTAMP) < cutoff)[columns.USER_ID].unique().sort()
    named = [pl.col(feature_name("user", column)).fill_null("") for column in texts]
    text = pl.concat_str(named, separator=" ").str.strip_chars()
    documents = versions_of_texts(read_known(settings.paths, "users").versions(), columns.USER_ID, text)
    content = StepRecord(settings.paths.state / "user_text_content.json")
    decisive = digest_of_texts(documents, digest_of_keys(known), cutoff, settings.seed)
    if force or not content.is_done(decisive):
        content.forget()
        features = text_features(
            documents,
            known,
            cutoff,
            seed=settings.seed,
            key=columns.USER_ID,
            names=columns.USER_TEXT_FEATURES,
        )
        with atomic_write(path, checksum=True) as temporary:
            features.write_parquet(temporary)
        content.finish(decisive, (path,), {})
    return documents.height


def _read_files(settings: HomeNeeds) -> tuple[Path, Path]:
    return settings.paths.interactions, settings.paths.table("users")


USER_TEXT: Step[ViewFacts] = Step(
    name="user text",
    does="Turn the texts of users that `[data]` declares into numbers.",
    reads=_read_files,
    writes=lambda settings: (
        (settings.paths.feature_source(columns.USER_TEXT),)
        if settings.data.log is not None and settings.data.log.user_texts
        else ()
    ),
    settings=TEXT.settings,
    facts=ViewFacts,
    run=lambda settings, request: build_user_text(settings, force=request.force),
    record="user_text",
)
