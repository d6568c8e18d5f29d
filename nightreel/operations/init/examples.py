"""The layouts of well-known logs, whose files the user has: nothing is downloaded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nightreel.core.errors import InputError
from nightreel.core.log_layout import ItemColumn
from nightreel.operations.init.proposal import Draft
from nightreel.operations.init.sample import sample_of

_STARS = {"user": "user", "item": "item", "rating": "rating", "time": "time"}
_RATING_HEADER = ["user", "item", "rating", "time"]
_GENRES = [
    "unknown",
    "action",
    "adventure",
    "animation",
    "children",
    "comedy",
    "crime",
    "documentary",
    "drama",
    "fantasy",
    "film_noir",
    "horror",
    "musical",
    "mystery",
    "romance",
    "sci_fi",
    "thriller",
    "war",
    "western",
]

_KUAIRAND_ITEMS: Mapping[str, ItemColumn] = {
    "author_id": "author",
    "video_type": "categorical",
    "upload_dt": "upload_date",
    "upload_type": "categorical",
    "music_id": "music",
    "tag": "categorical",
}


def example(name: str, folder: Path) -> Draft:
    """The nightreel.toml for a well-known log. Raises InputError if its files are missing."""
    return EXAMPLES[name](folder if folder.is_dir() else folder.parent)


def _first(folder: Path, name: str, patterns: Mapping[str, str]) -> tuple[str, list[Path]]:
    """The first of these patterns that some files meet, and the files, at any depth."""
    for pattern, layout in patterns.items():
        found = sorted(one for one in folder.rglob(pattern) if one.is_file())
        if found:
            return layout, found
    raise InputError(
        f"{folder}: no {' or '.join(patterns)}, as {name} has.", "Name the folder with its files."
    )


def _beside(file: Path, pattern: str) -> Path | None:
    return next(iter(sorted(file.parent.glob(pattern))), None)


def _add(draft: Draft, kind: str, path: Path | None, **more: Any) -> bool:
    if path is not None:
        draft.data[kind] = {"path": str(path), **more}
    return path is not None


def _movielens(folder: Path) -> Draft:
    layouts = {"u.data": "100k", "ratings.dat": "1m", "ratings.csv": "csv"}
    layout, files = _first(folder, "MovieLens", layouts)
    file = files[0]
    draft = Draft({"time_zone": "UTC"}, notes=["Liked: 4 stars and more."], targets={"like_threshold": 3.5})
    if layout == "csv":
        draft.data = {
            "plays": {"path": str(file)},
            "columns": {"user": "userId", "item": "movieId", "time": "timestamp", "rating": "rating"},
        }
        if _add(draft, "items", _beside(file, "movies.csv")):
            draft.data["item_columns"] = {"title": "text", "genres": "tags"}
        return draft
    is_small = layout == "100k"
    between = "|" if is_small else "::"
    plays = {"path": str(file), "header": _RATING_HEADER, "delimiter": "\t" if is_small else "::"}
    draft.data = {"plays": plays, "columns": _STARS}
    users = ["user", "age", "gender", "occupation", "zip"]
    if not is_small:
        users = ["user", "gender", "age", "occupation", "zip"]
    if _add(
        draft, "users", _beside(file, "u.user" if is_small else "users.dat"), header=users, delimiter=between
    ):
        draft.data["user_columns"] = {"age": "numeric", "gender": "categorical", "occupation": "categorical"}
    title = ["item", "title", "released", "video_released", "url", *_GENRES]
    header = title if is_small else ["item", "title", "genres"]
    form = {"header": header, "delimiter": between, "encoding": "latin-1", "quote": ""}
    if _add(draft, "items", _beside(file, "u.item" if is_small else "movies.dat"), **form):
        genres = dict.fromkeys(_GENRES, "numeric") if is_small else {"genres": "tags"}
        draft.data["item_columns"] = {"title": "text", **genres}
    return draft


def _kuairec(folder: Path) -> Draft:
    _, files = _first(folder, "KuaiRec", {"big_matrix.*": "kuairec"})
    return Draft({"raw_dir": str(files[0].parent), "time_zone": "Asia/Shanghai"})


def _kuairand(folder: Path) -> Draft:
    _, files = _first(folder, "KuaiRand", {"log_standard*.csv": "log"})
    draft = Draft(
        {"time_zone": "Asia/Shanghai", "max_reject_share": 0.02},
        {
            "plays": {"path": [str(file) for file in files]},
            "columns": {
                "user": "user_id",
                "item": "video_id",
                "time": "time_ms",
                "play_time": "play_time_ms",
                "length": "duration_ms",
            },
        },
        ["Liked: played to the end, or for 18 s, as the data set's own long_view."],
        targets={"long_view_s": 18.0},
    )
    users, items = (_beside(files[0], name) for name in ("user_features*.csv", "video_features_basic*.csv"))
    if _add(draft, "users", users):
        draft.data["user_columns"] = {
            name: "numeric" if name.endswith(("_num", "_days")) else "categorical"
            for name in sample_of(str(users)).names
            if name != "user_id"
        }
    if _add(draft, "items", items):
        there = sample_of(str(items)).names
        draft.data["item_columns"] = {name: role for name, role in _KUAIRAND_ITEMS.items() if name in there}
    return draft


def _lastfm(folder: Path) -> Draft:
    layouts = {
        "userid-timestamp-artid-artname-traid-traname*": "1k",
        "user_taggedartists-timestamps.dat": "2k",
    }
    layout, files = _first(folder, "Last.fm", layouts)
    if layout == "2k":
        columns = {"user": "userID", "item": "artistID", "time": "timestamp"}
        notes = ["user_artists.dat has no times; users' tags and their times are used as plays."]
        draft = Draft({"time_zone": "UTC"}, {"plays": {"path": str(files[0])}, "columns": columns}, notes)
        artists = _beside(files[0], "artists.dat")
        if _add(draft, "items", artists, id="id", delimiter="\t", quote=""):
            draft.data["item_columns"] = {"name": "text"}
        return draft
    header = ["user", "time", "artist_id", "artist", "track_id", "track"]
    plays = {"path": str(files[0]), "header": header, "delimiter": "\t", "quote": ""}
    columns = {"user": "user", "item": "artist", "time": "time"}
    notes = ["Items are artists, by name: not all of them have an artist_id."]
    draft = Draft({"time_zone": "UTC"}, {"plays": plays, "columns": columns}, notes)
    if _add(draft, "users", _beside(files[0], "userid-profile.tsv"), id="#id", delimiter="\t", quote=""):
        types: dict[str, ItemColumn] = {"gender": "categorical", "age": "numeric", "country": "categorical"}
        draft.data["user_columns"] = types
    return draft


EXAMPLES: Mapping[str, Callable[[Path], Draft]] = {
    "movielens": _movielens,
    "kuairec": _kuairec,
    "kuairand": _kuairand,
    "lastfm": _lastfm,
}
