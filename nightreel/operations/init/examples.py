"""The layouts of well-known logs, whose files the user has: nothing is downloaded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nightreel.core.errors import InputError
from nightreel.operations.init.proposal import Draft

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
        f"{folder}: no {' or '.join(patterns)}, as {name} has.", "Name the folder that its files lie in."
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
    draft = Draft({"time_zone": "UTC", "like_threshold": 3.5}, notes=["Liked: 4 stars and more."])
    if layout == "csv":
        draft.data = {
            "plays": {"path": str(file)},
            "columns": {"user": "userId", "item": "movieId", "time": "timestamp", "rating": "rating"},
        }
        if _add(draft, "items", _beside(file, "movies.csv")):
            draft.data["item_columns"] = {"title": "text", "genres": "categorical"}
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
        genres = dict.fromkeys(_GENRES, "numeric") if is_small else {"genres": "categorical"}
        draft.data["item_columns"] = {"title": "text", **genres}
    return draft


def _kuairec(folder: Path) -> Draft:
    _, files = _first(folder, "KuaiRec", {"big_matrix.*": "kuairec"})
    return Draft({"raw_dir": str(files[0].parent), "time_zone": "Asia/Shanghai"})


def _kuairand(folder: Path) -> Draft:
    _, files = _first(folder, "KuaiRand", {"log_standard*.csv": "log"})
    draft = Draft(
        {"time_zone": "Asia/Shanghai", "long_view_s": 18.0, "max_reject_share": 0.02},
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
    )
    _add(draft, "users", _beside(files[0], "user_features*.csv"))
    if _add(draft, "items", _beside(files[0], "video_features_basic*.csv")):
        names = ("author_id", "video_type", "upload_type", "tag")
        draft.data["item_columns"] = dict.fromkeys(names, "categorical")
    return draft


def _lastfm(folder: Path) -> Draft:
    layouts = {
        "userid-timestamp-artid-artname-traid-traname*": "1k",
        "user_taggedartists-timestamps.dat": "2k",
    }
    layout, files = _first(folder, "Last.fm", layouts)
    if layout == "2k":
        columns = {"user": "userID", "item": "artistID", "time": "timestamp"}
        notes = ["user_artists.dat has no times; what users tagged, and when, stands in for their plays."]
        return Draft({"time_zone": "UTC"}, {"plays": {"path": str(files[0])}, "columns": columns}, notes)
    header = ["user", "time", "artist_id", "artist", "track_id", "track"]
    plays = {"path": str(files[0]), "header": header, "delimiter": "\t", "quote": ""}
    columns = {"user": "user", "item": "artist", "time": "time"}
    notes = ["Items are artists, by name: not all of them have an artist_id."]
    return Draft({"time_zone": "UTC"}, {"plays": plays, "columns": columns}, notes)


EXAMPLES: Mapping[str, Callable[[Path], Draft]] = {
    "movielens": _movielens,
    "kuairec": _kuairec,
    "kuairand": _kuairand,
    "lastfm": _lastfm,
}
