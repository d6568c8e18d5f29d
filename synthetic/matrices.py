"""big_matrix.csv and small_matrix.csv, written block of users by block, so that memory stays flat."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from nightreel.core import columns
from nightreel.core.logs import Advance
from synthetic import calendar, draws, exposure, watching
from synthetic.latent import Truth, appeal, taste, taste_of_pairs
from synthetic.sizes import FIRST_DAY, KUAIREC_DAYS, Sizes
from synthetic.videos import Videos

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

BLOCK_USERS = 64
EXPECTED_WATCH_RATIO = "expected_watch_ratio"
PROBABILITY_LIKED = "probability_liked"
LIKED_OVER = 1.0

EPOCH_MS = 1_593_878_400_000  # 2020-07-05 00:00 in Asia/Shanghai
# A few devices' clocks are days off, from these many days early to late in KuaiRec's 63.
_WRONG_CLOCK_SHARE = 2e-5
_WRONG_CLOCK_DAYS = (-12.0, 4.5)
_SMALL_DENSITY = 4_676_570 / (1_411 * 3_327)
_SMALL_TIMELESS = 181_992 / 4_676_570
_SMALL_DAY_SIGMA = 0.62

_TRUTH_SCHEMA = pa.schema(
    [
        (columns.USER_ID, pa.int64()),
        (columns.VIDEO_ID, pa.int64()),
        (EXPECTED_WATCH_RATIO, pa.float32()),
        (PROBABILITY_LIKED, pa.float32()),
    ]
)


@dataclass(frozen=True)
class World:
    """Everything that the two matrices are drawn from."""

    sizes: Sizes
    truth: Truth
    videos: Videos
    small_users: I64
    small_videos: I64


def _blocks(users: I64) -> Iterator[tuple[int, I64]]:
    """Users in numbered blocks, always of the same size: what a block draws is its own."""
    for number, start in enumerate(range(0, len(users), BLOCK_USERS)):
        yield number, users[start : start + BLOCK_USERS]


def write_big(path: Path, world: World, plays: I64, advance: Advance | None) -> int:
    """Write big_matrix.csv, sorted by user and time; returns its rows.

    Args:
        plays: the number of rows of each user.
    """
    sizes, truth = world.sizes, world.truth
    supply = exposure.make_supply(sizes, world.videos, _marked(sizes.videos, world.small_videos))
    is_small_user = _marked(sizes.users, world.small_users)
    written = 0
    with path.open("wb") as file:
        for number, users in _blocks(np.arange(sizes.users)):
            random = sizes.stream("big", number)
            repeats = draws.binomial(random, plays[users], exposure.DUPLICATE_SHARE)
            repeats = np.minimum(repeats, plays[users] - 1)
            distinct = plays[users] - repeats
            early = taste(truth, users, late=False)
            audience = exposure.Audience(users, distinct, is_small_user[users], early)
            shown = exposure.show(audience, supply, truth, random)
            order = np.lexsort((shown.video, shown.local_ms, shown.user))
            seat, video, local_ms = shown.user[order], shown.video[order], shown.local_ms[order]
            late = taste_of_pairs(truth, users, seat, video, late=True)
            liking = appeal(truth, users[seat], video, early=early[seat, video], late=late, local_ms=local_ms)
            liking += truth.videos.placement[video]
            chance = chances_of(world, watching.CASUAL, users[seat], video, liking)
            play_ms = watching.draw_play_ms(watching.CASUAL, chance, random)
            frame = rows_of(world, users[seat], video, local_ms=local_ms, play_ms=play_ms, random=random)
            frame[_with_duplicates(random, distinct, repeats)].write_csv(file, include_header=number == 0)
            written += int(plays[users].sum())
            if advance is not None:
                advance(int(plays[users].sum()))
    return written


def write_small(path: Path, world: World, truth_path: Path | None) -> int:
    """Write small_matrix.csv, nearly every cell of its users and videos; returns its rows.

    Args:
        truth_path: a parquet file to write with the truth about every cell, the missing ones too.
    """
    sizes, videos = world.sizes, world.small_videos
    days = np.arange(sizes.days)[None, :] >= world.videos.appear_day[videos][:, None]
    weights = calendar.balanced(
        days.astype(np.float64), None, np.full(sizes.days, 1 / sizes.days), np.ones(1)
    )
    present = np.ones(len(world.small_users) * len(videos), dtype=np.bool_)
    absent = min(len(present) - 1, round(len(present) * (1 - _SMALL_DENSITY)))
    present[sizes.stream("small absent").permutation(len(present))[:absent]] = False
    written = 0
    with ExitStack() as open_files:
        file = open_files.enter_context(path.open("wb"))
        writer = None
        if truth_path is not None:
            writer = open_files.enter_context(pq.ParquetWriter(truth_path, _TRUTH_SCHEMA, compression="zstd"))
        for number, users in _blocks(world.small_users):
            random = sizes.stream("small", number)
            frame, cells = _small_block(world, users, weights, random)
            kept = pl.Series(present[number * BLOCK_USERS * len(videos) :][: frame.height])
            frame.filter(kept).write_csv(file, include_header=number == 0)
            written += int(kept.sum())
            if writer is not None:
                writer.write_table(cells)
    return written


def _small_block(
    world: World, users: I64, weights: F32, random: np.random.Generator
) -> tuple[pl.DataFrame, pa.Table]:
    """All cells of some users, sorted by user and time, as rows of the file and of the truth."""
    truth, days = world.truth, world.sizes.days
    column = np.tile(np.arange(len(world.small_videos)), len(users))
    seat = np.repeat(np.arange(len(users)), len(world.small_videos))
    habit = calendar.daily_habit(random, len(users), days, sigma=_SMALL_DAY_SIGMA, away=0.02)
    day = calendar.pick_days(random, weights, column, habit, seat)
    local_ms = day * calendar.DAY_MS + calendar.time_of_day(
        random, seat, day, truth.users.chronotype[users], days
    )
    order = np.lexsort((column, local_ms, seat))
    seat, video, local_ms = seat[order], world.small_videos[column[order]], local_ms[order]
    early, late = (taste_of_pairs(truth, users, seat, video, late=late) for late in (False, True))
    liking = appeal(truth, users[seat], video, early=early, late=late, local_ms=local_ms)
    chance = chances_of(world, watching.ATTENTIVE, users[seat], video, liking)
    play_ms = watching.draw_play_ms(watching.ATTENTIVE, chance, random)
    timeless = pl.lit(pl.Series(random.random(len(seat)) < _SMALL_TIMELESS))
    times = ("time", columns.LOCAL_DATE, "timestamp")
    # With nulls among them, pandas writes whole dates as 20200705.0, and so does KuaiRec.
    frame = (
        rows_of(world, users[seat], video, local_ms=local_ms, play_ms=play_ms, random=random)
        .with_columns(pl.col(columns.LOCAL_DATE).cast(pl.Float64))
        .with_columns(pl.when(~timeless).then(pl.col(name)).alias(name) for name in times)
    )
    log_length = truth.videos.log_length[video]
    cells = pa.table(
        [
            users[seat],
            video,
            watching.expected_ratio(watching.ATTENTIVE, chance, log_length),
            watching.probability_over(watching.ATTENTIVE, chance, log_length, LIKED_OVER),
        ],
        schema=_TRUTH_SCHEMA,
    )
    return frame, cells


def _marked(count: int, chosen: I64) -> npt.NDArray[np.bool_]:
    mask = np.zeros(count, dtype=np.bool_)
    mask[chosen] = True
    return mask


def chances_of(
    world: World, regime: watching.Regime, users: I64, videos: I64, liking: F32
) -> watching.Chances:
    """The distribution of a play of each pair, given how much the user cares for the video."""
    looping = world.truth.users.looping[users] + world.truth.videos.looping[videos]
    return watching.chances(regime, liking, looping, world.truth.videos.log_length[videos])


def rows_of(
    world: World, user: I64, video: I64, *, local_ms: I64, play_ms: I64, random: np.random.Generator
) -> pl.DataFrame:
    """Rows as in big_matrix.csv; where a clock was wrong, time and timestamp disagree with the date."""
    length_ms = world.videos.length_ms[video]
    wrong = np.flatnonzero(random.random(len(user)) < _WRONG_CLOCK_SHARE)
    low, high = (days * world.sizes.days / KUAIREC_DAYS for days in _WRONG_CLOCK_DAYS)
    clock_ms = local_ms.copy()
    clock_ms[wrong] += (draws.uniform(random, low, high, len(wrong)) * calendar.DAY_MS).astype(np.int64)
    midnight = pl.lit(FIRST_DAY).cast(pl.Datetime("ms"))
    return pl.DataFrame(
        {
            columns.USER_ID: user,
            columns.VIDEO_ID: video,
            columns.PLAY_DURATION: play_ms,
            columns.VIDEO_DURATION: length_ms,
            "time": clock_ms,
            columns.LOCAL_DATE: local_ms,
            "timestamp": (clock_ms + EPOCH_MS) / 1000,
            columns.WATCH_RATIO: play_ms / length_ms,
        }
    ).with_columns(
        (midnight + pl.col("time").cast(pl.Duration("ms")))
        .dt.strftime("%Y-%m-%d %H:%M:%S%.3f")
        .alias("time"),
        (midnight + pl.col(columns.LOCAL_DATE).cast(pl.Duration("ms")))
        .dt.strftime("%Y%m%d")
        .cast(pl.Int64)
        .alias(columns.LOCAL_DATE),
    )


def _with_duplicates(random: np.random.Generator, rows: I64, repeats: I64) -> I64:
    """Positions of a block's rows with each user's share of exact duplicates, each beside its original."""
    starts = np.cumsum(rows) - rows
    owner = np.repeat(np.arange(len(rows)), repeats)
    copies = starts[owner] + (random.random(len(owner)) * rows[owner]).astype(np.int64)
    positions: I64 = np.sort(np.concatenate([np.arange(int(rows.sum())), copies]), kind="stable")
    return positions
