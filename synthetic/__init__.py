"""A KuaiRec-shaped data set with a known truth, of any size: for the demo, the tests and the benchmarks."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.logs import Advance
from synthetic import exposure, matrices
from synthetic.captions import write_captions, write_item_categories
from synthetic.daily import write_item_daily
from synthetic.latent import Truth, mean_appeal, time_effects
from synthetic.sizes import (
    KUAIREC_DAYS,
    KUAIREC_INTERACTIONS,
    KUAIREC_USERS,
    KUAIREC_VIDEOS,
    Sizes,
)
from synthetic.users import Users, make_users
from synthetic.videos import CATEGORIES, Videos, make_videos

__all__ = ["synthesize"]


def synthesize(
    out: Path,
    *,
    users: int = KUAIREC_USERS,
    videos: int = KUAIREC_VIDEOS,
    interactions: int = KUAIREC_INTERACTIONS,
    days: int = KUAIREC_DAYS,
    seed: int,
    small_users: int | None = None,
    small_videos: int | None = None,
    truth: Path | None = None,
    on_progress: Advance | None = None,
) -> Mapping[str, int]:
    """Write KuaiRec's seven files to the folder `out`; returns the rows of each, by file name.

    The same arguments give the same bytes.

    Args:
        interactions: the number of rows of big_matrix.csv, duplicates included.
        small_users, small_videos: size of small_matrix, by default in KuaiRec's proportions.
        truth: a parquet file to write beside them, with user_id, video_id (int64), expected_watch_ratio and
            probability_liked (watch_ratio > 1.0; float32) for every pair of small_matrix's users and videos,
            at the instant when the pair was watched.
        on_progress: called with the rows of big_matrix.csv written since its last call.

    Raises:
        InputError: for impossible sizes.
    """
    sizes = Sizes.checked(
        users=users,
        videos=videos,
        interactions=interactions,
        days=days,
        seed=seed,
        small_users=small_users,
        small_videos=small_videos,
    )
    out.mkdir(parents=True, exist_ok=True)
    all_videos = make_videos(sizes)
    all_users = make_users(sizes)
    world = make_world(sizes, all_users, all_videos)
    rows: dict[str, int] = {}
    with atomic_write(out / columns.CAPTION_FILE) as path:
        write_captions(path, sizes, all_videos)
    with atomic_write(out / columns.ITEM_CATEGORIES_FILE) as path:
        write_item_categories(path, all_videos)
    rows[columns.CAPTION_FILE] = rows[columns.ITEM_CATEGORIES_FILE] = sizes.videos
    with atomic_write(out / columns.ITEM_DAILY_FILE) as path:
        rows[columns.ITEM_DAILY_FILE] = write_item_daily(path, sizes, all_videos)
    with atomic_write(out / columns.USER_FEATURES_FILE) as path:
        all_users.table.write_csv(path)
    rows[columns.USER_FEATURES_FILE] = sizes.users
    with atomic_write(out / columns.SOCIAL_NETWORK_FILE) as path:
        _write_friends(path, all_users)
    rows[columns.SOCIAL_NETWORK_FILE] = len(all_users.friends)
    if truth is not None:
        with atomic_write(out / columns.SMALL_MATRIX_FILE) as path, atomic_write(truth) as truth_path:
            rows[columns.SMALL_MATRIX_FILE] = matrices.write_small(path, world, truth_path)
    else:
        with atomic_write(out / columns.SMALL_MATRIX_FILE) as path:
            rows[columns.SMALL_MATRIX_FILE] = matrices.write_small(path, world, None)
    plays = exposure.plays_a_user(sizes, all_users.activity)
    with atomic_write(out / columns.BIG_MATRIX_FILE) as path:
        rows[columns.BIG_MATRIX_FILE] = matrices.write_big(path, world, plays, on_progress)
    return rows


def make_world(sizes: Sizes, users: Users, videos: Videos) -> matrices.World:
    """Users, videos, the effects of time, and the users and videos of small_matrix."""
    hour_effect, trend = time_effects(sizes, CATEGORIES)
    truth = Truth(
        users.truth, videos.truth, hour_effect, trend, fan_salt=sizes.seed + 1, days=sizes.days, centre=0
    )
    truth = replace(truth, centre=mean_appeal(truth))
    random = sizes.stream("small matrix")
    small_users = np.sort(random.permutation(sizes.users)[: sizes.small_users]).astype(np.int64)
    small_videos = np.sort(random.permutation(sizes.videos)[: sizes.small_videos]).astype(np.int64)
    return matrices.World(sizes, truth, videos, small_users, small_videos)


def _write_friends(path: Path, users: Users) -> None:
    pl.DataFrame(
        {
            columns.USER_ID: list(users.friends),
            "friend_list": [f"[{','.join(map(str, friends))}]" for friends in users.friends.values()],
        },
        schema={columns.USER_ID: pl.Int64, "friend_list": pl.String},
    ).write_csv(path)
