"""big_matrix.csv and small_matrix.csv, written block of users by block, so that memory stays flat."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from nightreel import columns
from nightreel.logs import Advance
from pipelines.synthesize import exposure, watching
from pipelines.synthesize.latent import Truth, appeal, taste
from pipelines.synthesize.sizes import FIRST_DAY, Sizes
from pipelines.synthesize.videos import Videos

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

BLOCK_USERS = 64
_EPOCH_MS = 1_593_878_400_000  # 2020-07-05 00:00 in Asia/Shanghai
_WRONG_CLOCK_SHARE = 2e-5
_SMALL_DENSITY = 4_676_570 / (1_411 * 3_327)
_SMALL_TIMELESS = 181_992 / 4_676_570


@dataclass(frozen=True)
class World:
    """All that the two matrices are drawn from."""

    sizes: Sizes
    truth: Truth
    videos: Videos
    small_users: I64
    small_videos: I64


def blocks(count: int) -> Iterator[slice]:
    """Users in blocks, always of the same size: what a block draws is its own."""
    for start in range(0, count, BLOCK_USERS):
        yield slice(start, min(start + BLOCK_USERS, count))


def write_big(path: Path, world: World, plays: I64, advance: Advance) -> int:
    """Write big_matrix.csv, sorted by user and time; returns its rows."""
    sizes = world.sizes
    weights = exposure.day_weights(sizes, world.videos.appear_day)
    is_small_video = np.isin(np.arange(sizes.videos), world.small_videos)
    is_small_user = np.isin(np.arange(sizes.users), world.small_users)
    written = 0
    with path.open("wb") as file:
        for number, users in enumerate(blocks(sizes.users)):
            random = sizes.stream("big", number)
            rows = plays[users]
            repeats = np.minimum(random.binomial(rows, exposure.DUPLICATE_SHARE), rows - 1)
            early, late = taste(world.truth, users, late=False), taste(world.truth, users, late=True)
            block = exposure.Block(users, rows - repeats, is_small_user[users], early)
            shown = exposure.show(block, sizes, world.truth, world.videos, weights, is_small_video, random)
            order = np.lexsort((shown.video, shown.local_ms, shown.user))
            user, video, local_ms = shown.user[order], shown.video[order], shown.local_ms[order]
            plays_ms = _watch(world, watching.CASUAL, users, user, video, local_ms, early, late, random)
            frame = _frame(world, user + users.start, video, local_ms, plays_ms[0], random)
            frame[_with_duplicates(random, rows - repeats, repeats)].write_csv(
                file, include_header=number == 0
            )
            written += int(rows.sum())
            advance(int(rows.sum()))
    return written


def _watch(
    world: World,
    regime: watching.Regime,
    users: slice,
    user: I64,
    video: I64,
    local_ms: I64,
    early: F32,
    late: F32,
    random: np.random.Generator,
) -> tuple[I64, watching.Play]:
    """Play each pair: its duration in ms, and its chances."""
    liking = appeal(
        world.truth,
        user + users.start,
        video,
        early[user, video],
        late[user, video],
        (local_ms / exposure.DAY_MS).astype(np.float32),
        local_ms // 3_600_000 % 24,
    )
    looping = world.truth.users.looping[user + users.start] + world.truth.videos.looping[video]
    play = watching.chances(regime, liking, looping)
    return watching.draw_play_ms(regime, play, random), play


def _frame(
    world: World, user: I64, video: I64, local_ms: I64, play_ms: I64, random: np.random.Generator
) -> pl.DataFrame:
    """Rows as in big_matrix.csv; a few clocks are days off, so their time disagrees with their date."""
    length = world.videos.length_ms[video]
    date = pl.Series(local_ms // exposure.DAY_MS)
    wrong = np.flatnonzero(random.random(len(user)) < _WRONG_CLOCK_SHARE)
    span = world.sizes.days / 63
    clock_ms = local_ms.copy()
    clock_ms[wrong] += (random.uniform(-12 * span, 4.5 * span, len(wrong)) * exposure.DAY_MS).astype(np.int64)
    return pl.DataFrame(
        {
            columns.USER_ID: user,
            columns.VIDEO_ID: video,
            columns.PLAY_DURATION: play_ms,
            columns.VIDEO_DURATION: length,
            "time": pl.Series(clock_ms),
            columns.LOCAL_DATE: date,
            "timestamp": (clock_ms + _EPOCH_MS) / 1000,
            columns.WATCH_RATIO: play_ms / length,
        }
    ).with_columns(
        (pl.lit(FIRST_DAY).cast(pl.Datetime("ms")) + pl.col("time").cast(pl.Duration("ms")))
        .dt.strftime("%Y-%m-%d %H:%M:%S%.3f")
        .alias("time"),
        (pl.lit(FIRST_DAY) + pl.duration(days=pl.col(columns.LOCAL_DATE)))
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


def write_small(path: Path, world: World, truth_parts: Path | None) -> int:
    """Write small_matrix.csv, nearly every cell of its users and videos; returns its rows.

    truth_parts: a parquet file to write with the expected watch_ratio of every cell, the missing ones too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    sizes = world.sizes
    writer: pq.ParquetWriter | None = None
    written = 0
    with path.open("wb") as file:
        for number, rows in enumerate(blocks(len(world.small_users))):
            random = sizes.stream("small", number)
            ids = world.small_users[rows]
            frame, cells = _small_block(world, ids, random)
            kept = np.flatnonzero(random.random(frame.height) < _SMALL_DENSITY)
            if number == 0 and len(kept) == 0:
                kept = np.array([0])
            frame[kept].write_csv(file, include_header=number == 0)
            written += len(kept)
            if truth_parts is not None:
                table = pa.table(cells)
                writer = writer or pq.ParquetWriter(truth_parts, table.schema, compression="zstd")
                writer.write_table(table)
    if writer is not None:
        writer.close()
    return written


def _small_block(
    world: World, ids: I64, random: np.random.Generator
) -> tuple[pl.DataFrame, dict[str, npt.NDArray[np.generic]]]:
    sizes, videos = world.sizes, world.small_videos
    early = np.concatenate([taste(world.truth, slice(i, i + 1), late=False) for i in ids.tolist()])
    late = np.concatenate([taste(world.truth, slice(i, i + 1), late=True) for i in ids.tolist()])
    local = np.repeat(np.arange(len(ids)), len(videos))
    video = np.tile(videos, len(ids))
    first = world.videos.appear_day[video]
    day = first + (random.random(len(video)) * (sizes.days - first)).astype(np.int64)
    local_ms = day * exposure.DAY_MS + exposure.time_of_day(
        random, local, day, world.truth.users.chronotype[ids], sizes.days
    )
    order = np.lexsort((video, local_ms, local))
    local, video, local_ms = local[order], video[order], local_ms[order]
    user = ids[local]
    liking = appeal(
        world.truth, user, video, early[local, video], late[local, video],
        (local_ms / exposure.DAY_MS).astype(np.float32), local_ms // 3_600_000 % 24,
    )  # fmt: skip
    looping = world.truth.users.looping[user] + world.truth.videos.looping[video]
    play = watching.chances(watching.ATTENTIVE, liking, looping)
    play_ms = watching.draw_play_ms(watching.ATTENTIVE, play, random)
    frame = _frame(world, user, video, local_ms, play_ms, random).with_columns(
        pl.col(columns.LOCAL_DATE).cast(pl.Float64)
    )
    timeless = pl.Series(random.random(frame.height) < _SMALL_TIMELESS)
    frame = frame.with_columns(
        pl.when(~pl.lit(timeless)).then(name).alias(name)
        for name in ("time", columns.LOCAL_DATE, "timestamp")
    )
    log_length = world.truth.videos.log_length[video]
    cells: dict[str, npt.NDArray[np.generic]] = {
        columns.USER_ID: user,
        columns.VIDEO_ID: video,
        "expected_watch_ratio": watching.expected_ratio(watching.ATTENTIVE, play, log_length),
        "probability_liked": watching.probability_over(watching.ATTENTIVE, play, log_length, 1.0),
    }
    return frame, cells
