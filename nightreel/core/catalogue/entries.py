"""The classes of the catalogue's entries, and the entities that features describe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from nightreel.core import columns

Kind = Literal["numeric", "categorical", "embedding", "description"]
Type = Literal["int32", "int64", "float32", "string", "timestamp", "ints", "floats"]
Table = Literal["plays", "video_daily", "users", "video_captions"]

POLARS_TYPES: Final[Mapping[str, pl.DataType]] = {
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "float32": pl.Float32(),
    "string": pl.String(),
    "timestamp": pl.Datetime("us", "UTC"),
    "ints": pl.List(pl.Int32),
    "floats": pl.List(pl.Float32),
}


@dataclass(frozen=True)
class Entity:
    """The subject of features: users, videos, pairs of both, or a group of videos.

    Attributes:
        join_key: the int64 column by which views are joined.
        of_video: for a group of videos, such as an author: the video feature that says which group it is in;
            None for users and videos.
    """

    name: str
    join_key: str
    description: str
    of_video: str | None = None


ENTITIES: Final[Mapping[str, Entity]] = {
    entity.name: entity
    for entity in (
        Entity("user", columns.USER_ID, "A person who watches."),
        Entity("video", columns.VIDEO_ID, "A short video."),
        Entity("author", "author", "Who uploaded a video: its author_id.", columns.AUTHOR_ID),
        *(
            Entity(level.removesuffix("_id"), level.removesuffix("_id"), f"A video's {level}.", level)
            for level in columns.CATEGORY_LEVELS
        ),
        Entity("tag", "tag", "A video's tag: its video_tag_id.", columns.VIDEO_TAG),
        Entity("length", "length", "A range of lengths: a video's video_length.", columns.VIDEO_LENGTH),
    )
}
GROUPS: Final = tuple(entity for entity in ENTITIES.values() if entity.of_video is not None)


@dataclass(frozen=True)
class Feature:
    """A feature: its name, what it describes, what it means, and how it is computed.

    Attributes:
        entity: "user", "video", or a user and a group of videos: "user+author",
            "user+first_level_category", "user+second_level_category", "user+third_level_category",
            "user+tag", "user+length".
        value: a Polars aggregation over the entity's rows of `table`, in the last `days` local days or in all
            so far. It is stamped with the end of each day on which it changes, so a play never sees its own
            day. None for features from nightreel's own steps, which `how` describes.
        combine: how integers of single days combine to those of several: "sum", "max" or "min", which is much
            faster than aggregating all rows again for each day; None if they do not combine.
        kind: "categorical" for names and codes.
        view: the Feast view; by default one for the entity.
        ranked: whether the rankers read it.
    """

    name: str
    entity: str
    description: str
    value: pl.Expr | None = None
    days: int | None = None
    table: Table = "plays"
    combine: Literal["sum", "max", "min"] | None = None
    type: Type = "float32"
    kind: Kind = "numeric"
    how: str = ""
    view: str = ""
    ranked: bool = True

    @property
    def dtype(self) -> pl.DataType:
        """The Polars type of its column."""
        return POLARS_TYPES[self.type]

    @property
    def computed(self) -> str:
        """How it is computed, in words."""
        if self.how or self.value is None:
            return self.how
        window = "all days so far" if self.days is None else f"the last {self.days} day(s)"
        return f"`{self.value}` over {self.table} of {window}"


@dataclass(frozen=True)
class View:
    """A Feast view: features of one entity, or of a pair, that are computed together.

    Attributes:
        source: what its parquet holds; empty for an on-demand view.
        group: Feast's tag.
        module: the user's module that it comes from.
    """

    name: str
    entities: tuple[str, ...]
    description: str
    features: tuple[Feature, ...]
    group: str
    source: str = ""
    module: str = ""

    @property
    def is_stored(self) -> bool:
        """Whether its values are stored in a parquet source."""
        return bool(self.source)

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The columns by which it is joined."""
        return tuple(ENTITIES[entity].join_key for entity in self.entities)

    @property
    def is_of_pairs(self) -> bool:
        """Whether its values belong to a user and a group of videos, so that there are many."""
        return self.is_stored and len(self.entities) > 1

    @property
    def is_expressed(self) -> bool:
        """Whether its source is computed from its features' expressions."""
        return self.is_stored and all(one.value is not None for one in self.features)

    @property
    def names(self) -> tuple[str, ...]:
        """Its features' names, in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def ranked(self) -> tuple[str, ...]:
        """The names of the features that the rankers read."""
        return tuple(feature.name for feature in self.features if feature.ranked)

    def conformed(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The source with the catalogue's columns and types: keys, event_timestamp, features."""
        return frame.select(
            pl.col(self.join_keys).cast(pl.Int64),
            columns.EVENT_TIMESTAMP,
            *(pl.col(feature.name).cast(feature.dtype) for feature in self.features),
        )
