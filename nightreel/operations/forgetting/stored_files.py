"""Removes a user from what the steps have written below the home: tables, features, figures, records."""

import os
import shutil
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.checksums import checksum_file, remove_with_checksum
from nightreel.core.errors import InputError
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import DatabaseNeeds
from nightreel.operations.forgetting.identity import Person
from nightreel.operations.forgetting.raw_files import FRIENDS, Removed
from pipelines.ingest.reject_columns import RAW, REASON

_TEXTS = (".json", ".jsonl", ".html", ".csv", ".txt", ".log", ".toml")
# Files with rows of single users that are made again from tables and lists when needed.
_FOLDERS_MADE_AGAIN = ("shared", "replay", "dry-run", "features_from_postgresql", "state/online_rows")
# Records of who was forgotten when, without the user.
RECORDS = "forgotten"
MADE_AGAIN = "folders that are made again"


def remove_from_stored_files(settings: DatabaseNeeds, person: Person, removed: Removed) -> None:
    """Remove the user from every parquet file of the home's data, and remove files derived from them.

    Fitted candidate sources and lists of past days are removed whole: they are made again when needed. So are
    text files that contain the id, except those of models, which hold no users.
    """
    paths = settings.paths
    for folder in (paths.retrieval, paths.backtest, *(paths.data / name for name in _FOLDERS_MADE_AGAIN)):
        if folder.is_dir():
            removed.counts[MADE_AGAIN] += 1
            shutil.rmtree(folder)
    for path in sorted(paths.data.rglob("*")):
        if paths.models in path.parents or not path.is_file():
            continue
        if path.name.startswith(".partial-"):
            path.unlink()
        elif path.suffix == ".parquet":
            _from_parquet(path, person, removed, path.relative_to(paths.data).parts[0])
        elif path.suffix in _TEXTS and _quotes_rows(path, settings.paths):
            _from_text(path, person, removed)


def _quotes_rows(path: Path, paths: Paths) -> bool:
    """Whether a text file may quote rows of data, so that a number in it may be a user."""
    if path.parent == paths.state:
        return path.name.startswith("ingest")
    return path.parent.name != RECORDS


def _from_parquet(path: Path, person: Person, removed: Removed, folder: str) -> None:
    try:
        names = pq.read_schema(path).names
        if not {columns.USER_ID, FRIENDS, RAW} & set(names):
            return
        before = pl.read_parquet(path)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{path}: cannot be read, so nightreel cannot tell whether the user is in it.",
            "Remove it (its step makes it again), then forget again.",
        ) from error
    frame = before
    if columns.USER_ID in names and person.key is not None:
        frame = frame.filter(pl.col(columns.USER_ID).ne_missing(person.key))
    if RAW in names:
        # Rejected rows are kept as text.
        of_person = pl.any_horizontal(
            pl.col(name).cast(pl.String).fill_null("").map_elements(person.is_in, return_dtype=pl.Boolean)
            for name in (RAW, REASON)
            if name in names
        )
        frame = frame.filter(~of_person)
    rows = before.height - frame.height
    if FRIENDS in names and person.key is not None and frame.schema[FRIENDS] == pl.List(pl.Int64):
        friends = pl.col(FRIENDS).list.eval(pl.element().filter(pl.element() != person.key))
        named = frame[FRIENDS].list.contains(person.key).fill_null(value=False)
        if named.any():
            frame = frame.with_columns(pl.when(named).then(friends).otherwise(pl.col(FRIENDS)).alias(FRIENDS))
            removed.counts["lists of friends"] += int(named.sum())
    if frame is before or frame.equals(before):
        return
    with atomic_write(path, checksum=checksum_file(path).exists()) as temporary:
        frame.write_parquet(temporary, statistics=True)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    removed.counts[f"rows of {folder}"] += rows


def _from_text(path: Path, person: Person, removed: Removed) -> None:
    if person.is_in(path.read_text(encoding="utf-8", errors="replace")):
        remove_with_checksum(path)
        removed.counts["files that are made again"] += 1
