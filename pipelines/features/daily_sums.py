"""What was played on each local day, by user and by video; of another night only the new plays are summed.

On a cluster the plays are cut by time into a piece a core, each summed by a task as if it were a night.

Sums are of whole numbers (watch_ratio in millionths), so they do not depend on the order in which threads
add them up, and old sums plus new ones are the sums of all. The old ones are used where the plays that they
are of are still the log's first, which a digest proves.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write, fingerprint
from nightreel.core.checksums import is_usable
from nightreel.core.cluster import run_all
from nightreel.core.settings import DataSettings, Settings
from pipelines.features.pieces import number_of_pieces
from pipelines.local_days import ends_of_days

PLAYS, LIKED, RATIO, NEW_PAIR = "plays", "liked", "ratio", "new_pair"
RATIO_UNIT = 1_000_000
SETTINGS = {"data.time_zone", "data.like_threshold", "data.long_view_s", "data.watch_ratio_clip"}
_COLUMNS = (
    columns.USER_ID,
    columns.VIDEO_ID,
    columns.EVENT_TIMESTAMP,
    columns.PLAY_DURATION,
    columns.VIDEO_DURATION,
    columns.WATCH_RATIO,
)
_SUMMED = (PLAYS, NEW_PAIR, LIKED, RATIO, columns.PLAY_DURATION)
_PAIR = [columns.USER_ID, columns.VIDEO_ID]
_RECORD = "record.json"


@dataclass(frozen=True)
class DailySums:
    """Sums over the plays of each local day.

    Attributes:
        users, videos: one row per key and local day with a play, sorted; event_timestamp is the day's end.
            Sums, all int64: plays; new_pair (first plays of a user and a video); liked; ratio (watch_ratio in
            millionths); play_duration (ms).
        durations: video_id, event_timestamp, video_duration (ms) of the day's last play.
    """

    users: pl.DataFrame
    videos: pl.DataFrame
    durations: pl.DataFrame

    @classmethod
    def of(cls, plays: pl.DataFrame) -> "DailySums":
        """Sum stamped plays, given in order of time."""
        users, videos = (
            plays.group_by(key, columns.EVENT_TIMESTAMP).agg(pl.col(_SUMMED).cast(pl.Int64).sum())
            for key in _PAIR
        )
        durations = plays.select(columns.VIDEO_ID, columns.EVENT_TIMESTAMP, columns.VIDEO_DURATION)
        return cls(users, videos, durations)._tidy()

    def plus(self, later: "DailySums") -> "DailySums":
        """These and the sums of later plays."""
        users, videos = (
            pl.concat(frames).group_by(key, columns.EVENT_TIMESTAMP).agg(pl.col(_SUMMED).sum())
            for frames, key in (
                ((self.users, later.users), columns.USER_ID),
                ((self.videos, later.videos), columns.VIDEO_ID),
            )
        )
        return DailySums(users, videos, pl.concat([self.durations, later.durations]))._tidy()

    def _tidy(self) -> "DailySums":
        last = self.durations.group_by(columns.VIDEO_ID, columns.EVENT_TIMESTAMP).agg(
            pl.col(columns.VIDEO_DURATION).last()
        )
        return DailySums(
            self.users.sort(columns.USER_ID, columns.EVENT_TIMESTAMP),
            self.videos.sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP),
            last.sort(columns.VIDEO_ID, columns.EVENT_TIMESTAMP),
        )


def daily_sums(interactions: Path, settings: Settings, *, force: bool = False) -> DailySums:
    """The sums of a table of interactions, kept in `data/state/daily_sums` for the next night."""
    plays = pl.read_parquet(interactions, columns=list(_COLUMNS))
    folder = settings.paths.state / "daily_sums"
    decisive = fingerprint(settings=settings.chosen(SETTINGS))
    record = {} if force else _recorded(folder, decisive)
    known = min(int(record.get("plays", 0)), plays.height)
    digest = _Digest()
    digest.add(plays.head(known))
    if digest.text() != record.get("digest") or not all(is_usable(file) for file in _files(folder)):
        known = 0
        digest = _Digest()
    new = plays.slice(known)
    digest.add(new)
    pieces = number_of_pieces(new.height, settings)
    if pieces == 1:
        sums = DailySums.of(_stamped(new, plays.head(known), settings.data))
    else:
        borders = np.linspace(known, plays.height, pieces + 1).astype(int).tolist()
        of_pieces = run_all(
            settings, _sums_of, [(interactions, *ends, settings) for ends in pairwise(borders)]
        )
        sums = reduce(DailySums.plus, of_pieces)
    if known:
        sums = DailySums(*(pl.read_parquet(path) for path in _files(folder))).plus(sums)
    with atomic_write(folder, checksum=True) as temporary:
        temporary.mkdir()
        frames = (sums.users, sums.videos, sums.durations)
        for frame, path in zip(frames, _files(temporary), strict=True):
            frame.write_parquet(path)
        kept = {"settings": decisive, "plays": plays.height, "digest": digest.text()}
        (temporary / _RECORD).write_text(json.dumps(kept), encoding="utf-8")
    return sums


def _sums_of(interactions: Path, start: int, stop: int, settings: Settings) -> DailySums:
    """The sums of some consecutive plays of the table: what another night would sum, if they came in one."""
    plays = pl.read_parquet(interactions, columns=list(_COLUMNS), n_rows=stop)
    return DailySums.of(_stamped(plays.slice(start), plays.head(start), settings.data))


def _stamped(new: pl.DataFrame, earlier: pl.DataFrame, settings: DataSettings) -> pl.DataFrame:
    """Plays with what is summed, stamped with the end of their local day.

    Args:
        earlier: all plays before them.
    """
    ratio = pl.col(columns.WATCH_RATIO).cast(pl.Float64)
    pair = _codes(new[columns.USER_ID]) * (new[columns.VIDEO_ID].n_unique() + 1)
    pair = pair + _codes(new[columns.VIDEO_ID])
    marked = new.with_columns(pair.is_first_distinct().alias(NEW_PAIR))
    if earlier.height and new.height:
        # Of the earlier pairs only those of tonight's users and videos matter.
        of_tonight = [pl.col(key).is_in(new[key].unique().implode()) for key in _PAIR]
        seen = earlier.lazy().select(_PAIR).filter(*of_tonight).unique().collect()
        again = marked.join(seen.with_columns(again=True), on=_PAIR, how="left", maintain_order="left")
        marked = marked.with_columns(pl.col(NEW_PAIR) & again["again"].is_null())
    return marked.select(
        *_PAIR,
        ends_of_days(new[columns.EVENT_TIMESTAMP], settings.zone),
        pl.lit(1, dtype=pl.Int64).alias(PLAYS),
        NEW_PAIR,
        is_liked(ratio, settings).alias(LIKED),
        (ratio.clip(0, settings.watch_ratio_clip) * RATIO_UNIT).round().cast(pl.Int32).alias(RATIO),
        columns.PLAY_DURATION,
        columns.VIDEO_DURATION,
    )


def is_liked(ratio: pl.Expr, settings: DataSettings) -> pl.Expr:
    """Whether a play counts as liked: by its watch_ratio, or by how long it lasted."""
    above = ratio > settings.like_threshold
    if settings.long_view_s is None:
        return above
    return above | (pl.col(columns.PLAY_DURATION) >= settings.long_view_s * 1_000)


class _Digest:
    """A digest of rows that goes on with the rows that follow: one SHA-256 a column."""

    def __init__(self) -> None:
        self._columns = [hashlib.sha256() for _ in _COLUMNS]

    def add(self, plays: pl.DataFrame) -> None:
        """Take in these rows."""
        for digest, name in zip(self._columns, _COLUMNS, strict=True):
            digest.update(np.ascontiguousarray(plays[name].to_physical().to_numpy()).data)

    def text(self) -> str:
        """The digest of the rows so far."""
        return hashlib.sha256(b"".join(digest.digest() for digest in self._columns)).hexdigest()


def _codes(ids: pl.Series) -> pl.Series:
    """Dense codes from 0 for ids, which may be of any size."""
    return ids.unique().sort().search_sorted(ids).cast(pl.Int64)


def _recorded(folder: Path, decisive: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if record.get("settings") == decisive else {}


def _files(folder: Path) -> list[Path]:
    return [folder / f"{name}.parquet" for name in ("users", "videos", "durations")]
