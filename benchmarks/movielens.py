"""MovieLens-100K, from recbole's wheel, as a folder in KuaiRec's shape. Nothing of it may be committed.

GroupLens allows research and no redistribution, so fetch the wheel yourself:
`pip download recbole==1.2.1 --no-deps`. A rating is a play of a third of its stars, so that watch_ratio > 1
says four or five; small_matrix is the last fifth of each user's ratings. Daily counts are of
the others alone, so that nobody is judged by what they were given.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

_FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
_LENGTH_MS = 9_000  # a multiple of 3, so that play_duration / video_duration is exact
_HELD_OUT_SHARE = 0.2
_SHANGHAI_S = 8 * 3600
_TOO_OLD = 1970  # nightreel takes no day of this year or before: such films have no upload day


def write_movielens(wheel: Path, folder: Path) -> None:
    """Write the raw files, with the columns that MovieLens can fill, into the folder."""
    ratings = _part(wheel, "inter").rename(columns={"item_id": "video_id"}).astype("int64")
    ratings = ratings.sort_values(["timestamp", "user_id", "video_id"]).reset_index(drop=True)
    local = pd.to_datetime(ratings.timestamp + _SHANGHAI_S, unit="s")
    ratings["date"] = local.dt.strftime("%Y%m%d").astype(int)
    films, people = _part(wheel, "item"), _part(wheel, "user")
    folder.mkdir(parents=True, exist_ok=True)

    plays = pd.DataFrame(
        {
            "user_id": ratings.user_id,
            "video_id": ratings.video_id,
            "play_duration": ratings.rating * _LENGTH_MS // 3,
            "video_duration": _LENGTH_MS,
            "time": local.dt.strftime("%Y-%m-%d %H:%M:%S.000"),
            "date": ratings.date,
            "timestamp": ratings.timestamp,
            "watch_ratio": ratings.rating / 3,
        }
    )
    of_user = ratings.groupby("user_id")
    size = of_user.user_id.transform("size")
    held_out = of_user.cumcount() >= size - (size * _HELD_OUT_SHARE).astype(int)
    genres = films["class"].str.split()
    names = sorted({name for some in genres for name in some} - {"unknown"})
    code = {name: at for at, name in enumerate([*names, "unknown"])}
    first = genres.str[0]
    tables = {
        "big_matrix": plays[~held_out],
        "small_matrix": plays[held_out],
        "user_features": _people(people),
        "item_daily_features": _days(ratings[~held_out], films.set_index("item_id").release_year),
        "item_categories": pd.DataFrame(
            {"video_id": films.item_id, "feat": [str([code[name] for name in some]) for some in genres]}
        ),
        "kuairec_caption_category": pd.DataFrame(
            {
                "video_id": films.item_id,
                "manual_cover_text": "UNKNOWN",
                "caption": films.movie_title,
                "topic_tag": "[" + genres.str.join(",") + "]",
                "first_level_category_id": first.map(code).where(first != "unknown", -124),
                "first_level_category_name": first.where(first != "unknown", "UNKNOWN"),
                **{f"{level}_level_category_id": -124 for level in ("second", "third")},
                **{f"{level}_level_category_name": "UNKNOWN" for level in ("second", "third")},
            }
        ),
        "social_network": pd.DataFrame({"user_id": [], "friend_list": []}),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def _part(wheel: Path, part: str) -> pd.DataFrame:
    with zipfile.ZipFile(wheel) as files:
        text = files.read(f"{_FOLDER}.{part}").decode()
    return pd.read_csv(io.StringIO(text), sep="\t").rename(columns=lambda name: name.split(":")[0])


def _people(people: pd.DataFrame) -> pd.DataFrame:
    """Gender, age group, occupation and the first three characters of the zip code as category codes."""
    table = pd.DataFrame({"user_id": people.user_id, "user_active_degree": "UNKNOWN"})
    for name in ("follow_user_num", "fans_user_num", "friend_user_num", "register_days"):
        table[f"{name}_range"] = "UNKNOWN"
    values = (
        people.gender,
        pd.cut(people.age, [0, 17, 24, 34, 44, 49, 55, np.inf], labels=False),
        people.occupation,
        people.zip_code.str[:3],
    )
    for at in range(18):
        table[f"onehot_feat{at}"] = pd.factorize(values[at], sort=True)[0] if at < len(values) else None
    return table


def _days(ratings: pd.DataFrame, year: pd.Series) -> pd.DataFrame:
    """A rating is a show and a play, four or five stars a like."""
    liked = ratings.assign(liked=(ratings.rating >= 4).astype(int))
    days = liked.groupby(["video_id", "date"], as_index=False).agg(
        show_cnt=("liked", "size"), play_cnt=("liked", "size"), like_cnt=("liked", "sum")
    )
    uploaded = pd.to_numeric(year, errors="coerce").reindex(days.video_id).to_numpy()
    first = pd.to_datetime(days.groupby("video_id").date.transform("min").astype(str)).dt.strftime("%Y-%m-%d")
    known = ~np.isnan(uploaded)
    days["upload_dt"] = np.where(known, [f"{value:.0f}-01-01" for value in uploaded], first)
    days.loc[uploaded <= _TOO_OLD, "upload_dt"] = None
    return days.assign(author_id=0, video_type="NORMAL", visible_status="public", video_duration=_LENGTH_MS)
