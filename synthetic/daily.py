"""item_daily_features.csv: each video's counts in the whole app on each day, from its first day on.

Counts follow a video's popularity, which fades, and have KuaiRec's heavy tails; how well a video is liked
shows only in its rates.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from nightreel.core import columns
from synthetic import draws, exact
from synthetic.exact import expit
from synthetic.sizes import KUAIREC_DAYS, KUAIREC_VIDEOS, Sizes, local_date
from synthetic.videos import CATEGORY_NAMES, Videos
from synthetic.words import DAILY_TAG_ENDINGS

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

# All 58, in the order of the real file.
ITEM_DAILY_COLUMNS = (
    "video_id", "date", "author_id", "video_type", "upload_dt", "upload_type", "visible_status",
    "video_duration", "video_width", "video_height", "music_id", "video_tag_id", "video_tag_name",
    "show_cnt", "show_user_num", "play_cnt", "play_user_num", "play_duration", "complete_play_cnt",
    "complete_play_user_num", "valid_play_cnt", "valid_play_user_num", "long_time_play_cnt",
    "long_time_play_user_num", "short_time_play_cnt", "short_time_play_user_num", "play_progress",
    "comment_stay_duration", "like_cnt", "like_user_num", "click_like_cnt", "double_click_cnt",
    "cancel_like_cnt", "cancel_like_user_num", "comment_cnt", "comment_user_num", "direct_comment_cnt",
    "reply_comment_cnt", "delete_comment_cnt", "delete_comment_user_num", "comment_like_cnt",
    "comment_like_user_num", "follow_cnt", "follow_user_num", "cancel_follow_cnt", "cancel_follow_user_num",
    "share_cnt", "share_user_num", "download_cnt", "download_user_num", "report_cnt", "report_user_num",
    "reduce_similar_cnt", "reduce_similar_user_num", "collect_cnt", "collect_user_num",
    "cancel_collect_cnt", "cancel_collect_user_num",
)  # fmt: skip

# Quantiles of show_cnt over KuaiRec's rows; between them the logarithm of 1 + count runs straight.
_SHOW_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.97, 0.995, 0.9995, 1.0)
_SHOW_COUNTS: F64 = np.array([1.0, 3.0, 55.0, 1_328.0, 24_190.0, 110_000.0, 420_000.0, 2e6, 14e6, 42e6])

UPLOAD_TYPES = (
    "ShortImport", "LongImport", "ShortCamera", "PictureSet", "PhotoCopy", "Kmovie", "LongPicture",
    "LongCamera", "Web", "FollowShoot", "AiCutVideo", "ShareFromOtherApp", "SameFrame", "LiveClip",
    "PictureCopy", "StoryMaker", "FlashPhoto", "UNKNOWN",
)  # fmt: skip
_UPLOAD_CHANCES = (0.588, 0.12, 0.09, 0.05, 0.035, 0.03, 0.02, 0.02, 0.012, 0.01, 0.008, 0.005, 0.004,
                   0.003, 0.002, 0.001, 0.001, 0.001)  # fmt: skip
_DAILY_TAGS = 529
_ROWS_A_VIDEO_DAY = 343_341 / (KUAIREC_VIDEOS * KUAIREC_DAYS)


def write_item_daily(path: Path, sizes: Sizes, videos: Videos) -> int:
    """Write the file; returns its rows."""
    random = sizes.stream("daily")
    video, day = _video_days(random, sizes, videos)
    table = pl.DataFrame(
        _attributes(random, sizes, videos, video, day) | _counts(random, sizes, videos, video, day)
    )
    table.select(ITEM_DAILY_COLUMNS).write_csv(path)
    return table.height


def _video_days(random: np.random.Generator, sizes: Sizes, videos: Videos) -> tuple[I64, I64]:
    """Every day from a video's first on, but for days on which nobody saw it; its first day always."""
    lengths = sizes.days - videos.appear_day
    video = np.repeat(np.arange(sizes.videos), lengths)
    starts = np.cumsum(lengths) - lengths
    day = np.arange(len(video)) - np.repeat(starts, lengths) + np.repeat(videos.appear_day, lengths)
    # Days missing at random, never a first one, until as many rows are left as a set of this size has.
    surplus = len(video) - round(_ROWS_A_VIDEO_DAY * sizes.videos * sizes.days)
    later = np.flatnonzero(day > videos.appear_day[video])
    kept = np.ones(len(video), dtype=np.bool_)
    kept[random.permutation(later)[: max(0, surplus)]] = False
    return video[kept], day[kept]


def _attributes(
    random: np.random.Generator, sizes: Sizes, videos: Videos, video: I64, day: I64
) -> dict[str, object]:
    count = sizes.videos
    date_numbers = np.array([int(local_date(d).strftime("%Y%m%d")) for d in range(sizes.days)])
    uploads = [local_date(int(d)).isoformat() for d in videos.upload_day]
    upload_type = np.array(UPLOAD_TYPES)[
        random.choice(len(UPLOAD_TYPES), size=count, p=np.array(_UPLOAD_CHANCES) / sum(_UPLOAD_CHANCES))
    ]
    is_ad = random.random(count) < 0.0034
    hidden_from = np.where(random.random(count) < 0.014, random.integers(0, sizes.days, count), sizes.days)
    hidden_as = np.array(["private", "only friends", "deleted"])[random.integers(0, 3, count)]
    no_length = random.random(count) < 10_598 / 343_341
    tag = (videos.truth.category * 13 + random.integers(0, 13, count)) % _DAILY_TAGS
    tag_names = [
        CATEGORY_NAMES[number // len(DAILY_TAG_ENDINGS)] + DAILY_TAG_ENDINGS[number % len(DAILY_TAG_ENDINGS)]
        for number in range(_DAILY_TAGS - 1)
    ]
    names = np.array([*tag_names, "其他话题"], dtype=object)[tag]
    names[random.random(count) < 32_434 / 343_341] = None
    tall = random.random(count) < 0.85
    length = pl.Series(videos.length_ms[video].astype(np.float64))
    return {
        columns.VIDEO_ID: video,
        columns.LOCAL_DATE: date_numbers[day],
        columns.AUTHOR_ID: videos.truth.author[video],
        columns.VIDEO_TYPE: np.where(is_ad, "AD", "NORMAL")[video],
        columns.UPLOAD_DATE: np.array(uploads)[video],
        columns.UPLOAD_TYPE: upload_type[video],
        columns.VISIBLE_STATUS: np.where(day >= hidden_from[video], hidden_as[video], "public"),
        columns.VIDEO_DURATION: length.set(pl.Series(no_length[video]), None),
        "video_width": np.where(tall, 720, 1280)[video],
        "video_height": np.where(tall, 1280, 720)[video],
        "music_id": random.integers(10**8, 4 * 10**9, count)[video],
        "video_tag_id": np.where(pl.Series(names).is_null().to_numpy(), 0, tag + 1)[video],
        "video_tag_name": pl.Series(names[video].tolist(), dtype=pl.String),
    }


def _counts(
    random: np.random.Generator, sizes: Sizes, videos: Videos, video: I64, day: I64
) -> dict[str, object]:
    age = day - videos.appear_day[video]
    fame = (
        0.8 * videos.public_popularity[video]
        + draws.normal(random, 0.6, len(video))
        - 0.25 * exact.log(1.0 + age)
    )
    position = np.argsort(np.argsort(fame, kind="stable"), kind="stable") + 0.5
    log_show = exact.interpolate(position / len(position), _SHOW_QUANTILES, exact.log(_SHOW_COUNTS))
    show = np.rint(exact.exp(log_show)).astype(np.int64)
    quality = videos.truth.quality + draws.normal(random, 0.1, sizes.videos)
    # Videos that are shown more are also played and liked more.
    standing = np.clip(exact.log(1.0 + show) / (6.0 * exact.log(10.0)), 0, 1)
    play = _part(
        random,
        show,
        expit(-0.64 - 4.66 * standing + 10.9 * standing * standing + draws.normal(random, 0.5, len(show))),
    )
    appeal = quality[video] + draws.normal(random, 0.1, len(show))
    length_s = videos.length_ms[video] / 1000
    reached = 1.5 * appeal - exact.log(length_s / 3.8) + draws.normal(random, 1.4, len(show))
    progress = 1 - exact.exp(-exact.exp(reached))
    complete = _part(random, play, exact.power(progress, 1.3 - 0.8 * standing))
    like = _part(random, play, expit(-5.25 + 1.95 * standing + 2.0 * appeal))
    comment = _part(random, play, expit(-11.5 + 5.2 * standing + 1.5 * appeal))
    follow = _part(random, play, expit(-7.7 + 2.1 * standing + 1.5 * appeal))
    share = _part(random, play, expit(-13.2 + 6.4 * standing + 1.5 * appeal))
    collect = _part(random, play, expit(-7.5 + 2.0 * standing + 1.5 * appeal))
    long_time = _part(random, play, expit(-1.0 + 2 * appeal))
    counts = {
        "show": show, "play": play, "complete_play": complete,
        "valid_play": _part(random, play, expit(0.3 + appeal)), "long_time_play": long_time,
        "short_time_play": _part(random, play - long_time, 0.5), "like": like,
        "cancel_like": _part(random, like, 0.04), "comment": comment,
        "delete_comment": _part(random, comment, 0.03), "comment_like": _part(random, comment * 3, 0.4),
        "follow": follow, "cancel_follow": _part(random, follow, 0.05), "share": share,
        "download": _part(random, play, 0.0015), "report": _part(random, play, 0.00004),
        "reduce_similar": _part(random, play, 0.0003),
    }  # fmt: skip
    data: dict[str, object] = {}
    for name, values in counts.items():
        data[f"{name}_cnt"] = values
        data[f"{name}_user_num"] = values - _part(random, values, 0.07)
    double = _part(random, like, 0.35)
    reply = _part(random, comment, 0.35)
    data |= {
        "play_duration": np.rint(play * 1000.0 * np.minimum(7.5 * exact.exp(appeal), 60)).astype(np.int64),
        "play_progress": progress,
        "comment_stay_duration": play * random.integers(0, 400, len(play)),
        "click_like_cnt": like - double, "double_click_cnt": double,
        "direct_comment_cnt": comment - reply, "reply_comment_cnt": reply,
    }  # fmt: skip
    # The app began to count collections some weeks into the period.
    uncounted = pl.Series(day < round(0.39 * sizes.days))
    cancelled = _part(random, collect, 0.05)
    for name, values in (("collect", collect), ("cancel_collect", cancelled)):
        number = pl.Series(values.astype(np.float64))
        data[f"{name}_cnt"] = number.set(uncounted, None)
        people = pl.Series((values - _part(random, values, 0.05)).astype(np.float64))
        data[f"{name}_user_num"] = people.set(uncounted, None)
    return data


def _part(random: np.random.Generator, total: I64, share: F64 | float) -> I64:
    return draws.binomial(random, total, share)
