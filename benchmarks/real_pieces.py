"""The real pieces of KuaiRec as raw files in KuaiRec's shape, with as few made-up facts as can be.

The pieces are pairs of a user and a video that were watched at least twice over, and the side files; there
is no log, no time, no length. Made up, each in the plainest way:

- A positive pair is a play of ratio 2.5, as often as it occurs in the file.
- Other plays, ratio 0.5: about `others` a positive of each user, drawn from what is neither one of their
  positives for training nor in the hole. Held-out positives may be among them: nothing of these is looked at.
- How often a video is among those others: `even`, each the same; `root`, by the square root of its positives;
  `positives`, in proportion, so that the share of positives says nothing of a video.
- Instants: evenly spread over the three windows in which KuaiRec was collected (dataset.md).
- Every video is 10 s long, and its daily records count the plays of this log. No author, no upload date.

The hole of small_matrix stays: its users have no plays of its videos. Which these are is not known; they are
found as the largest block without positives where many were to be expected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from nightreel.core import columns
from pipelines.hashing import uniform_hash

Exposure = Literal["even", "root", "positives"]
EXPOSURES: tuple[Exposure, ...] = get_args(Exposure)
TRAIN_FILE, VALID_FILE = "big_matrix_positives_train.txt", "big_matrix_positives_valid.txt"
POSITIVE_RATIO, OTHER_RATIO, LENGTH_MS = 2.5, 0.5, 10_000

_SIDE_FILES = (columns.USER_FEATURES_FILE, columns.CAPTION_FILE, columns.ITEM_CATEGORIES_FILE)
_ZONE = ZoneInfo("Asia/Shanghai")
_WINDOWS = ((20200705, 20200713), (20200801, 20200811), (20200827, 20200906))  # ends excluded
_FREQUENT_VIDEOS = 1_500
# A user (a video) is in the hole with under this share of the positives to be expected of them there.
_EMPTY_SHARE, _LEAST_EXPECTED = 0.15, 3.0
# The hole is empty but for some accidents: of two blocks, one with positives must lack so many more for each.
_WORTH_OF_A_POSITIVE = 100


@dataclass(frozen=True)
class Pairs:
    """Pairs of positions, not ids, in `Pieces.users` and `Pieces.videos`: int64, one entry a pair."""

    user: np.ndarray
    video: np.ndarray

    def distinct(self, videos: int) -> "Pairs":
        """Each pair once, by user and video."""
        keys = np.unique(self.user * videos + self.video)
        return Pairs(keys // videos, keys % videos)

    def matrix(self, users: int, videos: int) -> np.ndarray:
        """Whether each pair is there: bool [users, videos]."""
        found = np.zeros((users, videos), dtype=bool)
        found[self.user, self.video] = True
        return found


@dataclass(frozen=True)
class Pieces:
    """The real pieces. users, videos: ids, ascending. train, valid: positives. hole: bool [users, videos]."""

    users: np.ndarray
    videos: np.ndarray
    train: Pairs
    valid: Pairs
    hole: np.ndarray

    def positives_of_videos(self) -> np.ndarray:
        """Users with a positive for training of each video: int64 [videos]."""
        return np.bincount(self.train.distinct(len(self.videos)).video, minlength=len(self.videos))


def read_pieces(folder: Path, *, user_share: float = 1.0, videos: int | None = None, seed: int = 0) -> Pieces:
    """Read the positives; of a share of the users, by hash, and of the most frequent videos only if asked to.

    Args:
        videos: how many; by default all of the caption file.
    """
    train, valid = _read(folder / TRAIN_FILE), _read(folder / VALID_FILE)
    user_id = pl.read_csv(folder / columns.USER_FEATURES_FILE, columns=[columns.USER_ID]).to_series()
    video_id = pl.read_csv(folder / columns.CAPTION_FILE, columns=[columns.VIDEO_ID]).to_series()
    users, all_videos = user_id.unique().sort().to_numpy(), video_id.unique().sort().to_numpy()
    whole = _placed(users, all_videos, train, valid)
    hole = find_hole(whole.train.distinct(len(all_videos)).matrix(len(users), len(all_videos)))
    chosen = np.flatnonzero(uniform_hash(users.astype(np.uint64), seed) < user_share)
    kept = np.sort(np.argsort(-whole.positives_of_videos(), kind="stable")[:videos])
    some = _placed(users[chosen], all_videos[kept], train, valid)
    return Pieces(some.users, some.videos, some.train, some.valid, hole[np.ix_(chosen, kept)])


def find_hole(positive: np.ndarray) -> np.ndarray:
    """The largest block without positives where many were to be expected: bool [users, videos].

    The first singular vectors of what frequent videos have more or less than expected split off the block's
    videos; then users and videos are chosen in turns by what they lack.

    Args:
        positive: bool [users, videos].
    """
    counts = positive.astype(np.float32)
    by_user, by_video = counts.sum(axis=1), counts.sum(axis=0)
    total = max(float(counts.sum()), 1.0)
    frequent = np.argsort(-by_video, kind="stable")[:_FREQUENT_VIDEOS]
    expected = by_user[:, None] * by_video[frequent][None] / total
    residual = (counts[:, frequent] - expected) / np.sqrt(expected + 1e-9)
    _, vectors = np.linalg.eigh(residual.T @ residual)
    best = np.zeros_like(positive)
    largest = 0.0
    for vector in (sign * vectors[:, -index] for index in (1, 2, 3) for sign in (1, -1)):
        videos = np.zeros(len(by_video), dtype=bool)
        videos[frequent[vector > 0]] = True
        users = np.zeros(len(by_user), dtype=bool)
        for _ in range(15):
            users = _lacking(counts[:, videos].sum(axis=1), by_user * by_video[videos].sum() / total)
            videos = _lacking(counts[users].sum(axis=0), by_video * by_user[users].sum() / total)
        lacking = float(by_user[users].sum()) * float(by_video[videos].sum()) / total
        size = lacking - _WORTH_OF_A_POSITIVE * float(counts[np.ix_(users, videos)].sum())
        if size > largest:
            best, largest = users[:, None] & videos[None], size
    return best


def write_raw(
    pieces: Pieces, folder: Path, raw: Path, *, others: float, exposure: Exposure, seed: int
) -> dict[str, int]:
    """Write the raw files of a home; the side files are linked. Says what was written."""
    random = np.random.default_rng(seed)
    drawn = _others(pieces, others, exposure, random)
    positives = len(pieces.train.user)
    user = np.concatenate([pieces.train.user, drawn.user])
    video = np.concatenate([pieces.train.video, drawn.video])
    ratio = np.where(np.arange(len(user)) < positives, POSITIVE_RATIO, OTHER_RATIO)
    plays = pl.DataFrame(
        {
            columns.USER_ID: pieces.users[user],
            columns.VIDEO_ID: pieces.videos[video],
            columns.PLAY_DURATION: (ratio * LENGTH_MS).astype(np.int64),
            columns.VIDEO_DURATION: np.full(len(user), LENGTH_MS),
            "timestamp": _instants(len(user), random),
            columns.WATCH_RATIO: ratio,
        }
    ).sort("timestamp")
    raw.mkdir(parents=True, exist_ok=True)
    plays.write_csv(raw / columns.BIG_MATRIX_FILE)
    _daily(plays).write_csv(raw / columns.ITEM_DAILY_FILE)
    for name in _SIDE_FILES:
        (raw / name).unlink(missing_ok=True)
        (raw / name).symlink_to((folder / name).resolve())
    return {
        "users": len(pieces.users),
        "videos": len(pieces.videos),
        "positive_plays": positives,
        "other_plays": len(drawn.user),
        "users_of_the_hole": int(pieces.hole.any(axis=1).sum()),
        "videos_of_the_hole": int(pieces.hole.any(axis=0).sum()),
    }


def _read(path: Path) -> Pairs:
    user: list[int] = []
    video: list[int] = []
    with path.open(encoding="ascii") as lines:
        for line in lines:
            first, *rest = map(int, line.split())
            user += [first] * len(rest)
            video += rest
    return Pairs(np.array(user, dtype=np.int64), np.array(video, dtype=np.int64))


def _placed(users: np.ndarray, videos: np.ndarray, train: Pairs, valid: Pairs) -> Pieces:
    """Ids as positions; pairs of others are left out. No hole."""

    def placed(pairs: Pairs) -> Pairs:
        mine = np.isin(pairs.user, users) & np.isin(pairs.video, videos)
        return Pairs(np.searchsorted(users, pairs.user[mine]), np.searchsorted(videos, pairs.video[mine]))

    return Pieces(users, videos, placed(train), placed(valid), np.zeros((0, 0), dtype=bool))


def _lacking(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    lacking: np.ndarray = (found < _EMPTY_SHARE * expected) & (expected > _LEAST_EXPECTED)
    return lacking


def _others(pieces: Pieces, others: float, exposure: Exposure, random: np.random.Generator) -> Pairs:
    """Pairs that were not positive, about `others` a positive entry of each user, each pair once.

    How many a video has is not left to chance, which would blur its share of positives: it is what is to be
    expected where every user draws by the videos' weights from what is open to them.
    """
    power = {"even": 0.0, "root": 0.5, "positives": 1.0}[exposure]
    weight = np.maximum(pieces.positives_of_videos(), 0.5) ** power
    shape = (len(pieces.users), len(pieces.videos))
    open_to = ~(pieces.train.matrix(*shape) | pieces.hole)
    entries = np.bincount(pieces.train.user, minlength=shape[0])
    a_weight = others * entries / np.maximum(open_to @ weight, 1e-9)
    counts = np.rint(weight * (a_weight @ open_to)).astype(np.int64)
    users: list[np.ndarray] = []
    for video, count in enumerate(counts):
        able = np.flatnonzero(open_to[:, video] & (a_weight > 0))
        # The largest keys are a sample without replacement, by weight (Efraimidis and Spirakis 2006).
        keys = np.log(random.random(len(able))) / a_weight[able]
        users.append(able[np.argsort(-keys, kind="stable")[:count]])
    videos = np.repeat(np.arange(shape[1]), [len(found) for found in users])
    return Pairs(np.concatenate(users), videos)


def _instants(count: int, random: np.random.Generator) -> np.ndarray:
    """Unix seconds, evenly spread over the windows."""
    starts, ends = (
        np.array([datetime.strptime(str(day), "%Y%m%d").replace(tzinfo=_ZONE).timestamp() for day in days])
        for days in zip(*_WINDOWS, strict=True)
    )
    lengths = ends - starts
    window = random.choice(len(lengths), count, p=lengths / lengths.sum())
    instants: np.ndarray = np.floor(starts[window] + random.random(count) * lengths[window])
    return instants


def _daily(plays: pl.DataFrame) -> pl.DataFrame:
    """The daily records that this log itself gives: shows and plays are the plays, likes the positives."""
    local = pl.from_epoch(pl.col("timestamp").cast(pl.Int64)).dt.replace_time_zone("UTC")
    counts: Sequence[pl.Expr] = (
        pl.len().alias("show_cnt"),
        pl.len().alias("play_cnt"),
        (pl.col(columns.WATCH_RATIO) >= POSITIVE_RATIO).sum().alias("like_cnt"),
    )
    day = local.dt.convert_time_zone(_ZONE.key).dt.strftime("%Y%m%d").alias(columns.LOCAL_DATE)
    return plays.group_by(columns.VIDEO_ID, day).agg(counts).sort(columns.VIDEO_ID, columns.LOCAL_DATE)
