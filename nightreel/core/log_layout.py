"""The `[data]` table of nightreel.toml: where a log of any layout is, and what each of its columns is.

Without it, the raw files are those of KuaiRec, by their names and columns.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ColumnType = Literal["numeric", "categorical", "text"]
# Other meanings of an item column: the roles that features, candidate sources and limits read.
ItemRole = Literal["category", "author", "upload_date", "length", "music", "tags"]
ItemColumn = ColumnType | ItemRole
# Roles that several columns may have: categories, from the widest to the narrowest.
_MOST_OF_ROLE: Mapping[str, int] = {"category": 3}
# Roles whose columns hold ids, which are always read as text.
_IDS_OF_ROLE: Mapping[str, str] = {"category": "category", "author": "author", "tags": "tag"}
Unit = Literal["milliseconds", "seconds", "minutes"]
# The kinds of a play's value, and the value above which a play is liked if like_threshold is not set: 4 of 5
# stars or more; any weight; every play if the log has no values.
VALUES: Mapping[str, float] = {"watch_ratio": 1.0, "rating": 3.5, "weight": 0.0, "event": 0.5}
PLAYS_ALONE_LIKED_ABOVE = 0.5
MS_PER_UNIT: Mapping[Unit, int] = {"milliseconds": 1, "seconds": 1_000, "minutes": 60_000}
BETWEEN_PATHS = ", "
SQL = "sql:"
_IN_MS = re.compile(r"(^|_)(ms|msec|millis|milliseconds)$", re.IGNORECASE)
_KUAIREC_MS = ("play_duration", "video_duration")


def feature_name(entity: Literal["user", "item"], column: str) -> str:
    """The name of the feature made from a declared column of users or items."""
    plain = re.sub(r"[^a-z0-9]+", "_", column.casefold()).strip("_")
    return f"{entity}_{plain or 'column'}"


def user_column(column: str, names: Collection[str]) -> str:
    """The name in the users' table of a column that may be named as in the log's own file of users."""
    return column if column in names else feature_name("user", column)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Files(_Table):
    """Files of one kind: `path` is a file, a folder of Parquet, a pattern like `logs/*.csv`, or a list.

    Attributes:
        header: column names, if the files have no header line.
        delimiter, encoding, quote: of these files, if they differ from the settings with these names.
        id: for profiles, the column with the user or item id; by default named as in the plays.
    """

    path: tuple[str, ...] = Field(min_length=1)
    header: tuple[str, ...] | None = None
    delimiter: str | None = Field(default=None, min_length=1)
    encoding: str | None = None
    quote: str | None = Field(default=None, max_length=1)
    id: str | None = None

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        paths = (value,) if isinstance(value, str) else value
        for path in paths if isinstance(paths, list | tuple) else ():
            if isinstance(path, str) and path.startswith(SQL):
                if len(paths) > 1:
                    raise ValueError("a query cannot be part of a list")
                continue
            if isinstance(path, str) and (BETWEEN_PATHS in path or not path.strip()):
                raise ValueError(f"{path!r}: give several files as a list, and no file with ', ' in its name")
        return paths

    def below(self, folder: Path) -> "Files":
        """The same with relative paths resolved in `folder`."""
        if self.query is not None:
            return self
        whole = tuple(str(folder / Path(path).expanduser()) for path in self.path)
        return self.model_copy(update={"path": whole})

    @property
    def query(self) -> str | None:
        """The query whose result replaces the files; None for files."""
        return self.path[0].removeprefix(SQL) if self.path[0].startswith(SQL) else None

    @property
    def named(self) -> Path:
        """All of them as one path, which `pipelines.ingest.formats.files_of` splits again."""
        return Path(BETWEEN_PATHS.join(self.path))


class ExposureColumns(_Table):
    """The meaning of an exposure log's columns; by default user, item and time are named as in the plays.

    Attributes:
        position: where a row was displayed, from 1; a column `position`, if there is one, by default.
        run: the run_id that the app read the row with; by default a column `run`, if there is one.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    position: str | None = None
    run: str | None = None


class Exposures(Files, ExposureColumns):
    """Files that say what an app has displayed, and which of their columns is what.

    Attributes:
        watermark: for a query, the column by which later nights ask for new rows.
    """

    watermark: str | None = None

    @model_validator(mode="after")
    def _one_each(self) -> "Exposures":
        named = [one for one in (self.user, self.item, self.time, self.position, self.run) if one is not None]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"exposures: the column {twice[0]!r} is given for two things")
        return self


class Columns(_Table):
    """The meaning of the plays' columns; columns that are not named are not read."""

    user: str = "user_id"
    item: str = "video_id"
    time: str = "timestamp"
    play_time: str | None = None
    length: str | None = None
    watch_ratio: str | None = None
    rating: str | None = None
    weight: str | None = None
    event: str | None = None

    @model_validator(mode="after")
    def _one_each(self) -> "Columns":
        named = [name for name in self.model_dump().values() if name is not None]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ValueError(f"the column {twice[0]!r} is given for two things")
        values = [name for name in VALUES if getattr(self, name) is not None]
        if len(values) > 1:
            raise ValueError(f"{' and '.join(values)}: name one, which holds a play's value")
        if self.play_time is not None and self.length is None and not values:
            raise ValueError("play_time without length does not say how much was played: name length too")
        return self

    @property
    def value(self) -> str | None:
        """The column with a play's value; None if that is play time over length, or there is none."""
        return next((name for name in VALUES if getattr(self, name) is not None), None)

    @property
    def has_lengths(self) -> bool:
        """Whether both play time and length are known."""
        return self.play_time is not None and self.length is not None


class LogLayout(_Table):
    """How the log is read: its files, columns and profiles.

    Attributes:
        watermark: for plays from a query, the column by which later nights ask for new rows.
    """

    plays: Files | None = Field(
        default=None,
        description="The plays: a path, or a table (docs/your-data.md); by default KuaiRec's.",
    )
    users: Files | None = Field(default=None, description="Profiles of users: a path, or a table.")
    items: Files | None = Field(default=None, description="Profiles of items: a path, or a table.")
    exposures: Exposures | None = Field(
        default=None, description="What an app has displayed from the lists: a path, or a table."
    )
    columns: Columns = Field(default=Columns(), description="What each column of the plays is.")
    length_unit: Unit | None = Field(default=None, description="The unit of play time and length.")
    watermark: str | None = Field(
        default=None,
        description="For plays from a query: a column that only grows, from whose highest value later nights "
        "continue.",
    )
    event_weights: dict[str, float] = Field(default_factory=dict, description="The weight of each event.")
    user_columns: dict[str, ColumnType] = Field(
        default_factory=dict, description="The type of each column of users that becomes a feature."
    )
    item_columns: dict[str, ItemColumn] = Field(
        default_factory=dict,
        description="The type of each column of items that becomes a feature, or its role.",
    )

    @field_validator("plays", "users", "items", "exposures", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str | list | tuple) else value

    @field_validator("event_weights")
    @classmethod
    def _not_negative(cls, value: dict[str, float]) -> dict[str, float]:
        bad = next((name for name, weight in value.items() if not 0 <= weight < float("inf")), None)
        if bad is not None:
            raise ValueError(f"{bad}: an event's weight is 0 or more")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "LogLayout":
        if (self.columns.event is not None) != bool(self.event_weights):
            raise ValueError(
                "columns.event and event_weights belong together: [data.event_weights] has the "
                "weight of each event, like `like = 1.0`"
            )
        declared: tuple[tuple[Mapping[str, str], Literal["user", "item"]], ...] = (
            (self.user_columns, "user"),
            (self.item_columns, "item"),
        )
        for role in get_args(ItemRole):
            most = _MOST_OF_ROLE.get(role, 1)
            if role != "music" and len(self.items_with(role)) > most:
                raise ValueError(
                    f"item_columns: {role} is one column's, or of {most}: {', '.join(self.items_with(role))}"
                )
        for columns, of in declared:
            features = [feature_name(of, name) for name in columns]
            twice = next((name for name in features if features.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{of}_columns: two of them become the feature {twice}; rename one")
        if self.length_unit is None and not self._is_in_ms:
            raise ValueError(
                'length_unit: are play_time and lengths in "milliseconds", "seconds" or "minutes"?'
            )
        return self

    def items_with(self, role: str) -> tuple[str, ...]:
        """The item columns with a role or type."""
        return tuple(name for name, of in self.item_columns.items() if of == role)

    @property
    def user_texts(self) -> tuple[str, ...]:
        """The user columns that are text."""
        return tuple(name for name, kind in self.user_columns.items() if kind == "text")

    @property
    def coded(self) -> tuple[str, ...]:
        """Names of the ids that get codes because an item column is declared as such an id."""
        return tuple(name for role, name in _IDS_OF_ROLE.items() if self.items_with(role))

    @property
    def maps_plays(self) -> bool:
        """Whether it defines how plays are read; otherwise they have KuaiRec's columns."""
        return self.plays is not None or "columns" in self.model_fields_set

    @property
    def has_play_times(self) -> bool:
        """Whether play times are known."""
        return not self.maps_plays or self.columns.play_time is not None

    @property
    def has_lengths(self) -> bool:
        """Whether both play time and length are known."""
        return not self.maps_plays or self.columns.has_lengths

    @property
    def _is_in_ms(self) -> bool:
        of_plays = [name for name in (self.columns.play_time, self.columns.length) if name is not None]
        named = [*of_plays, *self.items_with("length")]
        return all(name in _KUAIREC_MS or _IN_MS.search(name) for name in named)

    @property
    def unit_ms(self) -> int:
        """Milliseconds per unit of play time and length."""
        return MS_PER_UNIT[self.length_unit or "milliseconds"]

    @property
    def like_threshold(self) -> float:
        """The value above which a play is liked, if the setting with this name is not given."""
        if self.columns.value is not None:
            return VALUES[self.columns.value]
        return VALUES["watch_ratio"] if self.has_lengths else PLAYS_ALONE_LIKED_ABOVE

    def below(self, folder: Path) -> "LogLayout":
        """The same with relative paths resolved in `folder`."""
        files = {name: getattr(self, name) for name in ("plays", "users", "items", "exposures")}
        return self.model_copy(update={name: one and one.below(folder) for name, one in files.items()})
