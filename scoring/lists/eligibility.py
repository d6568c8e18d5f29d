"""Finds who gets a list and from which videos, as of an instant; these rules are defined nowhere else."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore

from nightreel.core import columns
from nightreel.core.catalogue.entries import GROUPS
from nightreel.core.errors import InputError
from nightreel.core.play_days import newest_in, newest_of, require_plays
from nightreel.core.settings import DataSettings, ListSettings, Paths
from nightreel.core.settings.needs import ListNeeds, NightNeeds
from pipelines.features.past_plays import PastPlays
from pipelines.local_days import INSTANT, ends_of_days
from pipelines.model_rows.listable import FIRST_KNOWN, first_known
from scoring.lists.candidates import About, Candidates, Cap
from scoring.lists.played_bits import add_played
from scoring.lists.rules.of_night import rules_of_night
from scoring.lists.rules.owner import OwnerRule
from scoring.lists.rules.repeats import Repeats
from scoring.lists.seen_bits import SeenBits

_PUBLIC = "public"
_ADVERTISEMENT = "AD"
_DESCRIPTION = (
    columns.VISIBLE_STATUS,
    columns.VIDEO_TYPE,
    columns.UPLOAD_DATE,
    columns.AUTHOR_ID,
    columns.VIDEO_TAG,
    columns.VIDEO_LENGTH,
)
_UPLOADED = pl.coalesce(pl.col(columns.UPLOAD_DATE).cast(INSTANT), FIRST_KNOWN)
_BATCH_ROWS = 262_144  # of interactions in memory at a time


def default_as_of(paths: Paths, settings: DataSettings, now: datetime) -> datetime:
    """The end of the interactions' last local day, or `now` if that is earlier."""
    newest = newest_of(require_plays(paths.interactions), columns.EVENT_TIMESTAMP)
    if newest is None:
        raise InputError(f"{paths.interactions}: no interactions.", "Ingest a log first.")
    end: datetime = ends_of_days(pl.Series([newest], dtype=INSTANT), settings.zone)[0]
    return min(end, now)


@dataclass(frozen=True)
class Exclusions:
    """Exclusions that the database's own tables have for a night's lists.

    Attributes:
        blocklist: int64, ascending, videos that are in no list.
        skip_user: int64, ascending, users without a list.
        rules: those of `list_rule`, in force or not.
        repeats: what earlier nights listed and the user did not play; None if the settings ignore that.
    """

    blocklist: np.ndarray
    skip_user: np.ndarray
    rules: tuple[OwnerRule, ...] = ()
    repeats: Repeats | None = None


NOBODY = Exclusions(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))


def find_candidates(
    settings: NightNeeds,
    store: FeatureStore,
    as_of: datetime,
    exclusions: Exclusions = NOBODY,
    *,
    batch_rows: int = _BATCH_ROWS,
    profiles_at: datetime | None = None,
    plays: pl.DataFrame | None = None,
    read_now: bool = False,
) -> Candidates:
    """The users who get a list as of an instant, and the eligible videos.

    Users are all of the user file, and all who played before the instant, except those to skip. What they
    have seen stays in the file where the features keep it, if that has it all; otherwise it takes one bit per
    user and video of memory, and `batch_rows` interactions at a time.

    Args:
        profiles_at: use the categories, which have no event time, that had arrived by then; by default as_of.
        plays: the log, if it is in memory already.
        read_now: read what was seen into memory, as the home will be gone when other processes make lists.

    Raises:
        InputError: nothing had happened by then, or no user or no video is left.
    """
    videos = _listable_videos(settings, store, as_of, exclusions.blocklist, profiles_at or as_of)
    video_id = videos[columns.VIDEO_ID].to_numpy()
    past = PastPlays.of(settings, as_of) if plays is None else None
    kept = past.kept.pairs if past is not None and past.kept is not None else None
    rest = past.rest if past is not None else ()
    before = partial(_plays_before, play_batches(settings.paths, plays, batch_rows, rest), as_of)
    active = _distinct(user for (user,) in before(columns.USER_ID))
    if kept is not None:
        active = np.union1d(kept.user_ids, active)
    if not len(active):
        raise InputError(
            f"as-of {as_of.isoformat()}: no interaction is earlier.",
            "Choose an instant after the first play.",
        )
    users = pl.read_parquet(settings.paths.table("users"), columns=[columns.USER_ID])
    user_id = np.setdiff1d(np.union1d(users[columns.USER_ID].to_numpy(), active), exclusions.skip_user)
    if not len(user_id):
        raise InputError("Every user is to be skipped.", "Take some out of the table skip_user.")

    def played_since(since: datetime | None) -> SeenBits:
        found = SeenBits.none(len(user_id), len(video_id))
        if since is None and kept is not None:
            found = SeenBits(kept.rows_of(user_id), kept.over(video_id))
            if not rest and not read_now:
                return found
            found = found.in_memory()
        # The kept pairs do not say when.
        files = rest if since is None or plays is not None else _newer_files(settings.paths, since)
        batches = play_batches(settings.paths, plays, batch_rows, files)
        asked = (columns.USER_ID, columns.VIDEO_ID)
        add_played(found.rows, _plays_before(batches, as_of, *asked, since=since), user_id, video_id)
        return found

    days = settings.lists.exclude.seen_days
    seen, played = SeenBits.none(len(user_id), len(video_id)), None
    if settings.lists.exclude.seen:
        seen = played_since(None if days is None else as_of - timedelta(days=days))
    if settings.notes_repeats and not settings.lists.exclude.is_new_only:
        played = played_since(None)
    return Candidates(
        user_id,
        np.isin(user_id, active),
        video_id,
        seen,
        _caps(settings.lists, videos),
        about := _about(videos),
        rules_of_night(settings, exclusions.rules, as_of, video_id, about),
        exclusions.repeats,
        played,
    )


def _caps(settings: ListSettings, videos: pl.DataFrame) -> tuple[Cap, ...]:
    """The caps that are set; a negative id, KuaiRec's word for unknown, is not a group."""
    asked = (
        ("[lists.max_per] author", settings.max_per.author, columns.AUTHOR_ID),
        ("[lists.max_per] category", settings.max_per.category, columns.CATEGORY_LEVELS[0]),
    )
    return tuple(
        Cap(setting, most, videos[name].cast(pl.Int64).fill_null(-1).to_numpy())
        for setting, most, name in asked
        if most is not None
    )


def _about(videos: pl.DataFrame) -> About:
    groups = {
        group.join_key: videos[str(group.of_video)].cast(pl.Int64).fill_null(-1).to_numpy()
        for group in GROUPS
    }
    uploaded = videos.select(_UPLOADED).to_series()
    return About(groups, uploaded.dt.timestamp("us").to_numpy())


def described_videos(
    paths: Paths, settings: DataSettings, store: FeatureStore, as_of: datetime, profiles_at: datetime
) -> pl.DataFrame:
    """The videos known as of the instant, by id, with the columns that the listing rules need.

    A video with unknown upload is as old as the first record of it.
    """
    known = first_known(paths, settings, as_of).collect()
    if known.is_empty():
        raise InputError(
            f"as-of {as_of.isoformat()}: no video was known then.",
            "Choose an instant after the end of the data's first day.",
        )
    described = known
    for names, at in ((_DESCRIPTION, as_of), (columns.CATEGORY_LEVELS, profiles_at)):
        stamped = known.select(columns.VIDEO_ID, pl.lit(at, dtype=INSTANT).alias(columns.EVENT_TIMESTAMP))
        joined: pa.Table = store.get_historical_features(
            entity_df=stamped.to_arrow(), features=[f"{columns.VIDEO_PROFILE}:{name}" for name in names]
        ).to_arrow()
        described = described.with_columns(pl.Series(name, joined.column(name)) for name in names)
    return described


def listing_rules(settings: ListSettings, as_of: datetime, blocklist: np.ndarray) -> dict[str, pl.Expr]:
    """Each listing rule in force, by name, as a condition; a video is eligible if it meets all of them."""
    rules = {"blocklist": ~pl.col(columns.VIDEO_ID).is_in(blocklist.tolist())}
    if settings.exclude.not_public:
        # Unknown counts as public.
        rules["not_public"] = pl.col(columns.VISIBLE_STATUS).fill_null(_PUBLIC) == _PUBLIC
    if settings.exclude.advertisements:
        rules["advertisements"] = pl.col(columns.VIDEO_TYPE).ne_missing(_ADVERTISEMENT)
    if settings.exclude.max_age_days is not None:
        oldest = as_of - timedelta(days=settings.exclude.max_age_days)
        rules["max_age_days"] = pl.lit(oldest, dtype=INSTANT) <= _UPLOADED
    return rules


def _listable_videos(
    settings: ListNeeds, store: FeatureStore, as_of: datetime, blocklist: np.ndarray, profiles_at: datetime
) -> pl.DataFrame:
    described = described_videos(settings.paths, settings.data, store, as_of, profiles_at)
    listable = described.filter(*listing_rules(settings.lists, as_of, blocklist).values())
    if listable.is_empty():
        raise InputError(
            f"as-of {as_of.isoformat()}: of {described.height} known videos none may be listed.",
            "Allow more: [lists.exclude] not_public, advertisements, max_age_days; or the table blocklist.",
        )
    return listable


def _newer_files(paths: Paths, instant: datetime) -> list[Path]:
    """The files of the days that have a play of this instant or later."""
    newest = ((path, newest_in(path, columns.EVENT_TIMESTAMP)) for path in require_plays(paths.interactions))
    return [path for path, last in newest if last is not None and last >= instant]


def _distinct(batches: Iterable[np.ndarray]) -> np.ndarray:
    found: np.ndarray = np.zeros(0, dtype=np.int64)
    for batch in batches:
        found = np.union1d(found, pl.Series(batch).unique().to_numpy())
    return found


def play_batches(
    paths: Paths,
    plays: pl.DataFrame | None = None,
    batch_rows: int = _BATCH_ROWS,
    files: Sequence[Path] | None = None,
) -> Callable[[Sequence[str]], Iterator[pl.DataFrame]]:
    """A function that reads columns of the interactions in batches, from memory or from their table.

    Args:
        files: of some days, in order; by default of all.
    """

    def batches(names: Sequence[str]) -> Iterator[pl.DataFrame]:
        if plays is not None:
            yield from plays.select(names).iter_slices(batch_rows)
            return
        for path in require_plays(paths.interactions) if files is None else files:
            for batch in pq.ParquetFile(path).iter_batches(batch_rows, columns=list(names)):
                yield pl.DataFrame(batch)

    return batches


def _plays_before(
    batches: Callable[[Sequence[str]], Iterator[pl.DataFrame]],
    as_of: datetime,
    *names: str,
    since: datetime | None = None,
) -> Iterator[tuple[np.ndarray, ...]]:
    """These int64 columns of the interactions strictly before the instant, and from `since` on; in batches.

    The table is sorted by time, so reading ends where the instant is reached.
    """
    for batch in batches([*names, columns.EVENT_TIMESTAMP]):
        stamps = batch[columns.EVENT_TIMESTAMP].cast(INSTANT)
        earlier = int(stamps.search_sorted(as_of, side="left"))
        first = 0 if since is None else int(stamps.search_sorted(since, side="left"))
        if first < earlier:
            yield tuple(batch[name].to_numpy()[first:earlier] for name in names)
        if earlier < batch.height:
            return
