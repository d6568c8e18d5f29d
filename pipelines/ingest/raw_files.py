"""The raw files: their columns with kinds and limits.

Seven are KuaiRec's; `exposures.csv` says what an app has displayed of the lists.
"""

from dataclasses import replace
from pathlib import Path

from nightreel.core import columns
from nightreel.core.errors import InputError
from pipelines.ingest.formats import ENDINGS
from pipelines.ingest.raw_columns import FIRST_DESCRIBED, Kind, RawColumn, RawFile


def _key(name: str) -> RawColumn:
    return RawColumn(name, Kind.KEY, required=True, nullable=False)


_UNKNOWN = ("UNKNOWN",)
_NO_CATEGORY = ("-124",)
_VIDEO_KEY = _key(columns.VIDEO_ID)
TIMESTAMP, LOCAL_TIME, EVENT = "timestamp", "time", "event"
INCOMING = "incoming"  # the folder of raw_dir where deliveries are dropped

_PLAY = (
    _key(columns.USER_ID),
    _VIDEO_KEY,
    RawColumn(columns.PLAY_DURATION, Kind.INTEGER, required=True, nullable=False, at_least=0),
    RawColumn(columns.VIDEO_DURATION, Kind.INTEGER, required=True, nullable=False, at_least=1),
    RawColumn(LOCAL_TIME, Kind.LOCAL_TIME),
    RawColumn(TIMESTAMP, Kind.SECONDS),
    # Where it is missing, it is play time over length.
    RawColumn(columns.WATCH_RATIO, Kind.NUMBER, nullable=False, at_least=0),
)
BIG_MATRIX = RawFile(
    columns.BIG_MATRIX_FILE,
    "interactions",
    _PLAY,
    any_of=(TIMESTAMP, LOCAL_TIME),
    is_timed=True,
    has_plays=True,
)
SMALL_MATRIX = RawFile(
    columns.SMALL_MATRIX_FILE,
    "fully_observed",
    _PLAY,
    key=(columns.USER_ID, columns.VIDEO_ID),
    without="evaluate has no protocol `kuairec`, which ranks fully observed pairs",
    is_timed=True,
    has_plays=True,
    time_optional=True,
)

_COUNTED = (
    *("show_cnt", "show_user_num", "play_cnt", "play_user_num", columns.PLAY_DURATION),
    *("complete_play_cnt", "complete_play_user_num", "valid_play_cnt", "valid_play_user_num"),
    *("long_time_play_cnt", "long_time_play_user_num", "short_time_play_cnt", "short_time_play_user_num"),
    *("play_progress", "comment_stay_duration", "like_cnt", "like_user_num"),
    *("click_like_cnt", "double_click_cnt", "cancel_like_cnt", "cancel_like_user_num"),
    *("comment_cnt", "comment_user_num", "direct_comment_cnt", "reply_comment_cnt"),
    *("delete_comment_cnt", "delete_comment_user_num", "comment_like_cnt", "comment_like_user_num"),
    *("follow_cnt", "follow_user_num", "cancel_follow_cnt", "cancel_follow_user_num"),
    *("share_cnt", "share_user_num", "download_cnt", "download_user_num"),
    *("report_cnt", "report_user_num", "reduce_similar_cnt", "reduce_similar_user_num"),
    *("collect_cnt", "collect_user_num", "cancel_collect_cnt", "cancel_collect_user_num"),
)
_PROGRESS = "play_progress"
_REQUIRED_COUNTS = ("show_cnt", "play_cnt", "like_cnt")


def _counted(name: str) -> RawColumn:
    if name == _PROGRESS:
        return RawColumn(name, Kind.NUMBER, at_least=0)
    return RawColumn(name, Kind.COUNT, required=name in _REQUIRED_COUNTS, at_least=0)


ITEM_DAILY = RawFile(
    columns.ITEM_DAILY_FILE,
    "video_daily",
    (
        _VIDEO_KEY,
        RawColumn(columns.LOCAL_DATE, Kind.DAY, required=True, nullable=False),
        RawColumn(columns.AUTHOR_ID, Kind.KEY),
        RawColumn(columns.VIDEO_TYPE, Kind.TEXT),
        RawColumn(columns.UPLOAD_DATE, Kind.DAY, earliest=FIRST_DESCRIBED),
        RawColumn(columns.UPLOAD_TYPE, Kind.TEXT),
        RawColumn(columns.VISIBLE_STATUS, Kind.TEXT),
        RawColumn(columns.VIDEO_DURATION, Kind.INTEGER, at_least=0),
        RawColumn("video_width", Kind.INTEGER),
        RawColumn("video_height", Kind.INTEGER),
        RawColumn(columns.MUSIC_ID, Kind.KEY),
        RawColumn(columns.VIDEO_TAG, Kind.KEY),
        RawColumn("video_tag_name", Kind.TEXT),
        *(_counted(name) for name in _COUNTED),
    ),
    key=(columns.VIDEO_ID, columns.LOCAL_DATE),
    without="daily counts are counted from the plays, each of them one show; likes, comments and all that "
    "describes a video but its length are unknown",
)

USER_FEATURES = RawFile(
    columns.USER_FEATURES_FILE,
    "users",
    (
        _key(columns.USER_ID),
        RawColumn("user_active_degree", Kind.TEXT),
        RawColumn("is_lowactive_period", Kind.INTEGER),
        RawColumn("is_live_streamer", Kind.INTEGER),
        RawColumn("is_video_author", Kind.INTEGER),
        *(
            column
            for name in ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
            for column in (RawColumn(name, Kind.INTEGER), RawColumn(f"{name}_range", Kind.TEXT))
        ),
        *(RawColumn(name, Kind.INTEGER) for name in columns.ONEHOT_FEATURES),
    ),
    key=(columns.USER_ID,),
    without="the users are those of the plays, without a profile",
)

CAPTIONS = RawFile(
    columns.CAPTION_FILE,
    "video_captions",
    (
        _VIDEO_KEY,
        RawColumn(columns.MANUAL_COVER_TEXT, Kind.TEXT, missing=_UNKNOWN),
        RawColumn(columns.CAPTION, Kind.TEXT, missing=_UNKNOWN),
        RawColumn(columns.TOPIC_TAGS, Kind.TEXTS, missing=_UNKNOWN),
        *(
            column
            for level, name in zip(columns.CATEGORY_LEVELS, columns.CATEGORY_NAMES, strict=True)
            for column in (
                RawColumn(level, Kind.INTEGER, missing=_NO_CATEGORY),
                RawColumn(name, Kind.TEXT, missing=_UNKNOWN),
            )
        ),
    ),
    key=(columns.VIDEO_ID,),
    without="the videos are those of the plays, without captions and categories",
)

CATEGORIES = RawFile(
    columns.ITEM_CATEGORIES_FILE,
    "video_categories",
    (_VIDEO_KEY, RawColumn(columns.CATEGORY_TAGS, Kind.INTEGERS, required=True)),
    key=(columns.VIDEO_ID,),
    without="there is no table of the 31 category tags (no feature of the rankers reads it)",
)

SOCIAL_NETWORK = RawFile(
    columns.SOCIAL_NETWORK_FILE,
    "social_network",
    (_key(columns.USER_ID), RawColumn(columns.FRIENDS, Kind.INTEGERS, required=True)),
    key=(columns.USER_ID,),
    without="there is no table of friends (no feature of the rankers reads it)",
)

# Which rows of which run's lists an app has displayed, when and where.
EXPOSURES = RawFile(
    columns.EXPOSURES_FILE,
    "exposures",
    (
        _key(columns.USER_ID),
        _VIDEO_KEY,
        RawColumn(LOCAL_TIME, Kind.LOCAL_TIME),
        RawColumn(TIMESTAMP, Kind.SECONDS),
        RawColumn(columns.POSITION, Kind.INTEGER, at_least=1),
        RawColumn(columns.RUN, Kind.INTEGER, at_least=1),
    ),
    any_of=(TIMESTAMP, LOCAL_TIME),
    without="",
    is_timed=True,
)

# The side files come first: they are quick to read, so their errors are reported at once. The
# exposures last: text ids have the same codes with them and without.
RAW_FILES = (
    USER_FEATURES,
    CAPTIONS,
    CATEGORIES,
    SOCIAL_NETWORK,
    ITEM_DAILY,
    SMALL_MATRIX,
    BIG_MATRIX,
    EXPOSURES,
)


def find_raw_folder(raw_dir: Path) -> Path:
    """The folder that holds the raw files: raw_dir itself, its `data`, or the `data` of a folder in it.

    Raises:
        InputError: if there is none, or more than one.
    """
    if not raw_dir.is_dir():
        raise InputError(
            f"{raw_dir}: {'a file, not a folder' if raw_dir.is_file() else 'no such folder'}.",
            "Unzip KuaiRec there, or set [data] raw_dir in nightreel.toml (or NIGHTREEL_DATA_RAW_DIR) to "
            "its folder; for a log of another layout run `nightreel init FILE`.",
        )
    asked = columns.BIG_MATRIX_FILE
    # The plays may be of any format.
    for folders in ([raw_dir], [raw_dir / "data"], sorted(raw_dir.glob("*/data")), sorted(raw_dir.glob("*"))):
        found = [one for one in folders if one != raw_dir / INCOMING and _is_there(one)]
        if len(found) > 1:
            raise InputError(
                f"{raw_dir}: {asked} is in {found[0].name} and in {found[1].name} below it.",
                "Set [data] raw_dir to the right one of these folders.",
            )
        if found:
            return found[0]
    raise InputError(
        f"{raw_dir}: no {asked} there, nor in a `data` folder below it.",
        "Set [data] raw_dir in nightreel.toml (or NIGHTREEL_DATA_RAW_DIR) to the folder with KuaiRec's CSV "
        "files; for a log of another layout run `nightreel init FILE`.",
    )


def _is_there(folder: Path) -> bool:
    try:
        return folder.is_dir() and raw_path(folder, BIG_MATRIX).exists()
    except OSError:  # a folder that this user may not read
        return False


def raw_path(folder: Path, file: RawFile) -> Path:
    """The path of a raw file: under its own name, with the ending of another format, or as a folder.

    If it does not exist, the path has its own name.

    Raises:
        InputError: if several of these exist.
    """
    path = folder / file.name
    if path.exists() or path.is_symlink():
        return path
    stem = Path(file.name).stem
    found = [
        one
        for one in sorted(folder.iterdir())
        if (one.name in _names_of_folders(stem) and one.is_dir())
        or (one.name in {stem + ending for ending in ENDINGS} and one.is_file())
    ]
    if len(found) > 1:
        raise InputError(
            f"{folder}: {found[0].name} and {found[1].name}: which of them holds the rows?",
            "Keep one of them.",
        )
    return found[0] if found else path


def _names_of_folders(stem: str) -> tuple[str, str]:
    return stem, f"{stem}.parquet"


def present_columns(file: RawFile, header: list[str], path: Path) -> RawFile:
    """The file with only those of its columns that the header names.

    Raises:
        InputError: if a required column is missing, or one is named twice.
    """
    asked = {column.name for column in file.columns}
    twice = sorted({name for name in header if header.count(name) > 1} & asked)
    if twice:
        raise InputError(f"{path.name}, line 1: column {twice[0]} is named twice.", "Remove one of the two.")
    missing = [column.name for column in file.columns if column.required and column.name not in header]
    if file.any_of and not set(file.any_of) & set(header):
        missing.append(" or ".join(file.any_of))
    if missing:
        shown = ", ".join(header[:8]) + (", ..." if len(header) > 8 else "")
        raise InputError(
            f"{path}, line 1: no column {', '.join(missing)}; the header has {shown or 'nothing'}.",
            "Is it the right file, with its header line? Add the column, or let `nightreel init` write which "
            "column is what.",
        )
    return replace(file, columns=tuple(column for column in file.columns if column.name in header))
