"""Raw files as the table `[data]` of the settings describes them: files, columns and their meaning.

A mapped file is a RawFile like others: it passes the same checks and becomes the same table. What a log does
not have is null there, except `watch_ratio`, which holds each play's weight: watched time over length,
the rating, the given weight, the weight of its event, or 1 where the log has only plays.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl

from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.log_layout import ExposureColumns, Files, LogLayout, feature_name
from nightreel.core.settings import DataSettings
from pipelines.ingest.raw_columns import FIRST_DESCRIBED, Kind, Layout, RawColumn, RawFile
from pipelines.ingest.raw_files import (
    BIG_MATRIX,
    CAPTIONS,
    EVENT,
    EXPOSURES,
    LOCAL_TIME,
    RAW_FILES,
    TIMESTAMP,
    USER_FEATURES,
    find_raw_folder,
    raw_path,
)

_INT32_MAX = 2**31 - 1
_KINDS: Mapping[str, Kind] = {
    "numeric": Kind.NUMBER,
    "categorical": Kind.TEXT,
    "music": Kind.TEXT,
    "text": Kind.TEXT,
}


def files_given(file: RawFile, settings: DataSettings) -> Files | None:
    """Where a raw file is according to the settings; None if they do not say."""
    if settings.log is None:
        return None
    given = {
        BIG_MATRIX.name: "plays",
        USER_FEATURES.name: "users",
        CAPTIONS.name: "items",
        EXPOSURES.name: "exposures",
    }
    return getattr(settings.log, given[file.name]) if file.name in given else None


def raw_paths(settings: DataSettings) -> dict[RawFile, Path]:
    """The path of each raw file, whether it exists or not.

    With `[data] plays` there may be no folder raw_dir at all.

    Raises:
        InputError: if there is no file of plays.
    """
    given = {
        file: one.named if one.query is None else query_file(file, settings)
        for file in RAW_FILES
        if (one := files_given(file, settings)) is not None
    }
    folder = settings.raw_dir if BIG_MATRIX in given else find_raw_folder(settings.raw_dir)
    has_folder = folder.is_dir()
    return {
        file: given.get(file) or (raw_path(folder, file) if has_folder else folder / file.name)
        for file in RAW_FILES
    }


def query_file(file: RawFile, settings: DataSettings) -> Path:
    """The path of the stored answer of a query."""
    return settings.raw_dir / "queries" / f"{Path(file.name).stem}.parquet"


def mapped(file: RawFile, settings: DataSettings) -> RawFile:
    """The raw file with the columns that the settings give it."""
    data = settings.log
    if data is None:
        return file
    if file.name == BIG_MATRIX.name:
        return _plays(file, data) if data.maps_plays else file
    if file.name == EXPOSURES.name:
        return _exposures(file, data)
    if file.name == USER_FEATURES.name:
        return _profiles(file, columns.USER_ID, data.users, data.columns.user, data.user_columns)
    if file.name == CAPTIONS.name:
        item, declared = data.columns.item, data.item_columns
        return _profiles(file, columns.VIDEO_ID, data.items, item, declared, unit_ms=data.unit_ms)
    return file


def _plays(file: RawFile, data: LogLayout) -> RawFile:
    named, known = data.columns, {column.name: column for column in file.columns}
    length = {
        "at_most": _INT32_MAX / data.unit_ms,
        "kind": Kind.INTEGER if data.unit_ms == 1 else Kind.NUMBER,
    }

    def of(name: str, source: str | None, **changes: object) -> RawColumn:
        column = replace(known[name], **changes)  # type: ignore[arg-type]
        if source is None:
            return replace(column, required=False, nullable=True)
        return replace(column, required=True, source=source)

    value = getattr(named, named.value) if named.value not in (None, EVENT) else None
    found = [
        of(columns.USER_ID, named.user),
        of(columns.VIDEO_ID, named.item),
        of(columns.PLAY_DURATION, named.play_time, **length),
        of(columns.VIDEO_DURATION, named.length, **{**length, "at_least": 1 / data.unit_ms}),
        known[LOCAL_TIME],
        replace(known[TIMESTAMP], source=named.time),
        known[columns.WATCH_RATIO] if value is None else of(columns.WATCH_RATIO, value),
    ]
    if named.event is not None:
        found.append(
            RawColumn(
                EVENT, Kind.TEXT, True, nullable=False, source=named.event, among=tuple(data.event_weights)
            )
        )
    weights = tuple(data.event_weights.items())
    return replace(file, columns=tuple(found), layout=Layout(True, data.unit_ms, weights))


def _exposures(file: RawFile, data: LogLayout) -> RawFile:
    """The file with columns named as in the plays, where [data.exposures] does not name them otherwise."""
    given, known = data.exposures or ExposureColumns(), {column.name: column for column in file.columns}
    time = given.time or (data.columns.time if data.maps_plays else None)
    found = [
        replace(known[columns.USER_ID], source=given.user or data.columns.user),
        replace(known[columns.VIDEO_ID], source=given.item or data.columns.item),
        known[LOCAL_TIME],
        known[TIMESTAMP] if time is None else replace(known[TIMESTAMP], source=time),
    ]
    for name, source in ((columns.POSITION, given.position), (columns.RUN, given.run)):
        found.append(replace(known[name], source=source or name, required=source is not None))
    return replace(file, columns=tuple(found), layout=Layout(only_named=time is not None))


def _profiles(
    file: RawFile, key: str, given: Files | None, named: str, declared: Mapping[str, str], *, unit_ms: int = 1
) -> RawFile:
    """The file with the declared columns too, under the names of their features or of their roles."""
    entity: Literal["user", "item"] = "user" if key == columns.USER_ID else "item"
    texts = tuple(source for source, kind in declared.items() if kind == "text")
    own = tuple(
        RawColumn(feature_name(entity, source), _KINDS[kind], required=True, source=source)
        for source, kind in declared.items()
        if kind in _KINDS
    )
    roles, categories = _roles(declared, unit_ms)
    added = [one for name, one in roles.items() if name not in {known.name for known in file.columns}]
    # Texts of users have features of their own, which are made of these columns.
    captions = tuple(feature_name(entity, source) for source in texts if entity == "item")
    source = "" if given is None else given.id or named
    known = [
        replace(one, source=source) if one.name == key else roles.get(one.name, one) for one in file.columns
    ]
    layout = Layout(False, unit_ms, (), captions, categories, columns.VIDEO_TAG in roles)
    return replace(file, columns=(*known, *added, *own), layout=layout)


def _roles(declared: Mapping[str, str], unit_ms: int) -> tuple[dict[str, RawColumn], int]:
    """The columns of items that have a role, by the names that they get, and how many are categories."""
    found: dict[str, RawColumn] = {}
    names = iter(columns.CATEGORY_NAMES)
    for source, role in declared.items():
        if role == "category":
            column = RawColumn(next(names), Kind.TEXT)
        elif role == "author":
            column = RawColumn(columns.AUTHOR_ID, Kind.KEY)
        elif role == "upload_date":
            column = RawColumn(columns.UPLOAD_DATE, Kind.DAY, earliest=FIRST_DESCRIBED)
        elif role == "length":
            most = _INT32_MAX / unit_ms
            column = RawColumn(columns.VIDEO_DURATION, Kind.NUMBER, at_least=0, at_most=most)
        elif role == "tags":
            column = RawColumn(columns.TOPIC_TAGS, Kind.TAGS)
            # Its codes are those of the first of them.
            found[columns.VIDEO_TAG] = RawColumn(columns.VIDEO_TAG, Kind.KEY)
        else:
            continue
        found[column.name] = replace(column, required=True, source=source)
    return found, sum(role == "category" for role in declared.values())


def renamed(names: list[str], file: RawFile, path: Path) -> list[str]:
    """The header with the columns that settings map renamed to KuaiRec's names.

    Raises:
        InputError: if one of them is missing, or occurs twice.
    """
    if file.layout is None:
        return names
    inner = {one.source: one.name for one in file.columns if one.source}
    needed = {one.source for one in file.columns if one.required or one.name == TIMESTAMP}
    for source in inner:
        if names.count(source) != 1 and (source in needed or source in names):
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            what = "no" if source not in names else "more than one"
            raise InputError(
                f"{path}: {what} column {source}, which the table [data] names; there are {shown}.",
                "Correct [data] in nightreel.toml, or the file.",
            )
    taken = {one.name for one in file.columns if one.source or file.layout.only_named}
    return [inner.get(name) or (f"{name} (not read)" if name in taken else name) for name in names]


def with_values(
    frame: pl.DataFrame, file: RawFile, codes: Callable[[str, pl.Series], pl.Series]
) -> pl.DataFrame:
    """Typed rows of a mapped file, with lengths in ms, each play's weight, captions and categories.

    Args:
        codes: gives text ids their codes; called with the name of what they identify, and the ids.
    """
    layout = file.layout
    if layout is None:
        return frame
    lengths = [name for name in (columns.PLAY_DURATION, columns.VIDEO_DURATION) if name in frame.columns]
    frame = frame.with_columns(
        (pl.col(name).cast(pl.Float64) * layout.unit_ms).round().cast(pl.Int32) for name in lengths
    )
    if not file.has_plays:
        return _described(frame, layout, codes)
    if layout.event_weights:
        weight = pl.col(EVENT).replace_strict(dict(layout.event_weights), return_dtype=pl.Float32)
        return frame.with_columns(weight.alias(columns.WATCH_RATIO)).drop(EVENT)
    if columns.WATCH_RATIO not in frame.columns and len(lengths) < 2:
        return frame.with_columns(pl.lit(1.0, dtype=pl.Float32).alias(columns.WATCH_RATIO))
    return frame


def _described(
    frame: pl.DataFrame, layout: Layout, codes: Callable[[str, pl.Series], pl.Series]
) -> pl.DataFrame:
    """Profiles with what their columns are declared to be."""
    if layout.captions:
        texts = pl.concat_str(layout.captions, separator="\n", ignore_nulls=True)
        frame = frame.with_columns(pl.when(texts != "").then(texts).alias(columns.CAPTION))
    named = zip(columns.CATEGORY_NAMES, columns.CATEGORY_LEVELS, strict=True)
    for name, level in list(named)[: layout.categories]:
        frame = frame.with_columns(codes("category", frame[name]).cast(pl.Int32).alias(level))
    if layout.has_tags:
        first = frame[columns.TOPIC_TAGS].list.first()
        frame = frame.with_columns(codes("tag", first).alias(columns.VIDEO_TAG))
    return frame
