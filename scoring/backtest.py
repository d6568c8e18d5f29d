"""The lists of the last days as they would have been published: by the same code, from what was known then.

No ranker has seen a play of these days: the champion's hold-out covers them, or a version brings rankers of
its own for this (folder `backtest`). What a user had played before is never listed, whatever `exclude_seen`
says, as only other videos are judged; who or what the owner keeps off today's lists does not count.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from feast import FeatureStore

from feature_repo.open_store import store as open_store
from nightreel import columns
from nightreel.artefacts import StepRecord, StepResult, fingerprint, fingerprint_of_files, written_whole
from nightreel.errors import InputError
from nightreel.logs import progress
from nightreel.settings import Settings
from pipelines import model_registry
from pipelines.backtest_files import DEPTH, HYBRID, Backtest, BacktestDay, contents_file, lists_file
from pipelines.labels import LengthBuckets
from pipelines.local_days import INSTANT, end_of_day, start_of_day
from pipelines.model_registry import ModelVersion
from pipelines.rankers import HybridRanker
from pipelines.rankers.objective import NEXT_DAY, has_backtest, objective_of
from pipelines.rankers.sides import sides_as_of
from pipelines.rankers.slices import log_days
from scoring.candidates import Candidates
from scoring.eligibility import find_candidates, interactions_file
from scoring.lists import Lists
from scoring.popularity import POPULARITIES, LikedPlays, one_list_for_all
from scoring.publish import LIST_SETTINGS, list_inputs
from scoring.score_model import lists_of_model

_INPUTS = b"nightreel.inputs"  # in a file's metadata: what it was made of
_LABEL_SETTINGS = {"label", "like_threshold", "like_quantile"}
_RANK = "rank"


@dataclass(frozen=True)
class PastNight:
    """What every system makes the lists of one past day from. settings: as for publishing, but see above."""

    day: BacktestDay
    candidates: Candidates
    store: FeatureStore
    settings: Settings

    @property
    def depth(self) -> int:
        """How long the lists are to be: never longer than the catalogue."""
        return min(DEPTH, len(self.candidates.video_id))


# A system makes lists of a night: user_id, rank, video_id, some users at a time.
System = Callable[[PastNight], Iterable[pl.DataFrame]]


def backtest(settings: Settings, *, force: bool = False) -> StepResult:
    """Make the lists of the last `backtest_days` days as of each day's start, to `data/backtest`.

    A file whose inputs are the same is left as it is, so what was stopped goes on from there. Raises
    InputError where no model is trained, or tables or features are missing.
    """
    model = model_registry.champion(settings)
    read = list_inputs(settings)
    record = StepRecord(settings.paths.state / "backtest.json")
    names = LIST_SETTINGS | _LABEL_SETTINGS
    inputs = {
        "files": fingerprint_of_files(read),
        "settings": settings.model_dump(include=names),
        "model": model.version,
    }
    current = fingerprint(**inputs, days=settings.backtest_days)
    wrote = contents_file(settings)
    if not force and record.is_done(current):
        return StepResult("backtest", True, (*read, model.folder), (wrote,), record.summary())
    record.forget()
    trained_before = _trained_before(model)
    known = settings.model_copy(update={"exclude_seen": True, "exclude_seen_days": None})
    nights, remarks = _past_nights(known, trained_before)
    systems = _systems(known, model, LengthBuckets.load(model.folder))
    files = [lists_file(settings, night.day.day, system) for night in nights for system in systems]
    made = 0
    with progress("backtest", total=len(files)) as advance:
        for night in nights:
            for name, system in systems.items():
                of_file = fingerprint(**inputs, system=name, day=night.day.as_of)
                path = lists_file(settings, night.day.day, name)
                if force or not _is_made(path, of_file):
                    _write(path, system(night), of_file)
                    made += 1
                advance()
    _remove_others(settings, files)
    days = tuple(night.day for night in nights)
    contents = Backtest(model.version, trained_before, tuple(systems) if days else (), days, tuple(remarks))
    contents.save(settings)
    summary = {
        "days": [day.day.isoformat() for day in days],
        "systems": list(contents.systems),
        "lists_made": made,
        "trained_before": trained_before.isoformat(),
        **({"remarks": remarks} if remarks else {}),
    }
    record.finish(current, (wrote, *files), summary)
    return StepResult("backtest", False, (*read, model.folder), (settings.paths.backtest,), summary)


def _trained_before(model: ModelVersion) -> datetime:
    """The instant from which on the rankers that make the lists of past days saw no play."""
    data = model.manifest["data"]
    if objective_of(model) == NEXT_DAY and not has_backtest(model.folder):
        # Its log was too short to train another without the last days.
        return datetime.fromisoformat(data["last_play"])
    return datetime.fromisoformat(data["holdout_from"])


def _past_nights(settings: Settings, trained_before: datetime) -> tuple[list[PastNight], list[str]]:
    """The nights before the last days that trained nothing, and what is to be said of the others."""
    instants = pl.read_parquet(interactions_file(settings), columns=[columns.EVENT_TIMESTAMP])
    zone = settings.zone
    days = log_days(instants[columns.EVENT_TIMESTAMP].cast(INSTANT), zone)
    honest = [day for day in days if start_of_day(day, zone) >= trained_before][-settings.backtest_days :]
    remarks = []
    if len(honest) < settings.backtest_days:
        remarks.append(
            f"{len(honest)} of backtest_days = {settings.backtest_days}: the rankers were trained on what "
            f"came before {trained_before.astimezone(zone):%Y-%m-%d}; a new model may give more."
        )
    store = open_store()
    nights = []
    for day in honest:
        as_of = start_of_day(day, zone)
        try:
            candidates = find_candidates(settings, store, as_of)
        except InputError as error:
            remarks.append(f"{day}: no lists. {error}")
            continue
        until = end_of_day(day, zone)
        sizes = (len(candidates.user_id), len(candidates.video_id))
        nights.append(PastNight(BacktestDay(day, as_of, until, *sizes), candidates, store, settings))
    return nights, remarks


def _systems(settings: Settings, model: ModelVersion, buckets: LengthBuckets) -> Mapping[str, System]:
    """What makes lists, by name, in the order of the tables: the published ones first."""
    liked = LikedPlays.count(settings, buckets)

    def hybrid(night: PastNight) -> Iterator[pl.DataFrame]:
        return _as_published(night, model)

    def popularity(value: Callable[[LikedPlays, datetime], np.ndarray]) -> System:
        def system(night: PastNight) -> Iterator[pl.DataFrame]:
            of_videos = value(liked, night.day.as_of)
            return one_list_for_all(night.candidates, liked.video_id, of_videos, night.depth)

        return system

    return {HYBRID: hybrid} | {name: popularity(value) for name, value in POPULARITIES.items()}


def _as_published(night: PastNight, model: ModelVersion) -> Iterator[pl.DataFrame]:
    """The lists of `score`; beyond top_k they go on with what longer lists would have had."""
    settings, candidates = night.settings, night.candidates
    ranker = HybridRanker.load(model.folder, threads=settings.threads)
    sides = sides_as_of(
        night.store,
        ranker.encoding,
        candidates.user_id,
        candidates.video_id,
        as_of=night.day.as_of,
        zone=settings.zone,
    )
    longer = settings.model_copy(update={"top_k": max(settings.top_k, night.depth)})

    def lists(wanted: Settings) -> Iterator[Lists]:
        return lists_of_model(
            candidates, sides, ranker, model=model, as_of=night.day.as_of, settings=wanted, backtest=True
        )

    blocks = lists(longer)
    if settings.top_k >= night.depth or (settings.filter_k >= night.depth and not candidates.caps):
        # A longer list begins with the shorter one.
        return (_rows(block, night.depth) for block in blocks)
    pairs = zip(lists(settings), blocks, strict=True)
    return (_continued(_rows(short, night.depth), _rows(long, night.depth)) for short, long in pairs)


def _rows(lists: Lists, depth: int) -> pl.DataFrame:
    rows = {columns.USER_ID: lists.user_id, _RANK: lists.rank, columns.VIDEO_ID: lists.video_id}
    return pl.DataFrame(rows).filter(pl.col(_RANK) <= depth)


def _continued(lists: pl.DataFrame, longer: pl.DataFrame) -> pl.DataFrame:
    """The lists, and after each of them what the longer list of the same user has besides."""
    whole = pl.concat([lists.with_columns(part=0), longer.with_columns(part=1)])
    ordered = whole.sort(columns.USER_ID, "part", _RANK).unique(
        [columns.USER_ID, columns.VIDEO_ID], keep="first", maintain_order=True
    )
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over(columns.USER_ID)
    depth = longer.group_by(columns.USER_ID).agg(pl.col(_RANK).max().alias("depth"))
    return (
        ordered.with_columns(rank.alias(_RANK))
        .join(depth, on=columns.USER_ID, how="left", maintain_order="left")
        .filter(pl.col(_RANK) <= pl.col("depth"))
        .select(lists.columns)
    )


def _is_made(path: Path, inputs: str) -> bool:
    """Whether lists of these inputs stand there whole."""
    try:
        found = pq.read_metadata(path).metadata or {}
    except (OSError, ValueError):
        return False
    return bool(found.get(_INPUTS) == inputs.encode())


def _write(path: Path, blocks: Iterable[pl.DataFrame], inputs: str) -> None:
    lists = pl.concat(list(blocks)).to_arrow()
    with written_whole(path) as temporary:
        pq.write_table(lists.replace_schema_metadata({_INPUTS: inputs}), temporary, compression="zstd")


def _remove_others(settings: Settings, files: Iterable[Path]) -> None:
    """Lists of days and systems that are judged no more are removed: nothing stale is left to be read."""
    kept = set(files)
    for path in settings.paths.backtest.glob("*/*.parquet"):
        if path not in kept:
            path.unlink()
    for folder in settings.paths.backtest.iterdir():
        if folder.is_dir() and not any(folder.glob("*.parquet")):
            shutil.rmtree(folder)
