"""`[data]`: where the log lies, how its files are read, and which plays are liked."""

import codecs
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from nightreel.core.log_layout import LogLayout
from nightreel.core.settings.names import FOLLOWS
from nightreel.core.settings.section import Section, ZoneName, listed

AUTO_IDS, NO_TEXT_IDS = "auto", "none"
TEXT_IDS = ("user", "video", "author", "music", "tag")
TimeFormat = Literal[
    "auto", "seconds", "milliseconds", "microseconds", "nanoseconds", "iso", "day", "day_first", "month_first"
]


class FileFormat(Section):
    """How raw files are written, as far as that is not recognised."""

    delimiter: str | None = Field(
        default=None,
        description="what stands between the columns of CSV files, e.g. `;` or `::`",
        min_length=1,
    )
    decimal: Literal[".", ","] | None = Field(
        default=None,
        description="what stands before the decimals of numbers; recognised: a point, or a comma where that "
        "does not separate columns and the first rows of a column have it",
    )
    encoding: str | None = Field(
        default=None,
        description="of text files, e.g. `gbk`; recognised: UTF-8, or UTF-16 where a file says so",
    )
    quote: str | None = Field(
        default=None,
        description="what stands around fields of CSV files that hold a delimiter, e.g. `'`; empty: nothing, "
        "and a quote is a character like others; recognised: `\"`, or `'` where all fields have it",
        max_length=1,
    )
    time: TimeFormat = Field(
        default="auto",
        description="how the times of plays are written: Unix time in a unit, ISO 8601 with or without a "
        "zone, days alone like 2020-12-31 or 20201231, or dates like 31/12/2020 or 12/31/2020",
    )
    text_ids: str = Field(
        default=AUTO_IDS,
        description="which ids are text (words, UUIDs, integers above 2^63-1): names of user, video, author, "
        "music, tag with commas between, or `none`; recognised in the first load, and kept",
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                codecs.lookup(value)
            except (LookupError, ValueError) as error:
                raise ValueError(f"{value!r} is no known encoding; use a name like gbk or latin-1") from error
        return value

    @field_validator("text_ids")
    @classmethod
    def _known_ids(cls, value: str) -> str:
        names = listed(value)
        of_ids = not set(names) - set(TEXT_IDS) and len(set(names)) == len(names)
        if names not in ([AUTO_IDS], [NO_TEXT_IDS]) and not of_ids:
            known = ", ".join(TEXT_IDS)
            raise ValueError(f"{value!r}: write `auto`, `none`, or some of {known}, with commas between")
        return ",".join(names)


class DataSettings(Section):
    """Raw files, and what a liked play is."""

    raw_dir: Path = Field(
        default=Path("raw"),
        description="Folder with the raw CSV files (KuaiRec's `data` folder), or its URL (`s3://`, `gs://`, "
        "`file://`).",
    )
    raw_url: str | None = Field(
        default=None, description="Its URL, where `raw_dir` was one.", json_schema_extra=FOLLOWS
    )
    source_url: SecretStr | None = Field(
        default=None,
        description='URL of the database that queries of this table (`plays = "sql:SELECT ..."`) are put to: '
        "PostgreSQL, SQLite, DuckDB, or another of SQLAlchemy; by the environment.",
    )
    time_zone: ZoneName = Field(
        default="Asia/Shanghai", description="Business time zone: where a day begins."
    )
    max_reject_share: float = Field(
        default=0.01, description="Largest share of a file's rows that ingest may reject.", ge=0, le=1
    )
    format: FileFormat = Field(
        default=FileFormat(), description="How the files are written; what is not set is recognised."
    )
    like_threshold: float = Field(
        default=1.0,
        description="A play is liked when watch_ratio exceeds this, or what stands for it in a log of "
        "another layout; where that is a rating, the default is 3.5, of a weight 0, of events 0.5.",
        ge=0,
    )
    long_view_s: float | None = Field(
        default=None,
        description="A play of at least so many seconds is liked too, whatever its watch_ratio; by default "
        "the ratio alone counts.",
        gt=0,
    )
    watch_ratio_clip: float = Field(
        default=5.0, description="The regressor's target is watch_ratio, at most this.", gt=0
    )
    label: Literal["ratio", "duration"] = Field(
        default="ratio",
        description="What the rankers learn: watch_ratio above like_threshold, or among the highest fifth "
        "of the plays of videos of like length.",
    )
    log: LogLayout | None = Field(
        default=None,
        description="Files of any layout, and which of their columns is what; None: KuaiRec's in raw_dir.",
    )

    @model_validator(mode="before")
    @classmethod
    def _gather_log(cls, values: Any) -> Any:
        """The file has the log's settings beside the others of [data]."""
        if not isinstance(values, dict) or "log" in values:
            return values
        inner = {name: value for name, value in values.items() if name in LogLayout.model_fields}
        others = {name: value for name, value in values.items() if name not in inner}
        return {**others, "log": inner} if inner else values

    @model_validator(mode="after")
    def _follow_from_log(self) -> "DataSettings":
        if self.log is None:
            return self
        if "like_threshold" not in self.model_fields_set:
            # Settings are frozen for others.
            object.__setattr__(self, "like_threshold", self.log.like_threshold)
        needs = "of plays whose play_time and length [data.columns] names"
        if self.label == "duration" and not self.has_lengths:
            raise ValueError(f'label = "duration" is {needs}; set label = "ratio"')
        if self.long_view_s is not None and not (self.has_lengths and self.log.columns.value is None):
            raise ValueError(f"long_view_s is {needs}, and no rating, weight or event; do not set it")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The business time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def has_play_times(self) -> bool:
        """Whether play times are known."""
        return self.log is None or self.log.has_play_times

    @property
    def has_lengths(self) -> bool:
        """Whether both play times and video lengths are known."""
        return self.log is None or self.log.has_lengths
